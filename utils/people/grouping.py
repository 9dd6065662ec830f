"""Group the tracks of a video by the person whom they show.

Tracks that overlap in time are two people, whatever they look like.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from utils.structures import Person, ScoredTrack, TrackEmbeddings

BLOCK = 2000  # tracks compared with each other at once: 80 MB while they are
FAR = 4.0  # cosine distances reach 2: never joined
MIN_QUALITY = 0.02  # of a track's best crop; below it, the track is uncertain
MIN_FRAMES = 10  # of a track; shorter ones are uncertain
CENTRE_SHARE = 0.8  # of the threshold, for the centres of two groups: a mean is less noisy
CLEAR_MARGIN = 0.1  # cosine distance by which an uncertain track's person must be the nearest


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
        threshold: Cosine distance above which two tracks are two people.
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

    Certain tracks are grouped by complete linkage, block by block; then groups whose centres are
    near are joined. So a video with thousands of tracks needs bounded memory, and a person with
    hundreds of tracks is not split by the two that differ most.
    """
    certain = np.flatnonzero(faces.certain)
    labels = np.full(len(faces), -1, np.int64)
    num_groups = 0
    for start in range(0, len(certain), BLOCK):
        block = certain[start : start + BLOCK]
        apart = overlaps(faces.starts[block], faces.stops[block])
        found = _complete_linkage(faces.vectors[block], apart, threshold)
        labels[block] = num_groups + found
        num_groups += found.max(initial=-1) + 1
    labels = _join_centres(faces, labels, threshold)
    uncertain = _place_uncertain(faces, labels, threshold)
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


def _complete_linkage(
    vectors: NDArray[np.float32], apart: NDArray[np.bool_], threshold: float
) -> NDArray[np.int64]:
    """Return groups (N,) whose members all lie within the threshold; never two that are apart."""
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(vectors) < 2:
        return np.zeros(len(vectors), np.int64)
    distances = np.where(apart, FAR, 1 - vectors @ vectors.T)
    upper = np.concatenate([row[i + 1 :] for i, row in enumerate(distances)])
    tree = linkage(upper.astype(np.float64).clip(0), "complete")
    return np.asarray(fcluster(tree, threshold, "distance") - 1, np.int64)


def _join_centres(
    faces: FaceTracks, labels: NDArray[np.int64], threshold: float
) -> NDArray[np.int64]:
    """Join groups whose centres are near, the nearest first, unless tracks of them overlap."""
    num_groups = labels.max(initial=-1) + 1
    if num_groups < 2:
        return labels
    centres = _centres(faces, labels, num_groups)
    apart = _groups_apart(faces, labels, num_groups)
    joined = _complete_linkage(centres, apart, CENTRE_SHARE * threshold)
    return np.where(labels < 0, -1, joined[labels])


def _centres(faces: FaceTracks, labels: NDArray[np.int64], num_groups: int) -> NDArray[np.float32]:
    """Return the mean direction (G, C) of each group."""
    sums = np.zeros((num_groups, faces.vectors.shape[1]), np.float32)
    inside = labels >= 0
    weighted = faces.vectors * np.maximum(faces.weights, 1e-3)[:, None]
    np.add.at(sums, labels[inside], weighted[inside])
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6))


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


def _place_uncertain(
    faces: FaceTracks, labels: NDArray[np.int64], threshold: float
) -> NDArray[np.bool_]:
    """Give each uncertain track its person, or one of its own; return which have one of their own.

    A person must be near and clearly nearer than the next. Fills `labels` in place.
    """
    num_groups = int(labels.max(initial=-1)) + 1
    centres = _centres(faces, labels, num_groups)
    alone = np.zeros(len(faces), bool)
    for track in np.flatnonzero(labels < 0).tolist():
        together = (faces.starts < faces.stops[track]) & (faces.starts[track] < faces.stops)
        seen = set(labels[together & (labels >= 0)].tolist())
        distances = 1 - centres @ faces.vectors[track]
        order = np.argsort(distances, kind="stable")[:2].tolist()
        clear = bool(order) and distances[order[0]] < CENTRE_SHARE * threshold
        if len(order) == 2:
            clear = clear and distances[order[1]] - distances[order[0]] >= CLEAR_MARGIN
        if clear and order[0] not in seen:
            labels[track] = order[0]
            continue
        labels[track] = num_groups + int(alone.sum())
        alone[track] = True
    return alone


def _by_first_appearance(faces: FaceTracks, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the groups, renumbered in order of their first frames, then tracks."""
    order = np.lexsort((faces.ids, faces.starts))
    numbers: dict[int, int] = {}
    for label in labels[order].tolist():
        numbers.setdefault(label, len(numbers))
    return np.array([numbers[label] for label in labels.tolist()], np.int64)
