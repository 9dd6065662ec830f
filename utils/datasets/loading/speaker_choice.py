"""Choose whom a face is compared with: others that are seen at the same time."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import DataSet, read_labels

SAME_S = 0.011  # times this close are one moment: some tables have hundredths of a second
ABSENT = -1  # instead of a row


@dataclass(frozen=True)
class SpeakerOptions:
    """Who is drawn in training and validation, as published for LoCoNet."""

    num_speakers: int = 3  # S, the scored face among them
    min_share: float = 0.5  # others share more than this of the clip's frames; 0 for validation


def draw_speakers(
    target: int,
    rows: Mapping[int, NDArray[np.int64]],
    options: SpeakerOptions,
    rng: np.random.Generator,
) -> list[int]:
    """Return S entities to compare, the target first, by the published rule for data sets.

    The others are drawn from those that are seen at the clip's middle frame and share enough of
    it. Where there are too few, some are repeated at random; where there is none, the target is.

    Args:
        target: The entity whose clip it is.
        rows: Of each other entity of the video, the row at each frame of the clip or ABSENT.
        options: How many, and how much they must share.
        rng: Draws.
    """
    num_others = options.num_speakers - 1
    found = [
        other
        for other, there in rows.items()
        if there[len(there) // 2] != ABSENT and (there != ABSENT).mean() > options.min_share
    ]
    drawn = [found[place] for place in rng.permutation(len(found))][:num_others]
    while drawn and len(drawn) < num_others:
        drawn.append(drawn[int(rng.integers(len(found)))])
    return [target, *(drawn or [target] * num_others)]


def rows_at(times: NDArray[np.float64], moments: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the row of `times` that each moment is, or ABSENT: (len(moments),).

    Args:
        times: (T,) s, rising, at least one.
        moments: s.
    """
    after = np.searchsorted(times, moments).clip(1, max(1, len(times) - 1))
    if len(times) == 1:
        nearest = np.zeros(len(moments), np.int64)
    else:
        nearest = after - (moments - times[after - 1] < times[after] - moments)
    same = np.abs(times[nearest] - moments) < SAME_S
    return np.where(same, nearest, ABSENT).astype(np.int64)


class SpeakerIndex:
    """When the entities of a data set are seen, and beside whom.

    Times are kept once they have been read: 8 bytes a frame.
    """

    def __init__(self, dataset: DataSet) -> None:
        """Note which entities each video has; nothing is read yet."""
        self._dataset = dataset
        self._times: dict[int, NDArray[np.float64]] = {}
        self._of_video: dict[str, list[int]] = {}
        for number, entity in enumerate(dataset.entities):
            self._of_video.setdefault(entity.video, []).append(number)

    def times(self, entity: int) -> NDArray[np.float64]:
        """Return the times of all frames of an entity, (T,) s on the video's clock."""
        if entity not in self._times:
            self._times[entity] = read_labels(self._dataset, entity)[1]
        return self._times[entity]

    def rows(self, target: int, moments: NDArray[np.float64]) -> dict[int, NDArray[np.int64]]:
        """Return who else of the target's video is seen at some moments.

        Args:
            target: Entity that is left out.
            moments: (T,) s, rising, at least one.

        Returns:
            By entity, the row at each moment or ABSENT, (T,); those seen at none are left out.
        """
        found = {}
        for other in self._of_video[self._dataset.entities[target].video]:
            times = self.times(other)
            apart = times[-1] < moments[0] - SAME_S or times[0] > moments[-1] + SAME_S
            if other != target and not apart:
                rows = rows_at(times, moments)
                if (rows != ABSENT).any():
                    found[other] = rows
        return found
