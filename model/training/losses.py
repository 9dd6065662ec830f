"""What training makes small: the published losses, and the contrastive one as an option."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.contract import Logits, Model, Recipe
from model.families.base import family_of
from utils.datasets.entities import SPEAKING, UNLABELLED
from utils.datasets.loading.training_batch import TrainingBatch

LOSSES = ("cross_entropy", "binary_cross_entropy")
HEADS = ("av", "audio", "visual")  # fields of Logits


@dataclass(frozen=True)
class Contrast:
    """The TalkNCE loss (Jung et al., ICASSP 2024), section 2.2; off at weight 0."""

    weight: float = 0.0  # the paper's is 0.3
    temperature: float = 0.1


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


def as_clips(batch: TrainingBatch) -> Clips:
    """Return a loader's batch, with labels as the losses read them."""
    return Clips(batch.audio, batch.faces, batch.labels.long(), batch.speech.long())


class Objective(nn.Module):
    """A network and its losses as one module, which can be distributed as a whole.

    Args:
        network: What is trained.
        recipe: Says which losses, and how they are weighed.
        contrast: The contrastive loss.
    """

    def __init__(self, network: Model, recipe: Recipe, contrast: Contrast) -> None:
        super().__init__()
        if recipe.loss not in LOSSES:
            raise ValueError(
                f"expected a recipe's loss to be one of {', '.join(LOSSES)}, got {recipe.loss!r}"
            )
        self.network: Model = network
        self.family = family_of(network)
        self.loss_weights: Mapping[str, float] = {"av": 1.0, **recipe.loss_weights}
        self.contrast = contrast
        self.projection: nn.Module = nn.Identity()  # of faces, where their embeddings are wider
        if contrast.weight:
            audio_width, face_width = self.family.embedding_widths(network)
            if audio_width != face_width:
                self.projection = nn.Linear(face_width, audio_width, bias=False)

    def forward(self, clips: Clips, counts: Counts, temperature: float) -> tuple[Tensor, Tensor]:
        """Return this batch's share of the mean loss, and how many frames are judged rightly.

        Args:
            clips: All or a part of the batch.
            counts: Of the whole batch.
            temperature: Logits are divided by it.
        """
        logits, embeddings = self.family.forward(self.network, clips.audio, clips.faces)
        loss = head_losses(logits, clips, self.loss_weights, temperature) / counts.labelled
        penalty = self.network.penalty()
        if penalty is not None:
            loss = loss + penalty * (clips.labels != UNLABELLED).sum() / counts.labelled
        if self.contrast.weight:
            assert embeddings is not None
            loss = loss + self._contrast(*embeddings, clips.labels) / max(1.0, counts.speaking)
        right = (logits.av.argmax(-1) == clips.labels).sum()
        return loss, right

    def _contrast(self, audio: Tensor, faces: Tensor, labels: Tensor) -> Tensor:
        """Return the weighted contrastive loss; of several speakers, of the one that is heard."""
        if labels.ndim > 2:
            faces, labels = faces[:, 0], labels[:, 0]
        active = labels == SPEAKING
        found = talk_nce(audio, self.projection(faces), active, self.contrast.temperature)
        return self.contrast.weight * found


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
