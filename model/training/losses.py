"""The published losses of networks that score faces, and the contrastive one as an option."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.contract import ClipNetwork, ContextNetwork, Logits, Model, Network, Recipe
from model.ranks import Ranks
from model.training.objective import BatchPart, DividedBatch, Objective
from utils.datasets.entities import SPEAKING, UNLABELLED
from utils.errors import UserError
from utils.structures import STEPS_PER_FRAME

HEADS = ("av", "audio", "visual")  # fields of Logits


@dataclass(frozen=True)
class Contrast:
    """The TalkNCE loss (Jung et al., ICASSP 2024), section 2.2; off at weight 0."""

    weight: float = 0.0  # the paper's is 0.3
    temperature: float = 0.1


class Batch(Protocol):
    """What a loader gives; a `ClipBatch` tells `speech` too, a `ContextBatch` has `embeddings`."""

    @property
    def labels(self) -> Tensor:
        """Labels, (B, T), (B, S, T) or (B, 1), int8."""
        ...

    @property
    def mask(self) -> Tensor:
        """Where there is a frame, shaped like the labels, bool."""
        ...


class Clips(NamedTuple):
    """A batch on the network's device."""

    audio: Tensor  # (B, 4 T, F), or (B, ...) as a clip network reads it; (B, 0) for a context
    faces: Tensor  # (B, T, H, W) or (B, S, T, H, W), clips, or embeddings (B, S, L, C)
    labels: Tensor  # (B, T), (B, S, T) or (B, 1) long; UNLABELLED does not count
    speech: Tensor  # the same, whether anybody speaks: what the sound alone is to tell


class Counts(NamedTuple):
    """By how many frames sums are divided: those of the whole batch, over all processes."""

    labelled: float
    speaking: float


class SpeakingObjective(Objective):
    """A network that scores faces, with its published losses.

    Args:
        network: What is trained.
        recipe: Says how the losses of its heads are weighted.
        contrast: The contrastive loss.
        frames_at_once: Parts of a batch have at most so many frames; 0 does not divide it.
    """

    def __init__(
        self, network: Model, recipe: Recipe, contrast: Contrast, frames_at_once: int = 0
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.frames_at_once = frames_at_once
        self.network: Model = network
        self.loss_weights: Mapping[str, float] = {"av": 1.0, **recipe.loss_weights}
        self.contrast = contrast
        self.projection: nn.Module = nn.Identity()  # of faces, where their embeddings are wider
        if contrast.weight:
            if not isinstance(network, Network):
                raise UserError(
                    "--talkNCE compares the frames of a sequence; this network reads single ones"
                )
            audio_width, face_width = embedding_widths(network)
            if audio_width != face_width:
                self.projection = nn.Linear(face_width, audio_width, bias=False)

    def divide(self, batch: Batch, ranks: Ranks, epoch: int) -> DividedBatch:
        """Return this process's share of a batch; every process takes part in each part."""
        clips = as_clips(batch)
        labels = clips.labels
        own = [(labels != UNLABELLED).sum(), (labels == SPEAKING).sum(), torch.tensor(len(labels))]
        labelled, speaking, num_clips = ranks.add(torch.stack(own)).tolist()
        if labelled == 0:
            return DividedBatch((), 0, 0.0)
        counts = Counts(labelled, speaking)
        temperature = self.recipe.temperature + self.recipe.temperature_step * (epoch - 1)
        parts = []
        for part in self._split(clips, num_clips, ranks):
            has_clips = len(part.labels) > 0
            inputs = (part if has_clips else _stand_in(part), counts, temperature)
            parts.append(BatchPart(inputs, has_clips))
        return DividedBatch(parts, labelled, labelled)

    def _split(self, clips: Clips, num_clips: int, ranks: Ranks) -> list[Clips]:
        """Return the parts of a batch, as many in each process; some may be empty."""
        most = math.ceil(num_clips / ranks.size)  # clips of one process
        at_once = most
        if self.frames_at_once:
            at_once = max(1, self.frames_at_once // frames_of(self.network, clips))
        num_parts = math.ceil(most / max(1, at_once))
        moved = (tensor.to(ranks.device, non_blocking=True) for tensor in clips)
        return [
            Clips(*part) for part in zip(*(t.tensor_split(num_parts) for t in moved), strict=True)
        ]

    def state(self) -> dict[str, Any]:
        """Return the weights that are not the network's."""
        return {"projection": self.projection.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Load what `state` returned."""
        self.projection.load_state_dict(state["projection"])

    def forward(self, clips: Clips, counts: Counts, temperature: float) -> tuple[Tensor, Tensor]:
        """Return this batch's share of the mean loss, and the number of correct frames.

        Args:
            clips: All or a part of the batch.
            counts: Of the whole batch.
            temperature: Logits are divided by it.
        """
        network = self.network
        embedded: tuple[Tensor, Tensor] | None = None
        if isinstance(network, ContextNetwork):
            logits = network(clips.faces)
        elif isinstance(network, ClipNetwork):
            logits = network(clips.audio, clips.faces)
        else:
            assert isinstance(network, Network)
            embedded = self._encode(network, clips)
            logits = network.fuse(*embedded)
        loss = head_losses(logits, clips, self.loss_weights, temperature) / counts.labelled
        penalty = network.penalty()
        if penalty is not None:
            loss = loss + penalty * (clips.labels != UNLABELLED).sum() / counts.labelled
        if self.contrast.weight:
            assert embedded is not None
            loss = loss + self._contrast(*embedded, clips.labels) / max(1.0, counts.speaking)
        return loss, (logits.av.argmax(-1) == clips.labels).sum()

    @staticmethod
    def _encode(network: Network, clips: Clips) -> tuple[Tensor, Tensor]:
        """Return the embeddings of sound (B, T, C) and of faces (B, T, C) or (B, S, T, C)."""
        audio = network.encode_audio(clips.audio)
        if network.num_speakers == 1:
            return audio, network.encode_faces(clips.faces)
        faces = network.encode_faces(clips.faces.flatten(0, 1))
        return audio, faces.view(*clips.faces.shape[:2], *faces.shape[1:])

    def _contrast(self, audio: Tensor, faces: Tensor, labels: Tensor) -> Tensor:
        """Return the weighted contrastive loss; of several speakers, of the one that is heard."""
        if labels.ndim > 2:
            faces, labels = faces[:, 0], labels[:, 0]
        active = labels == SPEAKING
        found = talk_nce(audio, self.projection(faces), active, self.contrast.temperature)
        return self.contrast.weight * found


def as_clips(batch: Batch) -> Clips:
    """Return a batch of any loader as the objective reads it."""
    labels = torch.where(batch.mask, batch.labels.long(), UNLABELLED)
    embeddings = getattr(batch, "embeddings", None)
    if embeddings is not None:
        return Clips(embeddings.new_zeros(len(labels), 0), embeddings, labels, labels)
    speech = getattr(batch, "speech", None)
    audio, faces = batch.audio, batch.faces  # type: ignore[attr-defined] # all others have them
    return Clips(audio, faces, labels, labels if speech is None else speech.long())


def frames_of(network: Model, clips: Clips) -> int:
    """Return how many frames pass the network for one clip of a batch."""
    if isinstance(network, Network):
        return clips.labels[0].numel() if len(clips.labels) else 1
    return clips.faces.shape[1]


def _stand_in(clips: Clips) -> Clips:
    """Return one clip without labels, with which a process that has none takes part."""
    one = Clips(*(tensor.new_zeros(1, *tensor.shape[1:]) for tensor in clips))
    return one._replace(labels=one.labels.fill_(UNLABELLED), speech=one.speech.fill_(UNLABELLED))


def head_losses(
    logits: Logits, clips: Clips, weights: Mapping[str, float], temperature: float
) -> Tensor:
    """Return the weighted sum over heads and labelled frames of their losses.

    The published binary cross entropy of softmax(logits / r), column 1, is the cross entropy of
    logits / r with two classes, so one formula serves; this one cannot run into log(0).

    Args:
        logits: (..., 2) each.
        clips: Say who speaks; the head of sound alone learns whether anybody does.
        weights: By field of Logits; a head without one has weight 0.
        temperature: r.
    """
    unknown = [name for name in weights if getattr(logits, name, None) is None]
    if unknown:
        raise ValueError(f"the recipe weighs a head {unknown[0]!r} that the network does not have")
    total = logits.av.new_zeros((), dtype=torch.float32)
    for name in HEADS:
        head = getattr(logits, name)
        if head is not None:
            wanted = clips.speech if name == "audio" else clips.labels
            flat = head.float().reshape(-1, 2) / temperature
            loss = functional.cross_entropy(
                flat, wanted.flatten(), ignore_index=UNLABELLED, reduction="sum"
            )
            total = total + weights.get(name, 0.0) * loss
    return total


def talk_nce(audio: Tensor, faces: Tensor, active: Tensor, temperature: float) -> Tensor:
    """Return the sum over speaking frames of InfoNCE: which of the sounds belongs to this face.

    The candidates are the speaking frames of the same clip, compared by the cosine of their
    embeddings (TalkNCE, Jung et al., ICASSP 2024). The paper takes the mean over each clip's
    speaking frames; divided by their number in the batch, all frames count alike.

    Args:
        audio: (B, T, C).
        faces: (B, T, C).
        active: (B, T) bool, who is speaking.
        temperature: Similarities are divided by it.
    """
    voices = functional.normalize(audio.float(), dim=2)
    looks = functional.normalize(faces.float(), dim=2)
    with torch.autocast(audio.device.type, enabled=False):
        similar = looks @ voices.transpose(1, 2) / temperature  # (B, T faces, T voices)
    similar = similar.masked_fill(~active[:, None], torch.finfo(torch.float32).min)
    own = similar.log_softmax(2).diagonal(dim1=1, dim2=2)  # (B, T)
    return -torch.where(active, own, torch.zeros_like(own)).sum()


@torch.no_grad()
def embedding_widths(network: Network) -> tuple[int, int]:
    """Return the numbers of channels of a network's audio and face embeddings."""
    inputs, training = network.inputs, network.training
    first = next(network.parameters())
    network.eval()
    audio = first.new_zeros(1, 2 * STEPS_PER_FRAME, inputs.num_features)
    colours = (3,) if inputs.colour else ()
    faces = first.new_zeros(1, 2, inputs.size, inputs.size, *colours)
    widths = network.encode_audio(audio).shape[2], network.encode_faces(faces).shape[2]
    network.train(training)
    return widths
