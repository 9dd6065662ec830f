"""Follow faces from frame to frame: the published greedy tracker, one frame at a time."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from utils.boxes import iou
from utils.errors import UserError
from utils.structures import Detections
from utils.tracking.tracks import GrowingTrack, Tracker

Face = tuple[float, float, float, float, float]  # a box and the detector's confidence of it

MIN_IOU = 0.5  # a face joins a track if its IoU with the track's last box is larger


@dataclass(frozen=True)
class TrackOptions:
    """Which faces make a track."""

    num_failed_det: Annotated[int, "frames without a detection after which a track ends"] = 10
    min_track: Annotated[int, "drop tracks that are not longer than this, in frames"] = 10
    min_face_size: Annotated[
        float, "drop tracks whose mean width and height are not larger than this, in pixels"
    ] = 1

    def __post_init__(self) -> None:
        if self.num_failed_det < 0:
            raise UserError(f"--numFailedDet must be 0 or more frames, got {self.num_failed_det}")
        if self.min_track < 0:
            raise UserError(f"--minTrack must be 0 or more frames, got {self.min_track}")
        if not 0 <= self.min_face_size < float("inf"):
            raise UserError(f"--minFaceSize must be 0 or more pixels, got {self.min_face_size}")


class GreedyTracker(Tracker):
    """The published greedy tracker, one frame at a time.

    The published one passes over the whole shot for each track: the first free detection opens
    the track; in each frame its free detections are read in stored order, and one joins if it
    overlaps the last box and the gap is not too large. What joined is removed from the frame's
    list. Passes are repeated until nothing is free, which is quadratic in the shot's length.

    One walk over the frames gives the same result: what a pass does in a frame depends only on
    its own past and on what earlier passes left in that frame. So in each frame the open tracks
    make their passes in order of creation, and new tracks open from what they leave.

    Kept: a frame's list is edited while it is read, so the detection after one that joins is
    skipped, and a further one of the same frame may join the same track (the later one wins).

    Args:
        options: When tracks end and which count.
        every: The detector ran on each `every`-th frame; one detection counts for as many frames.
    """

    def __init__(self, options: TrackOptions, every: int = 1) -> None:
        if every < 1:
            raise ValueError(f"--detectEvery must be 1 or more frames, got {every}")
        self.open: list[GrowingTrack] = []
        self.delay = options.num_failed_det + 2 * every
        self._options = options
        self._every = every
        self._num_tracks = 0

    def update(self, index: int, faces: Detections | None, /) -> list[GrowingTrack]:
        """Take the next frame; return the tracks that ended before it."""
        first = index - self._options.num_failed_det  # the last detection must not be older
        ended = [track for track in self.open if track.stop - 1 < first]
        if ended:
            self.open = [track for track in self.open if track.stop - 1 >= first]
        free = _faces(faces)
        for track in self.open:
            _scan(track, index, free)
        while free:
            track = GrowingTrack(self._num_tracks, index)
            self._num_tracks += 1
            _scan(track, index, free)
            self.open.append(track)
        return ended

    def finish(self) -> list[GrowingTrack]:
        """End the shot; return the tracks that were open."""
        ended, self.open = self.open, []
        return ended

    def keeps(self, track: GrowingTrack, /) -> bool:
        """Return whether a track that has ended is long and large enough."""
        mean_size = max(track.width_sum, track.height_sum) / (track.stop - track.start)
        is_long = track.num_detections * self._every > self._options.min_track
        return is_long and mean_size > self._options.min_face_size


def _faces(detections: Detections | None) -> list[Face]:
    if detections is None:
        return []
    columns = (*detections.boxes.T.tolist(), detections.confidences.tolist())
    return list(zip(*columns, strict=True))


def _scan(track: GrowingTrack, index: int, free: list[Face]) -> None:
    """Move the faces of one frame that join a track from `free` to the track."""
    place = 0
    while place < len(free):
        if track.boxes:
            boxes = np.array(free[place:])[:, :4]
            joining = np.flatnonzero(iou(boxes, np.array(track.boxes[-1])) > MIN_IOU)
            if not len(joining):
                return
            place += int(joining[0])
        face = free[place]
        track.add(index, face[:4])
        free.remove(face)
        place += 1  # Kept: skips a face, see GreedyTracker
