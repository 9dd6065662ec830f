"""Group the tracks of a video by the person whom they show.

Tracks that overlap in time are two people, whatever they look like.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from utils.people.linkage import average_linkage, clear_pairs
from utils.structures import Person, ScoredTrack, TrackEmbeddings

BLOCK = 2000  # tracks compared with each other at once: 80 MB while they are
MIN_QUALITY = 0.01  # of a track's best crop; below it, the track is uncertain
MIN_FRAMES = 10  # of a track; shorter ones are uncertain
CLEAR_SHARE = 1.15  # of the threshold, up to which a group may be clearly the nearest


@dataclass(frozen=True, eq=False)
class FaceTracks:
    """Tracks as they are compared, in order of their ids."""

    ids: NDArray[np.int64]  # (N,) ScoredTrack.id
    starts: NDArray[np.int64]  # (N,) frames
    stops: NDArray[np.int64]  # (N,)
    vectors: NDArray[np.float32]  # (N, C) unit length
    weights: NDArray[np.float32]  # (N,) quality of the best crop, in [0, 1]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def certain(self) -> NDArray[np.bool_]:
        """Which tracks are long and sharp enough to be compared with all others."""
        long_enough = self.stops - self.starts >= MIN_FRAMES
        return np.asarray(long_enough & (self.weights >= MIN_QUALITY))

    @staticmethod
    def of(tracks: Sequence[ScoredTrack], embeddings: Sequence[TrackEmbeddings]) -> "FaceTracks":
        """Take tracks and their embeddings, in the same order."""
        vectors = [mean_direction(one.embeddings, one.qualities) for one in embeddings]
        return FaceTracks(
            np.array([track.id for track in tracks], np.int64),
            np.array([track.start for track in tracks], np.int64),
            np.array([track.stop for track in tracks], np.int64),
            np.stack(vectors) if vectors else np.zeros((0, 1), np.float32),
            np.array([one.qualities.max() for one in embeddings], np.float32),
        )


def form_people(
    tracks: Sequence[ScoredTrack], embeddings: Sequence[TrackEmbeddings], threshold: float
) -> list[Person]:
    """Return the people of a video in order of first appearance; each track is in one of them.

    Args:
        tracks: All tracks of the video.
        embeddings: One for each track, in the same order.
        threshold: Mean cosine distance of tracks above which two groups are two people.
    """
    faces = FaceTracks.of(tracks, embeddings)
    labels, uncertain = group_tracks(faces, threshold)
    images = {one.track: one for one in embeddings}
    people = []
    for label in range(labels.max(initial=-1) + 1):
        members = np.flatnonzero(labels == label)
        numbers = tuple(faces.ids[members].tolist())
        best = max(members.tolist(), key=lambda member: (faces.weights[member], -member))
        thumbnail = images[int(faces.ids[best])].thumbnail
        alone = bool(uncertain[members].all())
        people.append(Person(label, None, numbers, uncertain=alone, thumbnail=thumbnail))
    return people


def group_tracks(
    faces: FaceTracks, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the person of each track (N,), from 0 in order of first appearance.

    Also returns which tracks are uncertain (N,): too short or blurred to be compared, and not
    clearly one of the people either.

    Certain tracks are grouped by average linkage, block by block, then the groups; so a video
    with thousands of tracks needs bounded memory. Small and dark faces are far from their own
    person, but farther from everybody else: then groups are joined that are clearly nearest.
    """
    labels = np.arange(len(faces))
    known = np.unique(labels[faces.certain])
    for start in range(0, len(known), BLOCK):
        _link(faces, labels, known[start : start + BLOCK], threshold)
    if len(known) > BLOCK:
        _link(faces, labels, np.unique(labels[faces.certain]), threshold)
    labels = _join_clear(faces, labels, threshold)
    uncertain = np.isin(labels, labels[faces.certain], invert=True)
    return _by_first_appearance(faces, labels), uncertain


def mean_direction(
    embeddings: NDArray[np.float32], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the mean (C,) of unit vectors (N, C), again of unit length."""
    total = (embeddings * np.maximum(weights, 1e-3)[:, None]).sum(axis=0)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-6), np.float32)


def overlaps(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which ranges of frames overlap, (N, N)."""
    return np.asarray((starts[:, None] < stops) & (starts < stops[:, None]))


def _link(
    faces: FaceTracks, labels: NDArray[np.int64], groups: NDArray[np.int64], threshold: float
) -> None:
    """Join some groups, given by their labels in rising order; change `labels` in place."""
    members = np.isin(labels, groups)
    inside = np.full(len(labels), -1, np.int64)
    inside[members] = np.searchsorted(groups, labels[members])
    sizes = np.bincount(inside[members], minlength=len(groups))
    apart = _groups_apart(faces, inside, len(groups))
    found = average_linkage(_means(faces, inside, len(groups)), sizes, apart, 1 - threshold)
    firsts = groups[np.unique(found, return_index=True)[1]]
    labels[members] = firsts[found[inside[members]]]


def _join_clear(
    faces: FaceTracks, labels: NDArray[np.int64], threshold: float
) -> NDArray[np.int64]:
    """Join groups that are clearly nearest to each other, until there are no more."""
    while True:
        labels = np.unique(labels, return_inverse=True)[1].astype(np.int64)
        num_groups = int(labels.max(initial=-1)) + 1
        sizes = np.bincount(labels[faces.certain], minlength=num_groups)
        farthest = np.where(sizes > 0, CLEAR_SHARE, 1.0) * threshold
        apart = _groups_apart(faces, labels, num_groups)
        means = _means(faces, labels, num_groups)
        pairs = clear_pairs(means, sizes, apart, np.asarray(1 - farthest, np.float32))
        if not pairs:
            return labels
        for group, other in pairs:
            labels[labels == group] = other


def _means(faces: FaceTracks, labels: NDArray[np.int64], num_groups: int) -> NDArray[np.float32]:
    """Return the mean (G, C) of the vectors of each group, not normalised."""
    sums = np.zeros((num_groups, faces.vectors.shape[1]), np.float32)
    inside = labels >= 0
    np.add.at(sums, labels[inside], faces.vectors[inside])
    counts = np.bincount(labels[inside], minlength=num_groups)
    return np.asarray(sums / np.maximum(counts, 1)[:, None], np.float32)


def _groups_apart(
    faces: FaceTracks, labels: NDArray[np.int64], num_groups: int
) -> NDArray[np.bool_]:
    """Return which groups (G, G) have tracks that overlap in time."""
    apart = np.zeros((num_groups, num_groups), bool)
    open_tracks: list[int] = []
    for track in np.argsort(faces.starts, kind="stable").tolist():
        if labels[track] < 0:
            continue
        open_tracks = [one for one in open_tracks if faces.stops[one] > faces.starts[track]]
        for other in open_tracks:
            apart[labels[track], labels[other]] = apart[labels[other], labels[track]] = True
        open_tracks.append(track)
    return apart


def _by_first_appearance(faces: FaceTracks, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the groups, renumbered in order of their first frames, then tracks."""
    order = np.lexsort((faces.ids, faces.starts))
    numbers: dict[int, int] = {}
    for label in labels[order].tolist():
        numbers.setdefault(label, len(numbers))
    return np.array([numbers[label] for label in labels.tolist()], np.int64)
