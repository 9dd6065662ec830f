"""Cut faces out of the frames, directly as the crops that networks read."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError
from utils.structures import CropForm, CropPiece, Frame, Shot
from utils.tracking.crop_geometry import (
    RADIUS,
    boxes_to_places,
    crop_face,
    crop_tight,
    make_thumbnail,
    median_of_runs,
    smooth_boxes,
)
from utils.tracking.face_choice import FaceChoice, FaceChooser
from utils.tracking.tracks import GrowingTrack, Tracker

_FIRST_ROOM = 50  # frames of a piece that memory is allocated for at first
_FORM = CropForm()


@dataclass(frozen=True)
class CropOptions:
    """How much of the image a crop shows."""

    crop_scale: Annotated[float, "margin around the face, as a fraction of half its size"] = 0.40

    def __post_init__(self) -> None:
        if not 0 <= self.crop_scale <= 10:
            raise UserError(f"--cropScale must be between 0 and 10, got {self.crop_scale}")


def crop_faces(
    frames: Iterable[Frame],
    tracker: Tracker,
    crops: CropOptions,
    form: CropForm = _FORM,
    choice: FaceChoice | None = None,
) -> Iterator[CropPiece | Shot]:
    """Follow the faces and yield their crops: first the pieces of a shot, then the shot itself.

    A piece is yielded when it is full, and when its track ends. A track that does not count yields
    nothing; if that is known only after its first piece, its last piece has `kept` False.
    Only the frames that crops still need are held.

    Args:
        frames: In order, without gaps inside a shot, with their shots and detections.
        tracker: Follows the faces; used up afterwards.
        crops: How much of the image a crop shows.
        form: Size and colour of the crops, and the length of a piece.
        choice: If given, the last piece of a track has its `FaceCrops` too.
    """
    return _Cropper(tracker, crops, form, choice).run(frames)


def longest_delay(tracker: Tracker) -> int:
    """Return by how many frames a piece may be late, once it is full or its track has ended."""
    return tracker.delay + 2 * RADIUS


class _Cropper:
    """Runs a tracker over the frames and cuts the faces that it follows."""

    def __init__(
        self,
        tracker: Tracker,
        options: CropOptions,
        form: CropForm,
        choice: FaceChoice | None,
    ) -> None:
        self._tracker = tracker
        self._options = options
        self._form = form
        self._choice = choice
        self._frames = _Frames()
        self._cutters: dict[int, _Cutter] = {}  # of the open tracks, by id

    def run(self, frames: Iterable[Frame]) -> Iterator[CropPiece | Shot]:
        """Yield the pieces of each shot, then the shot."""
        shot: Shot | None = None
        number = 0  # of the shot
        for frame in frames:
            if shot is not None and frame.shot != number:
                yield from self._end(self._tracker.finish())
                self._frames = _Frames()  # the next shot may begin after a gap
                yield shot
                shot = None
            number = frame.shot
            shot = Shot(frame.index if shot is None else shot.start, frame.index + 1)
            yield from self._end(self._tracker.update(frame.index, frame.faces))
            yield from self._take(frame)
        if shot is not None:
            yield from self._end(self._tracker.finish())
            yield shot

    def _take(self, frame: Frame) -> Iterator[CropPiece]:
        """Cut all crops that the newest frame completes; drop the frames that are not needed."""
        self._frames.append(frame)
        for track in self._tracker.open:
            if track.id not in self._cutters:
                cutter = _Cutter(track, frame.shot, self._options, self._form, self._choice)
                self._cutters[track.id] = cutter
            yield from self._cutters[track.id].cut(self._frames)
        needed = (cutter.next for cutter in self._cutters.values())
        self._frames.forget(min(needed, default=frame.index + 1))

    def _end(self, ended: list[GrowingTrack]) -> Iterator[CropPiece]:
        for track in ended:
            yield from self._cutters.pop(track.id).finish(self._frames, self._tracker.keeps(track))


class _Frames:
    """The last few frames."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._stop = 0  # video frame after the newest

    def __getitem__(self, index: int) -> Frame:
        return self._frames[index - self._stop]

    def append(self, frame: Frame) -> None:
        """Take the next frame."""
        expected = self._stop if self._frames else frame.index
        assert frame.index == expected, f"frame {frame.index} follows {self._stop - 1}"
        self._frames.append(frame)
        self._stop = frame.index + 1

    def forget(self, before: int) -> None:
        """Drop the frames before video frame `before`."""
        while len(self._frames) > self._stop - before:
            self._frames.popleft()


class _Cutter:
    """Cuts the crops of one track as soon as their smoothed boxes are known."""

    def __init__(
        self,
        track: GrowingTrack,
        shot: int,
        options: CropOptions,
        form: CropForm,
        choice: FaceChoice | None,
    ) -> None:
        self.next = track.start  # video frame whose crop comes next
        self._track = track
        self._shot = shot
        self._scale = options.crop_scale
        self._piece_start = track.start
        self._thumbnail: NDArray[np.uint8] | None = None
        self._thumbnail_due = track.start  # video frame of the next thumbnail
        self._form = form
        self._chooser = FaceChooser(track.start, choice) if choice else None
        self._begin_piece()

    def _begin_piece(self) -> None:
        size = self._form.size
        shape = (size, size, 3) if self._form.colour else (size, size)
        self._boxes = np.empty((0, 4), np.float32)  # with room to grow
        self._crops = np.empty((0, *shape), np.uint8)

    def cut(self, frames: _Frames, ended: bool = False) -> Iterator[CropPiece]:
        """Cut the crops that are due: all but the last six as long as the track is open.

        A full piece is yielded only when a crop follows, so that the last piece is known.
        """
        track = self._track
        until = track.stop if ended else track.stop - RADIUS
        if until <= self.next:
            return
        start = max(self.next - RADIUS, track.start)
        boxes = np.array(track.boxes[start - track.stop :])
        places = self._smooth(boxes, start, until).tolist()
        for box, (x, y, s) in zip(boxes[self.next - start :], places, strict=False):
            if self.next == self._piece_start + self._form.piece:
                yield self._hand_on(last=False, kept=True)
            frame = frames[self.next]
            self._update_thumbnail(frame.grey, x, y, s)
            if self._chooser:
                self._chooser.add(frame, box)
            image = frame.colour if self._form.colour else frame.grey
            assert image is not None, "the frames were read without colour"
            self._store(box, self._crop(image, box, (x, y, s)))
        track.forget(self.next - RADIUS)

    def finish(self, frames: _Frames, kept: bool) -> Iterator[CropPiece]:
        """Cut the rest of a track that has ended and yield its last piece."""
        if kept or self._piece_start > self._track.start:
            yield from self.cut(frames, ended=True)
            yield self._hand_on(last=True, kept=kept)

    def _smooth(self, boxes: NDArray[np.float64], start: int, until: int) -> NDArray[np.float64]:
        """Return x, y, s of the frames from the next one to `until`; boxes begin at `start`."""
        if self._track.stop - self._track.start <= RADIUS:
            return np.stack(smooth_boxes(boxes), axis=1)
        places = np.zeros((until - self.next + 2 * RADIUS, 3))  # zeros beyond the track's ends
        first = start - (self.next - RADIUS)
        places[first : first + len(boxes)] = boxes_to_places(boxes)
        return median_of_runs(places)

    def _crop(
        self, image: NDArray[np.uint8], box: NDArray[np.float64], place: tuple[float, float, float]
    ) -> NDArray[np.uint8]:
        """Return the crop of a face: of its own box if tight, else at its smoothed place."""
        if self._form.tight:
            return crop_tight(image, box, self._form.size)
        return crop_face(image, place, self._scale, self._form.size)

    def _update_thumbnail(self, grey: NDArray[np.uint8], x: float, y: float, s: float) -> None:
        """Take a thumbnail at growing intervals; the last one is from the middle of the track."""
        if self.next < self._thumbnail_due:
            return
        self._thumbnail = make_thumbnail(grey, x, y, s)
        self._thumbnail_due = self._track.start + 2 * (self.next - self._track.start) + RADIUS

    def _store(self, box: NDArray[np.float64], crop: NDArray[np.uint8]) -> None:
        count = self.next - self._piece_start
        if count == len(self._crops):
            room = min(max(2 * count, _FIRST_ROOM), self._form.piece) - count
            more = np.empty((room, *self._crops.shape[1:]), np.uint8)
            self._boxes = np.concatenate([self._boxes, np.empty((room, 4), np.float32)])
            self._crops = np.concatenate([self._crops, more])
        self._boxes[count] = box
        self._crops[count] = crop
        self.next += 1

    def _hand_on(self, last: bool, kept: bool) -> CropPiece:
        count = self.next - self._piece_start
        assert self._thumbnail is not None
        piece = CropPiece(
            track=self._track.id,
            shot=self._shot,
            start=self._piece_start,
            track_start=self._track.start,
            boxes=self._boxes[:count],
            crops=self._crops[:count],
            thumbnail=self._thumbnail,
            last=last,
            kept=kept,
            faces=self._chooser.finish() if self._chooser and last and kept else None,
        )
        self._piece_start = self.next
        self._begin_piece()
        return piece
