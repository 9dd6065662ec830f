"""The interface of data sets: entities, which are face tracks with audio and labels.

Loaders, training and evaluation use nothing else of a data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

NOT_SPEAKING, SPEAKING, UNLABELLED = 0, 1, -1  # labels; inaudible speech is 0

_PART = 250  # frames per read, if labels can only be read together with the images


@dataclass(frozen=True)
class EntityInfo:
    """Metadata of one face track of a data set."""

    name: str  # unique in the data set
    video: str
    num_frames: int
    fps: Fraction  # of the images; the features have 4 steps per frame at any rate
    num_speaking: int  # frames labelled SPEAKING
    person: str = ""  # identity, if known; for sampling by person


@dataclass(frozen=True, eq=False)
class EntityPart:
    """Frames [start, stop) of an entity."""

    faces: NDArray[np.uint8]  # (T, H, W) grey, or (T, H, W, 3) RGB
    waveform: NDArray[np.int16]  # (N,) mono 16 kHz, T / fps s from the start of the first frame
    labels: NDArray[np.int8]  # (T,)
    timestamps: NDArray[np.float64]  # (T,) s on the video's clock, as in the label table


class DataSet(Protocol):
    """A split of a data set."""

    entities: Sequence[EntityInfo]

    def read(self, index: int, start: int = 0, stop: int | None = None) -> EntityPart:
        """Read frames [start, stop) of entity `index`; reading a short part is cheap.

        If the source ends early, audio is padded with silence and the last image is repeated.
        """
        ...


@runtime_checkable
class LabelReader(Protocol):
    """A data set that can read labels without images."""

    def read_labels(self, index: int) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Return labels and timestamps (T,) of an entity."""
        ...


def read_labels(dataset: DataSet, index: int) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Return labels and timestamps (T,) of an entity, without reading images if possible."""
    if isinstance(dataset, LabelReader):
        return dataset.read_labels(index)
    num_frames = dataset.entities[index].num_frames
    parts = [
        dataset.read(index, start, min(start + _PART, num_frames))
        for start in range(0, num_frames, _PART)
    ]
    labels = np.concatenate([part.labels for part in parts])
    return labels, np.concatenate([part.timestamps for part in parts])
