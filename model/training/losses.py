"""The published losses of networks that score faces, and the optional contrastive loss."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.contract import Logits, Model, Recipe
from model.devices import without_autocast
from model.families.base import family_of
from model.ranks import Ranks
from model.training.objective import BatchPart, DividedBatch, Objective
from utils.datasets.entities import SPEAKING, UNLABELLED
from utils.datasets.loading.training_batch import TrainingBatch

HEADS = ("av", "audio", "visual")  # fields of Logits


@dataclass(frozen=True)
class Contrast:
    """The TalkNCE loss (Jung et al., ICASSP 2024), section 2.2; off at weight 0."""

    weight: float = 0.0  # the paper's is 0.3
    temperature: float = 0.1


class Clips(NamedTuple):
    """A batch on the network's device."""

    audio: Tensor  # (B, 4 T, F), or (B, ...) for a clip network; (B, 0) for a context network
    faces: Tensor  # (B, T, H, W) or (B, S, T, H, W), clips, or embeddings (B, S, L, C)
    labels: Tensor  # (B, T), (B, S, T) or (B, 1) long; UNLABELLED does not count
    speech: Tensor  # same shape, whether anybody speaks: the target of the audio head


class Counts(NamedTuple):
    """Numbers of frames in the whole batch over all processes, by which sums are divided."""

    labelled: float
    speaking: float


class SpeakingObjective(Objective):
    """A network that scores faces, with its published losses.

    Args:
        network: The network to train.
        recipe: Weights of the losses of its heads.
        contrast: The contrastive loss.
        frames_at_once: Maximum number of frames in a part of a batch; 0 for no limit.
    """

    def __init__(
        self, network: Model, recipe: Recipe, contrast: Contrast, frames_at_once: int = 0
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.frames_at_once = frames_at_once
        self.network: Model = network
        self.family = family_of(network)
        self.loss_weights: Mapping[str, float] = {"av": 1.0, **recipe.loss_weights}
        self.contrast = contrast
        self.projection: nn.Module = nn.Identity()  # of faces, if their embeddings are wider
        if contrast.weight:
            audio_width, face_width = self.family.embedding_widths(network)
            if audio_width != face_width:
                self.projection = nn.Linear(face_width, audio_width, bias=False)

    def divide(self, batch: TrainingBatch, ranks: Ranks, epoch: int) -> DividedBatch:
        """Return this process's share of a batch; every process takes part in each part."""
        clips = as_clips(batch)
        labels = clips.labels
        local = torch.stack(
            ((labels != UNLABELLED).sum(), (labels == SPEAKING).sum(), torch.tensor(len(labels)))
        )
        labelled, speaking, num_clips = ranks.add(local).tolist()
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
        """Return the parts of a batch, the same number in each process; some may be empty."""
        most = math.ceil(num_clips / ranks.size)  # clips of one process
        at_once = most
        if self.frames_at_once:
            num_frames = max(1, self.family.num_frames(clips.faces, clips.labels))
            at_once = max(1, self.frames_at_once // num_frames)
        num_parts = math.ceil(most / max(1, at_once))
        moved = (tensor.to(ranks.device, non_blocking=True) for tensor in clips)
        return [
            Clips(*part) for part in zip(*(t.tensor_split(num_parts) for t in moved), strict=True)
        ]

    def state(self) -> dict[str, Any]:
        """Return the weights outside the network."""
        return {"projection": self.projection.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Load what `state` returned."""
        self.projection.load_state_dict(state["projection"])

    def forward(self, clips: Clips, counts: Counts, temperature: float) -> tuple[Tensor, Tensor]:
        """Return this batch's share of the mean loss, and the number of correct frames.

        Args:
            clips: All or a part of the batch.
            counts: Numbers of frames in the whole batch.
            temperature: Divisor of the logits.
        """
        logits, embeddings = self.family.forward(self.network, clips.audio, clips.faces)
        loss = head_losses(logits, clips, self.loss_weights, temperature) / counts.labelled
        penalty = self.network.penalty()
        if penalty is not None:
            loss = loss + penalty * (clips.labels != UNLABELLED).sum() / counts.labelled
        if self.contrast.weight:
            assert embeddings is not None
            loss = loss + self._contrast(*embeddings, clips.labels) / max(1.0, counts.speaking)
        return loss, (logits.av.argmax(-1) == clips.labels).sum()

    def _contrast(self, audio: Tensor, faces: Tensor, labels: Tensor) -> Tensor:
        """Return the weighted contrastive loss; with several speakers, of the first one."""
        if labels.ndim > 2:
            faces, labels = faces[:, 0], labels[:, 0]
        active = labels == SPEAKING
        found = talk_nce(audio, self.projection(faces), active, self.contrast.temperature)
        return self.contrast.weight * found


def as_clips(batch: TrainingBatch) -> Clips:
    """Return a loader's batch with labels in the type of the losses."""
    return Clips(batch.audio, batch.faces, batch.labels.long(), batch.speech.long())


def _stand_in(clips: Clips) -> Clips:
    """Return one unlabelled clip, for a process without clips of its own."""
    clip = Clips(*(tensor.new_zeros(1, *tensor.shape[1:]) for tensor in clips))
    return clip._replace(labels=clip.labels.fill_(UNLABELLED), speech=clip.speech.fill_(UNLABELLED))


def head_losses(
    logits: Logits, clips: Clips, weights: Mapping[str, float], temperature: float
) -> Tensor:
    """Return the weighted sum over heads and labelled frames of their losses.

    The published binary cross entropy of softmax(logits / r), column 1, equals the cross entropy of
    logits / r with two classes, which is used here because it avoids log(0).

    Args:
        logits: (..., 2) each.
        clips: The labels; the target of the audio head is whether anybody speaks.
        weights: By field of Logits; a head without an entry has weight 0.
        temperature: r.
    """
    unknown = [name for name in weights if getattr(logits, name, None) is None]
    if unknown:
        raise ValueError(f"the recipe has a weight for {unknown[0]!r}, a head the network lacks")
    total = logits.av.new_zeros((), dtype=torch.float32)
    for name in HEADS:
        head = getattr(logits, name)
        if head is not None:
            target = clips.speech if name == "audio" else clips.labels
            flat = head.float().reshape(-1, 2) / temperature
            loss = functional.cross_entropy(
                flat, target.flatten(), ignore_index=UNLABELLED, reduction="sum"
            )
            total = total + weights.get(name, 0.0) * loss
    return total


def talk_nce(audio: Tensor, faces: Tensor, active: Tensor, temperature: float) -> Tensor:
    """Return the sum over speaking frames of InfoNCE between faces and audio.

    The candidates are the speaking frames of the same clip, compared by the cosine similarity of
    their embeddings (TalkNCE, Jung et al., ICASSP 2024). The paper takes the mean over each clip's
    speaking frames; here the sum is divided by their number in the batch, so all frames count
    equally.

    Args:
        audio: (B, T, C).
        faces: (B, T, C).
        active: (B, T) bool, whether the face speaks.
        temperature: Divisor of the similarities.
    """
    audio_units = functional.normalize(audio.float(), dim=2)
    face_units = functional.normalize(faces.float(), dim=2)
    with without_autocast(audio.device):
        similarity = face_units @ audio_units.transpose(1, 2) / temperature  # (B, T, T)
    similarity = similarity.masked_fill(~active[:, None], torch.finfo(torch.float32).min)
    matching = similarity.log_softmax(2).diagonal(dim1=1, dim2=2)  # (B, T)
    return -torch.where(active, matching, torch.zeros_like(matching)).sum()
