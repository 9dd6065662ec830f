"""The interface of trackers, and the tracks that they follow."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from utils.structures import Detections, FaceTrack

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the source frame


@dataclass(eq=False)
class GrowingTrack:
    """A face being followed; its boxes are known up to the last detection.

    The reader may drop boxes from the front (`forget`), so that a long track takes no more memory
    than a short one.
    """

    id: int  # in order of creation; tracks that turn out too short are counted too
    start: int  # video frame of the first box
    num_detections: int = 0
    stop: int = 0  # video frame after the last detection
    boxes: list[Box] = field(default_factory=list)  # of frames [stop - len(boxes), stop)
    width_sum: float = 0.0  # of all boxes, including the dropped ones
    height_sum: float = 0.0

    def add(self, index: int, box: Box) -> None:
        """Add the detection in frame `index`; the frames since the last one are interpolated."""
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


class Tracker(ABC):
    """Follows faces frame by frame, one shot after the other."""

    delay: int  # frames by which the boxes of an open track, or its end, may come late
    open: list[GrowingTrack]  # in order of creation

    @abstractmethod
    def update(self, index: int, faces: Detections | None, /) -> list[GrowingTrack]:
        """Take the next frame; return the tracks that ended before it.

        Args:
            index: Video frame; one more than the last time, except after `finish`.
            faces: The detections of the frame; None if the detector did not run on it.
        """

    @abstractmethod
    def finish(self) -> list[GrowingTrack]:
        """End the shot; return the tracks that were open."""

    @abstractmethod
    def keeps(self, track: GrowingTrack, /) -> bool:
        """Return whether a track that has ended counts."""


class GivenTracks(Tracker):
    """Tracks known beforehand, given frame by frame.

    A track that crosses a cut ends there and continues as a new one.

    Args:
        tracks: All tracks of the video, in any order.
    """

    delay = 0

    def __init__(self, tracks: Sequence[FaceTrack]) -> None:
        self.open: list[GrowingTrack] = []
        self._waiting = sorted(tracks, key=lambda track: track.start, reverse=True)
        self._current: list[FaceTrack] = []  # those that have a box in this frame
        self._growing: dict[int, GrowingTrack] = {}  # by identity of the given track
        self._num_tracks = 0

    def update(self, index: int, _unread: Detections | None = None, /) -> list[GrowingTrack]:
        """Take the next frame; return the tracks that ended before it."""
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
        """End the shot; return the tracks that were open."""
        ended, self.open = self.open, []
        self._growing.clear()
        return ended

    def keeps(self, _track: GrowingTrack, /) -> bool:
        """Return True: every given track counts."""
        return True
