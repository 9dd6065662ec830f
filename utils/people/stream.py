"""People shot by shot, while a video is still being analysed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from utils.people.grouping import FaceTracks, group_tracks, mean_direction, overlaps
from utils.structures import ScoredTrack, TrackEmbeddings

CENTRE_SHARE = 0.8  # of the threshold, for a person's centre: a mean is less noisy


class PeopleStream:
    """Numbers the people of a video as its shots come; a number given to a track never changes.

    Two numbers can turn out to be one person once more of them has been seen: `merged` says so.
    `form_people` knows the whole video and is more accurate; use it for what is kept. Memory grows
    with the number of people, by one embedding each.

    Args:
        threshold: Mean cosine distance of tracks above which two groups are two people.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.merged: dict[int, int] = {}  # numbers that were given, to the earlier one of the same
        self._sums: dict[int, NDArray[np.float32]] = {}  # by person: weighted sum of vectors
        self._num_given = 0  # numbers given so far
        self._together: set[tuple[int, int]] = set()  # people who were seen at the same time

    def add(
        self, tracks: Sequence[ScoredTrack], embeddings: Sequence[TrackEmbeddings]
    ) -> list[int]:
        """Return the number of the person of each track of the next shot.

        Args:
            tracks: All tracks of the shot.
            embeddings: One for each track, in the same order.
        """
        if not tracks:
            return []
        faces = FaceTracks.of(tracks, embeddings)
        labels, uncertain = group_tracks(faces, self.threshold)
        people = self._match(faces, labels, uncertain)
        numbers = [people[label] for label in labels.tolist()]
        meet = np.argwhere(np.triu(overlaps(faces.starts, faces.stops), 1))
        self._together |= {_pair(numbers[a], numbers[b]) for a, b in meet.tolist()}
        for place, number in enumerate(numbers):
            if not uncertain[place]:  # a blurred face would only spoil what is known
                weight = max(float(faces.weights[place]), 1e-3)
                known = self._sums.get(number, np.zeros_like(faces.vectors[place]))
                self._sums[number] = known + weight * faces.vectors[place]
        self._merge()
        return numbers

    def _match(
        self, faces: FaceTracks, labels: NDArray[np.int64], uncertain: NDArray[np.bool_]
    ) -> dict[int, int]:
        """Return the person of each group of a shot: a known one, nearest first, or a new one."""
        groups = range(int(labels.max()) + 1)
        members = {group: np.flatnonzero(labels == group) for group in groups}
        pairs = []
        for group in groups:
            if uncertain[members[group]].all():
                continue
            inside = members[group]
            centre = mean_direction(faces.vectors[inside], faces.weights[inside])
            for number, total in self._sums.items():
                distance = 1 - float(centre @ total) / max(float(np.linalg.norm(total)), 1e-6)
                if distance < CENTRE_SHARE * self.threshold:
                    pairs.append((distance, group, number))
        apart = overlaps(faces.starts, faces.stops)
        people: dict[int, int] = {}
        for _, group, number in sorted(pairs):
            rivals = [other for other, taken in people.items() if taken == number]
            clash = any(apart[np.ix_(members[group], members[one])].any() for one in rivals)
            if group not in people and not clash:
                people[group] = number
        for group in groups:  # in order of first appearance
            if group not in people:
                people[group] = self._num_given
                self._num_given += 1
        return people

    def _merge(self) -> None:
        """Find people who have become one, and go on under the earlier number."""
        numbers = sorted(self._sums)
        centres = np.stack([self._sums[number] for number in numbers]) if numbers else None
        if centres is None:
            return
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-6)
        near = np.triu(1 - centres @ centres.T < CENTRE_SHARE * self.threshold, 1)
        for first, second in np.argwhere(near).tolist():
            kept, gone = numbers[first], numbers[second]
            if kept in self.merged or gone in self.merged or (kept, gone) in self._together:
                continue
            self.merged[gone] = kept
            self._sums[kept] = self._sums[kept] + self._sums.pop(gone)
            self._together = {
                _pair(*(kept if number == gone else number for number in pair))
                for pair in self._together
            }


def _pair(first: int, second: int) -> tuple[int, int]:
    return (first, second) if first < second else (second, first)
