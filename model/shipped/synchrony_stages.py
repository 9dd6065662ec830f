"""The losses of Synchrony, stage by stage: seeing mouths, matching voices, refining scores."""

import math
import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.contract import Network
from model.layers.lag_profile import FLOOR, MAX_OFFSET, centre, moving_mean, shifted
from model.networks.synchrony import NUM_CHANNELS, Refiner, Synchrony
from utils.datasets.entities import SPEAKING, UNLABELLED
from utils.datasets.pairings.crop_augmentation import change_crops
from utils.datasets.pairings.pairings import Pairer
from utils.datasets.pairings.pool import EmbeddedFace, stacked
from utils.errors import UserError
from utils.features.mfcc import align, mfcc

MATCHED_CLIPS = 5
MATCHED_FRAMES = 100
MATCHED_LAG = 30  # frames
MATCHED_WINDOWS = (51, 101)
ALONE_SHARE = 0.75  # of voices that are heard with no other beside them
JUDGED_FRAMES = (30, 60, 100, 150, 250, 400, 600)  # of a part of a pairing
JUDGED_CLIPS = 16
JUDGED_AT_ONCE = 2400  # frames of all clips, where these are long
RIDGE = 0.1  # of the mean power, added to every direction's
SHARPNESS = 10.0  # of the choice between lags


def matching_loss(
    network: Synchrony,
    pairer: Pairer,
    rng: np.random.Generator,
    changed: bool = True,
    bf16: bool = False,
) -> Tensor:
    """Return how hard it is to find each moment's own voice.

    Every speaking face has to find its voice among all voices of the batch, each moved by all
    lags (InfoNCE; van den Oord et al., 2018).

    Args:
        network: Both encoders and the projections get gradients.
        pairer: Draws people with their own voices, sometimes beside others.
        rng: Decides all.
        changed: Whether the crops are changed, for training.
        bf16: Whether faces are encoded in half precision; they are compared in full.
    """
    features, crops, labels = [], [], []
    for _ in range(MATCHED_CLIPS):
        pairing = pairer.draw(rng, "own" if rng.random() < ALONE_SHARE else "over")
        features.append(align(mfcc(pairing.waveform), pairer.length))
        seen = pairer.crops(pairing)
        crops.append(change_crops(seen, rng) if changed else seen)
        labels.append(pairing.labels)
    audio = network.encode_audio(torch.from_numpy(np.stack(features)))
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        faces = network.encode_faces(torch.from_numpy(np.stack(crops)))
    voice, face = network.profile.project(*network.normalised(audio, faces))
    return _find_voices(voice, face, torch.from_numpy(np.stack(labels)) == SPEAKING)


def _find_voices(voice: Tensor, face: Tensor, spoken: Tensor) -> Tensor:
    """Return the loss of choosing, for spoken moments (B, T), the own voice at lag 0.

    Args:
        voice: (B, C, T).
        face: (B, C, T), of the same people.
        spoken: (B, T).
    """
    num_clips, num_lags = len(face), 2 * MATCHED_LAG + 1
    products = torch.einsum("jlct,ict->ijlt", shifted(voice, MATCHED_LAG), face)
    voice_power = shifted(voice.square().sum(1, keepdim=True), MATCHED_LAG).squeeze(2)
    face_power = face.square().sum(1)[:, None, None]
    wanted = num_lags * torch.arange(num_clips).unsqueeze(1) + MATCHED_LAG
    wanted = wanted.expand_as(spoken)[spoken]
    losses = []
    for window in MATCHED_WINDOWS:
        power = moving_mean(voice_power, window) * moving_mean(face_power, window)
        found = moving_mean(products, window) / (power + FLOOR**2).sqrt()  # (B, B, lags, T)
        choices = SHARPNESS * found.flatten(1, 2).transpose(1, 2)[spoken]
        beside = torch.stack((wanted - 1, wanted + 1), 1)  # as good as right: they do not count
        losses.append(functional.cross_entropy(choices.scatter(1, beside, -math.inf), wanted))
    return torch.stack(losses).mean()


def refiner_loss(network: Synchrony, batch: Sequence[Tensor], noisiness: Tensor) -> Tensor:
    """Return the loss of the refiners on embeddings whose voice and face are hard to compare.

    Most training videos are so clear that voice and face correlate perfectly. With noise they
    correlate as badly as in films, or not at all, so that the refiners learn how reliable the
    evidence is. The opinion and the levels get no noise.

    Args:
        network: In training.
        batch: Embeddings of sound and faces (B, T, C), labels and seams (B, T).
        noisiness: Deviation of the noise (B,), relative to that of the embeddings.
    """
    audio, faces, labels, seams = batch
    amount = noisiness[:, None, None]
    voice, face = (
        rows + amount * torch.randn_like(rows) for rows in network.normalised(audio, faces)
    )
    scores = network.scores(network.profile(voice, face, seams), audio, faces)
    known = labels != UNLABELLED
    wanted = labels[known].expand(len(scores), -1).flatten()
    logits = torch.stack((-scores, scores), 3)[:, known].flatten(0, 1)
    return functional.cross_entropy(logits, wanted, label_smoothing=0.02)


def draw_embedded(pool: Sequence[EmbeddedFace], rng: np.random.Generator) -> list[Tensor]:
    """Return a batch of parts of pairings, of other loudness and other clearness of the face.

    Voices are up to some frames early or late, as those of whole films are.
    """
    whole = pool[0].labels.shape[0]
    length = min(int(rng.choice(JUDGED_FRAMES)), whole)
    count = min(JUDGED_CLIPS, max(4, JUDGED_AT_ONCE // length))
    parts = []
    for index in rng.integers(len(pool), size=count):
        start = int(rng.integers(whole - length + 1))
        part = EmbeddedFace(*(rows[start : start + length] for rows in pool[index]))
        late = start + int(rng.integers(-MAX_OFFSET, MAX_OFFSET + 1))
        heard = np.clip(np.arange(late, late + length), 0, whole - 1)
        parts.append(part._replace(audio=pool[index].audio[heard]))
    chosen = stacked(parts)
    audio, faces = chosen.audio.astype(np.float32), chosen.faces.astype(np.float32)
    audio[..., NUM_CHANNELS] += 0.3 * rng.standard_normal((count, 1), np.float32)
    faces *= 1 + 0.1 * rng.standard_normal((count, 1, NUM_CHANNELS), np.float32)
    labels = chosen.labels.astype(np.int64)
    return [torch.from_numpy(array) for array in (audio, faces, labels, chosen.seams)]


@torch.no_grad()
def measure(network: Synchrony, pairings: Sequence[EmbeddedFace]) -> float:
    """Return the share of labelled frames that are judged rightly."""
    network.eval()
    whole = stacked(pairings)
    audio = torch.from_numpy(whole.audio.astype(np.float32))
    faces = torch.from_numpy(whole.faces.astype(np.float32))
    voice, face = network.normalised(audio, faces)
    compared = network.profile(voice, face, torch.from_numpy(whole.seams))
    logits = network.refine(compared, audio, faces).av
    known = whole.labels != UNLABELLED
    right = (logits.argmax(2).numpy() == whole.labels)[known]
    return round(float(right.mean()), 4)


@torch.no_grad()
def set_statistics(network: Synchrony, pool: Sequence[EmbeddedFace]) -> None:
    """Set the norms of both embeddings, and begin with the projections that correlate most.

    The projections are those of a canonical correlation analysis with a ridge, over the moments
    in which a face is heard itself.

    Raises:
        UserError: There is no such moment.
    """
    whole = stacked(pool)
    audio = torch.from_numpy(whole.audio[..., :NUM_CHANNELS].astype(np.float32))
    faces = torch.from_numpy(whole.faces.astype(np.float32))
    for norm, rows in ((network.audio_norm, audio), (network.visual_norm, faces)):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(rows.mean((0, 1)))
        norm.running_var.copy_(rows.var((0, 1)) + 1e-4)
        norm.eval()
    voice, mouth = (centre(rows) for rows in network.normalised(audio, faces))
    own = torch.from_numpy(whole.own)
    if not own.any():
        raise UserError(
            f"expected a voice with its own face in some pairing, found none in {len(pool)}; "
            "raise --numPairings"
        )
    projections = _canonical(
        voice.transpose(1, 2)[own], mouth.transpose(1, 2)[own], network.profile.num_parts
    )
    for conv, weights in zip(
        (network.profile.voice, network.profile.face), projections, strict=True
    ):
        conv.weight.copy_(weights.unsqueeze(2))


def _canonical(first: Tensor, second: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the projections (count, C) of two sets of rows (N, C) that correlate most."""
    roots = []
    for rows in (first, second):
        power = rows.T @ rows / len(rows)
        power += RIDGE * power.diagonal().mean() * torch.eye(len(power))
        values, vectors = torch.linalg.eigh(power)
        roots.append(vectors @ (vectors / values.sqrt()).T)
    cross = first.T @ second / len(first)
    left, strengths, right = torch.linalg.svd(roots[0] @ cross @ roots[1])
    scale = strengths[:count].sqrt()
    return (roots[0] @ left[:, :count] * scale).T, (roots[1] @ right[:count].T * scale).T


def take_over(network: Synchrony, teacher: Network) -> None:
    """Begin with the weights of LR-ASD, whose normalisations must have been folded.

    Judges add nothing to its opinion then.
    """
    state = {_NAMES.sub(_renamed, name): value for name, value in teacher.state_dict().items()}
    own = network.state_dict()
    own.update({name: value for name, value in state.items() if name in own})
    network.load_state_dict(own)
    for refiner in network.judges:
        assert isinstance(refiner, Refiner)
        nn.init.zeros_(refiner.head.weight)
        nn.init.zeros_(refiner.head.bias)


_NAMES = re.compile(
    r"^fusion\.|^recurrence\.attention\.|^recurrence\.gru_(?:forward|backward)\.\w+|^head_av\."
)


def _renamed(name: re.Match[str]) -> str:
    """Return what a weight of LR-ASD is called here."""
    found = name.group()
    if "gru_" in found:
        weight = found.rpartition(".")[2]
        return f"recurrence.{weight}" + ("_reverse" if "backward" in found else "")
    return {"fusion.": "gate.", "head_av.": "head_opinion."}.get(found, "recurrent_gate.")
