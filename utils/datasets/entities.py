"""What every data set gives: entities (face tracks with sound and labels) that can be read in part.

The loader, training and evaluation know nothing else of a data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

NOT_SPEAKING, SPEAKING, UNLABELLED = 0, 1, -1  # labels; speaking that cannot be heard is 0

_PART = 250  # frames read at once where a data set gives labels with pictures only


@dataclass(frozen=True)
class EntityInfo:
    """One face track of a data set, without its pictures."""

    name: str  # unique in the data set
    video: str
    num_frames: int
    fps: Fraction  # of the pictures; the features have 4 steps for each frame at any rate
    num_speaking: int  # frames labelled SPEAKING
    person: str = ""  # who it is, where known: for sampling by identity


@dataclass(frozen=True, eq=False)
class EntityPart:
    """Frames [start, stop) of an entity."""

    faces: NDArray[np.uint8]  # (T, H, W) grey, or (T, H, W, 3) RGB
    waveform: NDArray[np.int16]  # (N,) mono 16 kHz, T / fps s from the first frame's beginning on
    labels: NDArray[np.int8]  # (T,)
    timestamps: NDArray[np.float64]  # (T,) s on the video's clock, as the labels' table has them


class DataSet(Protocol):
    """A split of a data set."""

    entities: Sequence[EntityInfo]

    def read(self, index: int, start: int = 0, stop: int | None = None) -> EntityPart:
        """Read frames [start, stop) of entity `index`; cheap for short parts of long ones.

        Sound that the source lacks at the end is silence, pictures that it lacks repeat.
        """
        ...


@runtime_checkable
class LabelReader(Protocol):
    """A data set that gives labels without pictures."""

    def read_labels(self, index: int) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Return labels and timestamps (T,) of an entity."""
        ...


def read_labels(dataset: DataSet, index: int) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Return labels and timestamps (T,) of an entity, without its pictures where that can be."""
    if isinstance(dataset, LabelReader):
        return dataset.read_labels(index)
    num_frames = dataset.entities[index].num_frames
    parts = [
        dataset.read(index, start, min(start + _PART, num_frames))
        for start in range(0, num_frames, _PART)
    ]
    labels = np.concatenate([part.labels for part in parts])
    return labels, np.concatenate([part.timestamps for part in parts])
