"""Follow faces from frame to frame: the published greedy tracker, one frame at a time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol

import numpy as np

from utils.errors import UserError
from utils.structures import Detections, FaceTrack

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the source frame
Face = tuple[float, float, float, float, float]  # the same and the detector's confidence

MIN_OVERLAP = 0.5  # a face joins a track above this intersection over union with its last box


@dataclass(frozen=True)
class TrackOptions:
    """Which faces make a track."""

    num_failed_det: Annotated[int, "frames without a detection before a track ends"] = 10
    min_track: Annotated[int, "a track needs more frames than this"] = 10
    min_face_size: Annotated[float, "a track needs a larger mean width or height, pixels"] = 1

    def __post_init__(self) -> None:
        if self.num_failed_det < 0:
            raise UserError(f"--numFailedDet must be 0 or more frames, got {self.num_failed_det}")
        if self.min_track < 0:
            raise UserError(f"--minTrack must be 0 or more frames, got {self.min_track}")
        if not 0 <= self.min_face_size < float("inf"):
            raise UserError(f"--minFaceSize must be 0 or more pixels, got {self.min_face_size}")


@dataclass(eq=False)
class GrowingTrack:
    """A face being followed; its boxes are known up to the last detection.

    The reader may drop boxes from the front (`forget`), so a long track takes no more memory
    than a short one.
    """

    id: int  # in order of creation, also among those that turn out too short
    start: int  # video frame of the first box
    num_detections: int = 0
    stop: int = 0  # video frame after the last detection
    boxes: list[Box] = field(default_factory=list)  # of frames [stop - len(boxes), stop)
    width_sum: float = 0.0  # of all boxes, also of the forgotten ones
    height_sum: float = 0.0

    def add(self, index: int, box: Box) -> None:
        """Take the detection in frame `index`; the frames since the last one are interpolated."""
        self.num_detections += 1
        if self.boxes and index < self.stop:  # a second detection in one frame: the later one wins
            self._measure(self.boxes.pop(), -1)
            self.stop -= 1
        elif self.boxes:
            last, gap = self.boxes[-1], index - self.stop + 1
            for step in range(1, gap):
                x1, y1, x2, y2 = ((b - a) / gap * step + a for a, b in zip(last, box, strict=True))
                self._append((x1, y1, x2, y2))
        else:
            self.stop = index
        self._append(box)

    def forget(self, before: int) -> None:
        """Drop the boxes of the frames before video frame `before`, except the last box."""
        del self.boxes[: max(0, min(before - self.stop + len(self.boxes), len(self.boxes) - 1))]

    def _append(self, box: Box) -> None:
        self.boxes.append(box)
        self.stop += 1
        self._measure(box, 1)

    def _measure(self, box: Box, sign: int) -> None:
        self.width_sum += sign * (box[2] - box[0])
        self.height_sum += sign * (box[3] - box[1])


class Follower(Protocol):
    """What gives growing tracks, frame by frame: a Tracker or GivenTracks."""

    open: list[GrowingTrack]  # in order of creation

    def update(self, index: int, faces: Detections | None, /) -> list[GrowingTrack]:
        """Take the next frame; returns the tracks that ended before it."""
        ...

    def finish(self) -> list[GrowingTrack]:
        """End the shot; returns the tracks that were open."""
        ...

    def keeps(self, track: GrowingTrack) -> bool:
        """Whether an ended track counts."""
        ...


class Tracker:
    """The published greedy tracker, one frame at a time.

    As published, a pass over the whole shot collects one track: the first free detection opens
    it; in each frame its free detections are read in stored order, and one joins when it
    overlaps the last box and the gap is not too large; what joined is taken off the frame's
    list. Passes are repeated until nothing is free, which is quadratic in the shot's length.

    The same result comes from one walk over the frames. What a pass does in a frame depends on
    its own past and on what the earlier passes left in that frame, and on nothing else. So in
    each frame the open tracks may make their passes in order of creation, once all frames before
    it are done. A pass opens its track at the first detection that the earlier ones leave over;
    by then nothing is left in the frames before, hence new tracks open, one after the other,
    from what the open ones leave. A track whose gap is too large takes nothing any more.

    Kept: a frame's list is edited while it is read, so the detection after one that joins is
    passed over, and a further one of the same frame may join the same track (the later wins).

    Args:
        options: When tracks end and which count.
        every: Faces were looked for in each `every`-th frame; one detection counts for as many.
    """

    def __init__(self, options: TrackOptions, every: int = 1) -> None:
        if every < 1:
            raise ValueError(f"--detectEvery must be 1 or more frames, got {every}")
        self.open: list[GrowingTrack] = []
        self._options = options
        self._every = every
        self._num_tracks = 0

    def update(self, index: int, faces: Detections | None, /) -> list[GrowingTrack]:
        """Take the next frame; returns the tracks that ended before it.

        Args:
            index: Video frame; one more than the last time.
            faces: What was found in it, None where nobody looked.
        """
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
        """End the shot; returns the tracks that were open."""
        ended, self.open = self.open, []
        return ended

    def keeps(self, track: GrowingTrack) -> bool:
        """Whether an ended track is long and large enough."""
        mean_size = max(track.width_sum, track.height_sum) / (track.stop - track.start)
        is_long = track.num_detections * self._every > self._options.min_track
        return is_long and mean_size > self._options.min_face_size


class GivenTracks:
    """Tracks known beforehand, handed out frame by frame like those of a Tracker.

    A track that crosses a cut ends there and goes on as a new one.

    Args:
        tracks: All tracks of the video, in any order.
    """

    def __init__(self, tracks: Sequence[FaceTrack]) -> None:
        self.open: list[GrowingTrack] = []
        self._waiting = sorted(tracks, key=lambda track: track.start, reverse=True)
        self._current: list[FaceTrack] = []  # those that reach into the present frame
        self._growing: dict[int, GrowingTrack] = {}  # by identity of the given track
        self._num_tracks = 0

    def update(self, index: int, _unread: Detections | None = None, /) -> list[GrowingTrack]:
        """Take the next frame; returns the tracks that ended before it."""
        gone = [track for track in self._current if track.stop <= index]
        ended = [self._growing.pop(id(track)) for track in gone if id(track) in self._growing]
        while self._waiting and self._waiting[-1].start <= index:
            self._current.append(self._waiting.pop())
        self._current = [track for track in self._current if track.stop > index]
        for track in self._current:
            if id(track) not in self._growing:
                self._growing[id(track)] = GrowingTrack(self._num_tracks, index)
                self._num_tracks += 1
            x1, y1, x2, y2 = track.boxes[index - track.start].tolist()
            self._growing[id(track)].add(index, (x1, y1, x2, y2))
        self.open = list(self._growing.values())
        return ended

    def finish(self) -> list[GrowingTrack]:
        """End the shot; returns the tracks that were open."""
        ended, self.open = self.open, []
        self._growing.clear()
        return ended

    def keeps(self, track: GrowingTrack) -> bool:
        """Whether an ended track counts: all of them do."""
        return track.num_detections > 0


def track_detections(
    detections: Iterable[Detections | None],
    options: TrackOptions,
    start: int = 0,
    every: int = 1,
) -> list[FaceTrack]:
    """Return the tracks of one shot, in order of their first frames.

    Args:
        detections: One entry a frame, None where nobody looked.
        options: When tracks end and which count.
        start: Video frame of the first entry.
        every: Faces were looked for in each `every`-th frame.
    """
    tracker = Tracker(options, every)
    ended: list[GrowingTrack] = []
    for index, faces in enumerate(detections, start):
        ended += tracker.update(index, faces)
    ended += tracker.finish()
    kept = sorted((track for track in ended if tracker.keeps(track)), key=lambda track: track.id)
    return [FaceTrack(track.start, np.array(track.boxes, np.float32)) for track in kept]


def _faces(detections: Detections | None) -> list[Face]:
    if detections is None:
        return []
    columns = (*detections.boxes.T.tolist(), detections.confidences.tolist())
    return list(zip(*columns, strict=True))


def _scan(track: GrowingTrack, index: int, free: list[Face]) -> None:
    """Let a track take what is its own off the free faces of one frame."""
    for face in free:  # Kept: edited while it is read, see Tracker
        box = face[:4]
        if not track.boxes or _overlap(box, track.boxes[-1]) > MIN_OVERLAP:
            track.add(index, box)
            free.remove(face)


def _overlap(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes, 0 where either has no area."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
