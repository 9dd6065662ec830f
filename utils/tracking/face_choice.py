"""Choose the few crops of a track that show best who it is, while the track is followed."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.structures import FaceCrops, Frame
from utils.tracking.crop_geometry import THUMBNAIL_MARGIN
from utils.tracking.face_alignment import (
    SIZE,
    Affine,
    Points,
    align,
    cut_colour,
    cut_grey,
    pixels_per_pixel,
    points_in_box,
)

MOST = 6  # crops of a track
# Frames that a crop stands for at least. Embedding a crop takes as long as scoring two frames, so
# this keeps it below 3 % of the time.
STRETCH = 40
CANDIDATES = 5  # frames of a stretch that are compared
PATIENCE = 8  # frames that a candidate waits for one in which the detector ran
USUAL_SHARPNESS = 0.02  # variance of the Laplacian, as a share of the image's, that counts half
UNKNOWN, PROFILE = 0.5, 0.1  # how frontal faces count whose points were not found; profiles


@dataclass(frozen=True, eq=False)
class FaceChoice:
    """How crops are cut that show who somebody is."""

    places: Points  # (5, 2) where the five points lie in a box, as fractions, if not found


@dataclass(frozen=True, eq=False)
class _Candidate:
    frame: int
    quality: float
    crop: NDArray[np.uint8]


class FaceChooser:
    """Keeps the best crops of one track: one of each stretch, at most six.

    If there are more stretches, each two neighbours become one, so a track's crops are spread over
    the whole of it however long it becomes.
    """

    def __init__(self, start: int, choice: FaceChoice) -> None:
        """Begin a track.

        Args:
            start: Its first video frame.
            choice: How crops are cut.
        """
        self._start = start
        self._places = choice.places
        self._length = STRETCH  # frames of a stretch
        self._due = start  # video frame of the next candidate
        self._best: dict[int, _Candidate] = {}  # by number of the stretch
        self._thumbnail: NDArray[np.uint8] | None = None
        self._thumbnail_quality = -1.0

    def add(self, frame: Frame, box: NDArray[np.floating]) -> None:
        """Take the next frame of the track, in which its face lies in `box` (4,), pixels."""
        if frame.index < self._due:
            return
        detection = _find(frame, box)
        patience = PATIENCE if self._best else 0
        if detection is None and frame.index < self._due + patience:
            return
        self._due = frame.index + self._length // CANDIDATES
        points = None
        if detection is not None and frame.faces and frame.faces.landmarks is not None:
            points = frame.faces.landmarks[detection]
        self._compare(frame, box, points)

    def finish(self) -> FaceCrops:
        """Return the crops of the whole track."""
        chosen = [self._best[number] for number in sorted(self._best)]
        assert self._thumbnail is not None, "a track has at least one frame"
        return FaceCrops(
            frames=np.array([one.frame for one in chosen], np.int64),
            crops=np.stack([one.crop for one in chosen]),
            qualities=np.array([one.quality for one in chosen], np.float32),
            thumbnail=self._thumbnail,
        )

    def _compare(self, frame: Frame, box: NDArray[np.floating], points: Points | None) -> None:
        """Keep the face of a frame if it is the best one of its stretch."""
        place = align(points_in_box(box, self._places) if points is None else points)
        quality = min(1.0, pixels_per_pixel(place)) * sharpness(cut_grey(frame, place))
        quality *= UNKNOWN if points is None else frontality(points)
        if quality > self._thumbnail_quality:
            self._thumbnail = cut_colour(frame, _around(box))
            self._thumbnail_quality = quality
        while (number := (frame.index - self._start) // self._length) >= MOST:
            self._join_stretches()
        best = self._best.get(number)
        if best is None or quality > best.quality:
            self._best[number] = _Candidate(frame.index, quality, cut_colour(frame, place))

    def _join_stretches(self) -> None:
        """Make one of each two neighbouring stretches."""
        joined: dict[int, _Candidate] = {}
        for number, one in self._best.items():
            other = joined.get(number // 2)
            if other is None or one.quality > other.quality:
                joined[number // 2] = one
        self._best = joined
        self._length *= 2


def frontality(points: Points) -> float:
    """Return 1 for a face seen from in front, 0.1 for a profile.

    The tip of the nose is halfway between the eyes in the one and beside them in the other.
    """
    left, right, nose = np.asarray(points[:3], np.float64)
    axis = right - left
    along = float((nose - left) @ axis / max(float(axis @ axis), 1e-6))
    return min(max(1 - 2 * abs(along - 0.5), PROFILE), 1.0)


def sharpness(grey: NDArray[np.uint8]) -> float:
    """Return in [0, 1) how much fine detail an image has, whatever its contrast."""
    edges = float(cv2.Laplacian(grey, cv2.CV_32F).var())
    ratio = edges / (float(grey.var()) + 1.0)
    return ratio / (ratio + USUAL_SHARPNESS)


def _find(frame: Frame, box: NDArray[np.floating]) -> int | None:
    """Return which detection of a frame has that box; None if it is interpolated or given."""
    if frame.faces is None or not len(frame.faces):
        return None
    same = np.flatnonzero((frame.faces.boxes == np.asarray(box, np.float32)).all(axis=1))
    return int(same[0]) if len(same) else None


def _around(box: NDArray[np.floating]) -> Affine:
    """Return the place of a thumbnail: a square around a face."""
    x1, y1, x2, y2 = (float(value) for value in box)
    step = THUMBNAIL_MARGIN * max(x2 - x1, y2 - y1, 1.0) / SIZE
    left, top = (centre - (SIZE - 1) / 2 * step for centre in ((x1 + x2) / 2, (y1 + y2) / 2))
    return np.array([[step, 0.0, left], [0.0, step, top]])
