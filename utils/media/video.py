"""Read the frames of a video at the working rate, with the arrays that the analysis needs."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
from av import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from utils.media.audio import KEEP_S, Sound, read_sound
from utils.media.container import ReadOptions, ReadReport, VideoInfo
from utils.media.source_frames import SourceFrame, read_source_frames
from utils.media.tone_mapping import ToneMapper
from utils.processor import num_cores
from utils.structures import FPS, SAMPLES_PER_FRAME, Frame, ScoredTrack

PLANAR_8_BIT = {  # formats whose first plane is 8-bit luma
    *("yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "nv12", "nv21", "nv16"),
    *("yuvj420p", "yuvj422p", "yuvj444p", "yuvj440p", "yuvj411p", "yuva420p", "yuva444p"),
}
AHEAD_FRAMES, AHEAD_BYTES = 32, 16_000_000  # held between two stages, at most
FULL_RANGE_LUMA = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)


class VideoSpan:
    """A part of a video; its frames and samples are numbered from the start of the video."""

    def __init__(self, video: VideoInfo, options: ReadOptions) -> None:
        self.video = video
        self.first_frame = round(options.start_s * FPS)
        self.options = replace(options, start_s=self.first_frame / FPS)

    def read_frames(
        self, image_size: tuple[int, int] | None, report: ReadReport, colour: bool = False
    ) -> Generator[Frame, None, None]:
        """Yield the frames of the span; see the function `read_frames`."""
        for frame in read_frames(self.video, image_size, self.options, report, colour):
            yield replace(frame, index=frame.index + self.first_frame)

    def open_sound(self, keep_s: float = KEEP_S) -> Sound:
        """Return the audio of the span; sample 640 * i is the first of frame i."""
        return Sound(self.video, self.options, keep_s, self.first_frame * SAMPLES_PER_FRAME)

    def read_whole_sound(self) -> Iterator[NDArray[np.int16]]:
        """Yield all samples of the video, also those outside the span."""
        return read_sound(self.video, replace(self.options, start_s=0.0, duration_s=0.0))

    def from_start(self, tracks: Iterable[ScoredTrack]) -> list[ScoredTrack]:
        """Return the tracks with frames that count from the start of the span."""
        return [replace(track, start=track.start - self.first_frame) for track in tracks]


def read_frames(
    video: VideoInfo,
    image_size: tuple[int, int] | None,
    options: ReadOptions,
    report: ReadReport | None = None,
    colour: bool = False,
    every: int = 1,
) -> Iterator[Frame]:
    """Yield the frames of a video at 25 frames/s, mapped by time stamps.

    Frame `index` is displayed at index / 25 s from the start of the span. The clock's 0 is the
    first image or sample of the file: if the audio starts first, the first index is above 0.
    Later, indices are missing only in gaps of `read_source_frames`. An image covers the frames
    from the one nearest its time stamp up to the one nearest the next image's, as with FFmpeg's
    fps filter: sources at 25 frames/s are unchanged, faster ones lose images, slower ones repeat
    them and share the arrays.

    Args:
        video: Result of `probe`.
        image_size: (width, height), upright, of `Frame.image`; None for the video's own.
        options: Which part is read.
        report: Filled with what was decoded and what was lost.
        colour: Also give `Frame.colour`.
        every: Yield only the frames whose index is a multiple; the others are not converted.
    """
    reader = _ArrayReader(video, image_size or (video.width, video.height), colour)
    source = read_source_frames(video, options, report or ReadReport())
    next_tick: int | None = None
    held: SourceFrame | None = None
    for held in source:
        start, stop = nearest_tick(held.start_s), nearest_tick(held.stop_s)
        if indices := range(start + -start % every, stop, every):
            frame = reader.frame(held.image)
            for index in indices:
                yield replace(frame, index=index)
        next_tick = stop if stop > start else next_tick
    if next_tick is None and held is not None:  # shorter than half a tick: still one frame
        yield replace(reader.frame(held.image), index=nearest_tick(held.start_s))


def frames_ahead(video: VideoInfo, image_size: tuple[int, int] | None, colour: bool = False) -> int:
    """Return by how many frames a stage may be ahead of the next one; 0 if there is one core.

    Args:
        video: Result of `probe`.
        image_size: (width, height) of `Frame.image`; None for the video's own.
        colour: Whether frames also have `Frame.colour`.
    """
    if num_cores() == 1:
        return 0
    pixels = video.width * video.height
    width, height = image_size or (video.width, video.height)
    num_bytes = pixels * (4 if colour else 1) + 3 * width * height
    return min(AHEAD_FRAMES, max(1, AHEAD_BYTES // num_bytes))


def nearest_tick(time_s: Fraction) -> int:
    """Return the frame index nearest to a time, halves upward."""
    return int(time_s * FPS + Fraction(1, 2))


class _ArrayReader:
    """Turns decoded images into upright arrays; keeps the scalers between images."""

    def __init__(self, video: VideoInfo, image_size: tuple[int, int], colour: bool) -> None:
        self.colour = colour
        self.orientation = video.orientation
        self.size = video.orientation.size(video.width, video.height)
        self.image_size = video.orientation.size(*image_size)
        shrinks = self.image_size[0] < self.size[0] or self.image_size[1] < self.size[1]
        self.filter = Interpolation.AREA if shrinks else Interpolation.BILINEAR
        self.tone_mapper = ToneMapper("relative_colorimetric")
        self.grey_scaler = VideoReformatter()
        self.image_scaler = VideoReformatter()
        self.colour_scaler = VideoReformatter()

    def frame(self, decoded: VideoFrame) -> Frame:
        """Return the arrays of a decoded image, upright, with index 0."""
        decoded = self.tone_mapper.sdr(decoded)
        image = self._rgb(self.image_scaler, decoded, self.image_size)
        colour = None
        if self.colour:
            same = self.image_size == self.size
            colour = image if same else self._rgb(self.colour_scaler, decoded, self.size)
        return Frame(0, self._upright(self._grey(decoded)), image, colour=colour)

    def _rgb(
        self, scaler: VideoReformatter, image: VideoFrame, size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        rgb = scaler.reformat(image, *size, "rgb24", interpolation=self.filter, threads=1)
        return self._upright(np.asarray(rgb.to_ndarray(), np.uint8))

    def _grey(self, image: VideoFrame) -> NDArray[np.uint8]:
        """Return the luma in full range, as it is stored.

        Kept: the published systems read frames through JPEG files, which keep the luma of the
        source whatever its colour matrix is.
        """
        if (image.width, image.height) == self.size and image.format.name in PLANAR_8_BIT:
            plane = image.planes[0]
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            luma = rows[: image.height, : image.width]
            full = image.format.name.startswith("yuvj") or image.color_range == ColorRange.JPEG
            return luma.copy() if full else np.asarray(cv2.LUT(luma, FULL_RANGE_LUMA), np.uint8)
        grey = self.grey_scaler.reformat(image, *self.size, "gray8", threads=1)
        return np.asarray(grey.to_ndarray(), np.uint8)

    def _upright(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a stored image rotated for display; contiguous."""
        return np.ascontiguousarray(self.orientation.upright(array))
