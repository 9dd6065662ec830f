"""What the shipped network learns, stage by stage: see mouths, compare, and both together."""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model.contract import Network
from model.layers.lag_profile import centre
from model.networks.synchrony import NUM_CHANNELS, Synchrony
from utils.datasets.crop_changes import change_crops
from utils.datasets.entities import SPEAKING, UNLABELLED
from utils.datasets.pairing_pool import Embedded, stacked
from utils.datasets.pairings import Pairer
from utils.datasets.store import Store
from utils.datasets.talkset_sources import Source
from utils.features.mfcc import align, mfcc

SEEN_FRAMES = 58
SEEN_CLIPS = 4
REMEMBERED_CLIPS = 2  # of the first stage, in each step of the last
FUSED_CLIPS = 16
FUSED_FRAMES = (100, 141)  # of a part of a pairing
JOINT_CLIPS = 4
JOINT_FRAMES = 110
AT_ONCE = 72  # frames that are encoded together
RIDGE = 0.1  # of the mean power, added to every direction's
SPEAKING_WEIGHT = 2.0  # of a frame that is speaking, beside one that is not
SHARPNESS = 10.0  # of the choice between lags


class SeeingLessons:
    """Faces of all people, and what a teacher sees in them: the student sees them changed."""

    def __init__(self, store: Store, sources: Sequence[Source], teacher: Network) -> None:
        self.store, self.teacher = store, teacher
        places = {entity.name: index for index, entity in enumerate(store.entities)}
        self.people: dict[str, list[int]] = {}
        for source in sources:
            if source.num_frames >= SEEN_FRAMES // 2:
                self.people.setdefault(source.person, []).append(places[source.name])
        frames = [self._num_frames(person) for person in self.people]
        self.weights = np.sqrt(frames) / np.sqrt(frames).sum()

    def _num_frames(self, person: str) -> int:
        return sum(self.store.entities[place].num_frames for place in self.people[person])

    def loss(self, network: Synchrony, rng: np.random.Generator, num_clips: int) -> Tensor:
        """Return how far the student is from the teacher on some clips."""
        clips = [self._clip(rng) for _ in range(num_clips)]
        changed = [change_crops(clip, rng) for clip in clips]
        start, stop = network.radius, SEEN_FRAMES - network.radius
        with torch.no_grad():
            wanted = self.teacher.encode_faces(torch.from_numpy(np.stack(clips)), start, stop)
        found = network.encode_faces(torch.from_numpy(np.stack(changed)), start, stop)
        return _distance(found, wanted)

    def _clip(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return the crops of a moment; short sources end in a still."""
        person = list(self.people)[rng.choice(len(self.weights), p=self.weights)]
        place = self.people[person][rng.integers(len(self.people[person]))]
        num_frames = self.store.entities[place].num_frames
        start = int(rng.integers(max(1, num_frames - SEEN_FRAMES + 1)))
        crops = self.store.read(place, start, min(num_frames, start + SEEN_FRAMES)).faces
        return np.pad(crops, ((0, SEEN_FRAMES - len(crops)), (0, 0), (0, 0)), mode="edge")


def _distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the squared error relative to the variance, and the lack of likeness."""
    error = (found - wanted).square().mean() / wanted.var()
    return error + (1 - functional.cosine_similarity(found, wanted, dim=2)).mean()


def fused_loss(network: Synchrony, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the loss of what is judged and the loss of the lags that correlate best.

    Args:
        network: In training.
        batch: Embeddings of sound and faces (B, T, C), and labels (B, T).
    """
    audio, faces, labels = batch
    profile = network.correlate(audio, faces)
    logits = network.judge(profile, audio, faces).av
    known = labels != UNLABELLED
    judged = functional.cross_entropy(
        logits[known], labels[known], torch.tensor([1.0, SPEAKING_WEIGHT]), label_smoothing=0.02
    )
    spoken = labels == SPEAKING
    lags = torch.zeros(())
    if spoken.any():
        num_lags = 2 * network.profile.max_lag + 1
        true = torch.full((int(spoken.sum()),), network.profile.max_lag)
        by_lag = profile.view(len(profile), -1, num_lags, labels.shape[1])
        windows = by_lag.permute(1, 0, 3, 2)[1:]  # the shortest may be mistaken
        losses = [functional.cross_entropy(SHARPNESS * one[spoken], true) for one in windows]
        lags = torch.stack(losses).mean()
    return judged, lags


def draw_embedded(pool: Sequence[Embedded], rng: np.random.Generator) -> list[Tensor]:
    """Return a batch of parts of pairings, with noise on what was heard and seen."""
    chosen = stacked([pool[index] for index in rng.integers(len(pool), size=FUSED_CLIPS)])
    length = int(rng.integers(*FUSED_FRAMES))
    start = int(rng.integers(chosen.labels.shape[1] - length + 1))
    part = (slice(None), slice(start, start + length))
    audio = chosen.audio[part].astype(np.float32)
    faces = chosen.faces[part].astype(np.float32)
    voice, levels = audio[..., :NUM_CHANNELS], audio[..., NUM_CHANNELS:]
    voice += 0.1 * rng.standard_normal(voice.shape, np.float32)
    levels[..., 0] += 0.3 * rng.standard_normal((len(audio), 1), np.float32)
    faces *= 1 + 0.1 * rng.standard_normal((len(faces), 1, NUM_CHANNELS), np.float32)
    faces += 0.1 * rng.standard_normal(faces.shape, np.float32)
    labels = chosen.labels[part].astype(np.int64)
    return [torch.from_numpy(array) for array in (audio, faces, labels)]


def joint_loss(network: Synchrony, pairer: Pairer, rng: np.random.Generator) -> Tensor:
    """Return the loss of a few pairings, through the visual encoder."""
    features, crops, labels = [], [], []
    for _ in range(JOINT_CLIPS):
        pairing = pairer.draw(rng)
        features.append(align(mfcc(pairing.waveform), JOINT_FRAMES))
        crops.append(change_crops(pairer.crops(pairing), rng))
        labels.append(pairing.labels.astype(np.int64))
    with torch.no_grad():
        audio = network.encode_audio(torch.from_numpy(np.stack(features)))
    faces = network.encode_faces(torch.from_numpy(np.stack(crops)))
    judged, lags = fused_loss(network, (audio, faces, torch.from_numpy(np.stack(labels))))
    return judged + 0.3 * lags


def encode_track(network: Network, crops: NDArray[np.uint8]) -> Tensor:
    """Return the embeddings (T, C) of a track, some frames at a time."""
    faces = torch.from_numpy(crops)[None]
    edges = [*range(0, len(crops), AT_ONCE), len(crops)]
    parts = [network.encode_faces(faces, start, stop)[0] for start, stop in pairwise(edges)]
    return torch.cat(parts)


@torch.no_grad()
def measure(network: Synchrony, pairings: Sequence[Embedded]) -> float:
    """Return the share of labelled frames that are judged rightly."""
    network.eval()
    whole = stacked(pairings)
    audio = torch.from_numpy(whole.audio.astype(np.float32))
    logits = network.fuse(audio, torch.from_numpy(whole.faces.astype(np.float32))).av
    known = whole.labels != UNLABELLED
    right = (logits.argmax(2).numpy() == whole.labels)[known]
    return round(float(right.mean()), 4)


@torch.no_grad()
def set_statistics(network: Synchrony, pool: Sequence[Embedded]) -> None:
    """Set the norms of both embeddings, and begin with the projections that correlate most.

    The projections are those of a canonical correlation analysis with a ridge, over the moments
    in which a face is heard itself.

    Raises:
        ValueError: There is no such moment.
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
    voice = centre(network.audio_norm(audio.transpose(1, 2)))
    mouth = centre(network.visual_norm(faces.transpose(1, 2)))
    own = torch.from_numpy(whole.own)
    if not own.any():
        raise ValueError(
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
    """Begin with the weights of LR-ASD, whose normalisations must have been folded."""
    state = {_NAMES.sub(_renamed, name): value for name, value in teacher.state_dict().items()}
    own = network.state_dict()
    own.update({name: value for name, value in state.items() if name in own})
    network.load_state_dict(own)
    nn.init.zeros_(network.head_correction.weight)
    nn.init.zeros_(network.head_correction.bias)


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
