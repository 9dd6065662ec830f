"""Choose the faces that a face is compared with: others visible at the same time."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import DataSet, read_labels

SAME_MOMENT_S = 0.011  # closer times are equal: some tables are rounded to 0.01 s
ABSENT = -1  # instead of a row


@dataclass(frozen=True)
class SpeakerOptions:
    """How other faces are drawn in training and validation, after LoCoNet (Wang et al., 2024)."""

    num_speakers: int = 3  # S, the scored face among them
    min_share: float = 0.5  # of the frames, in which others must be visible; 0 for validation


def draw_speakers(
    target: int,
    rows: Mapping[int, NDArray[np.int64]],
    options: SpeakerOptions,
    rng: np.random.Generator,
) -> list[int]:
    """Return S entities to compare, the target first, as LoCoNet's loader does.

    The others are drawn from those that are visible in the middle frame and in enough of the
    frames. If there are too few, some are repeated at random; if there is none, the target is.

    Args:
        target: The scored entity.
        rows: For each other entity of the video, its row at each frame or ABSENT.
        options: How many are drawn, and how long they must be visible.
        rng: Source of randomness.
    """
    num_others = options.num_speakers - 1
    candidates = [
        entity
        for entity, frames in rows.items()
        if frames[len(frames) // 2] != ABSENT and (frames != ABSENT).mean() > options.min_share
    ]
    drawn = [candidates[index] for index in rng.permutation(len(candidates))][:num_others]
    while drawn and len(drawn) < num_others:
        drawn.append(drawn[int(rng.integers(len(candidates)))])
    return [target, *(drawn or [target] * num_others)]


def rows_at(times: NDArray[np.float64], moments: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the row of `times` that equals each moment, or ABSENT: (len(moments),).

    Args:
        times: (T,) s, ascending, at least one.
        moments: s.
    """
    after = np.searchsorted(times, moments).clip(1, max(1, len(times) - 1))
    if len(times) == 1:
        nearest = np.zeros(len(moments), np.int64)
    else:
        nearest = after - (moments - times[after - 1] < times[after] - moments)
    same = np.abs(times[nearest] - moments) < SAME_MOMENT_S
    return np.where(same, nearest, ABSENT).astype(np.int64)


class SpeakerIndex:
    """When each entity of a data set is visible, and which others are.

    Times are cached, 8 bytes per frame.
    """

    def __init__(self, dataset: DataSet) -> None:
        """Index the entities by video; nothing is read yet."""
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
        """Return the other entities of the target's video that are visible at some moments.

        Args:
            target: The entity to exclude.
            moments: (T,) s, ascending, at least one.

        Returns:
            Row at each moment or ABSENT, (T,), by entity; entities visible at none are omitted.
        """
        found = {}
        for other in self._of_video[self._dataset.entities[target].video]:
            times = self.times(other)
            apart = times[-1] < moments[0] - SAME_MOMENT_S or times[0] > moments[-1] + SAME_MOMENT_S
            if other != target and not apart:
                rows = rows_at(times, moments)
                if (rows != ABSENT).any():
                    found[other] = rows
        return found
