"""When anybody at all speaks in a video, for networks whose sound is trained on that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from utils.datasets.contexts import moments_of
from utils.datasets.entities import NOT_SPEAKING, SPEAKING, UNLABELLED, DataSet

PART = 250  # frames read at once where a data set gives labels with pictures only


@runtime_checkable
class LabelReader(Protocol):
    """A data set that gives labels without pictures."""

    def read_labels(self, index: int) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Return labels and timestamps (T,) of an entity."""
        ...


class SpeechTimes:
    """The labelled moments of all videos, and whether any labelled face speaks at them."""

    def __init__(self, known: Mapping[str, NDArray[np.int64]]) -> None:
        """Take for each video two rows, (2, N): sorted moments, and 1 where somebody speaks."""
        self._known = known

    @classmethod
    def of(cls, dataset: DataSet) -> SpeechTimes:
        """Read the labels of a whole data set."""
        found: defaultdict[str, list[NDArray[np.int64]]] = defaultdict(list)
        for index, entity in enumerate(dataset.entities):
            labels, times = _labels(dataset, index)
            labelled = labels != UNLABELLED
            found[entity.video].append(np.stack([moments_of(times), labels])[:, labelled])
        return cls({video: _merged(np.concatenate(rows, axis=1)) for video, rows in found.items()})

    def at(self, video: str, timestamps: NDArray[np.float64]) -> NDArray[np.int8]:
        """Return 1, 0, or -1 where nobody is labelled, for each time (N,)."""
        known, speaks = self._known[video]
        if not len(known):
            return np.full(len(timestamps), UNLABELLED, np.int8)
        moments = moments_of(timestamps)
        places = np.searchsorted(known, moments).clip(max=len(known) - 1)
        return np.where(known[places] == moments, speaks[places], UNLABELLED).astype(np.int8)


def _merged(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each moment once, with the greatest of its labels."""
    moments, labels = rows
    known, inverse = np.unique(moments, return_inverse=True)
    speaks = np.full(len(known), NOT_SPEAKING, np.int64)
    np.maximum.at(speaks, inverse, labels == SPEAKING)
    return np.stack([known, speaks])


def _labels(dataset: DataSet, index: int) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    if isinstance(dataset, LabelReader):
        return dataset.read_labels(index)
    num_frames = dataset.entities[index].num_frames
    parts = [
        dataset.read(index, start, min(start + PART, num_frames))
        for start in range(0, num_frames, PART)
    ]
    labels = np.concatenate([part.labels for part in parts])
    return labels, np.concatenate([part.timestamps for part in parts])
