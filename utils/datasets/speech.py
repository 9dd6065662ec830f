"""When anybody at all speaks in a video, for networks whose sound is trained on that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from utils.datasets.contexts import moments_of
from utils.datasets.entities import NOT_SPEAKING, SPEAKING, UNLABELLED, DataSet, read_labels


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
            labels, times = read_labels(dataset, index)
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
