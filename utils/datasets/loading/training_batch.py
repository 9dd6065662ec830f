"""The batches that all loaders yield."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """One process's share of a batch: B samples, perhaps none.

    A sample is a sequence of T frames, a clip around one frame, or a context of embeddings. Clips
    and contexts have one labelled frame.
    """

    rows: NDArray[np.int64]  # (B, n) source of each sample: entity, video or window, and frames
    audio: Tensor  # (B, 4 T, F) float32, (B, ...) of clips, (B, 0) of contexts
    faces: Tensor  # (B, T, H, W) or (B, S, T, H, W) uint8, colour last; embeddings (B, S, L, C)
    labels: Tensor  # (B, T), (B, S, T) or (B, 1) int8; UNLABELLED does not count
    mask: Tensor  # shaped like the labels, bool; False for padding and, in contexts, no label
    speech: Tensor  # like the labels; whether anybody speaks, the target of the audio alone

    def pin_memory(self) -> TrainingBatch:
        """Return the batch in page-locked memory, which a GPU can read directly."""
        tensors = (self.audio, self.faces, self.labels, self.mask, self.speech)
        return TrainingBatch(self.rows, *(tensor.pin_memory() for tensor in tensors))


class TrainingLoader(Protocol):
    """A source of batches; with several processes, each gets its share of every batch."""

    def epoch(self, number: int, skip: int = 0) -> Iterator[TrainingBatch]:
        """Yield the batches of an epoch, from 1, without the first `skip`."""
        ...

    def len_epoch(self, number: int) -> int:
        """Return the number of batches of an epoch."""
        ...
