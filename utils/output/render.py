"""Write the marked video: the source and its audio, with a box and a tab for every face."""

import errno
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import av
import av.error
import numpy as np
from av import VideoFrame, VideoStream
from av.container import OutputContainer
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from utils.boxes import smooth_boxes
from utils.errors import ResourceError, UserError
from utils.files import replacing
from utils.media.container import ReadOptions, ReadReport, VideoInfo
from utils.media.source_frames import SourceFrame, read_source_frames
from utils.media.tone_mapping import ToneMapper
from utils.media.video import frames_ahead
from utils.output.encoders import BITS_PER_PIXEL, OPTIONS, X264
from utils.output.overlay import Mark, Overlay, drawable
from utils.output.render_sound import sound_packets
from utils.overlap import ahead
from utils.processor import encoder_threads
from utils.scores import smooth_scores
from utils.structures import FPS, ScoredTrack

MP4_OPTIONS = {
    "movflags": "+faststart",  # web players start before the download is complete
    "movie_timescale": "90000",  # a coarser scale shifts streams against each other by up to 1 ms
}
NO_LABELS: Mapping[int, str] = MappingProxyType({})
IMAGES_AHEAD = 3  # painted images that wait for the encoder, which is slower, at most
KEY_FRAMES_S = 4  # between key frames; a shorter distance makes seeking faster


def render_video(
    video: VideoInfo,
    tracks: Sequence[ScoredTrack],
    path: Path,
    read_options: ReadOptions,
    progress: Callable[[int], None] | None = None,
    labels: Mapping[int, str] = NO_LABELS,
) -> None:
    """Write an MP4 of the span with every face marked; see `Rendering`."""
    Rendering(video, read_options, labels).write(tracks, path, progress)


@dataclass(frozen=True)
class Rendering:
    """How the marked video of a span is made.

    Size, time stamps and audio are those of the source; the image is upright and progressive, and
    HDR is converted to SDR.
    """

    video: VideoInfo
    read_options: ReadOptions  # the span of the tracks
    labels: Mapping[int, str] = field(default_factory=dict)  # of tracks, instead of their numbers
    encoder: str = X264

    def write(
        self,
        tracks: Sequence[ScoredTrack],
        path: Path,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Write an MP4 with every face marked, green while it speaks and red otherwise.

        Args:
            tracks: Faces and scores, in frames at 25/s from the start of the span.
            path: The MP4 to write.
            progress: Called with the number of source images done since the last call.
        """
        with writing_mp4(path) as container:
            marks = _MarkFinder(tracks, self.video.fps > FPS, self.labels)
            _write(container, self, marks, progress)


@contextmanager
def writing_mp4(path: Path) -> Iterator[OutputContainer]:
    """Yield an MP4 to encode into; it gets its final name once complete.

    Raises:
        ResourceError: The file cannot be written, for example because the disk is full.
        UserError: FFmpeg cannot encode the content into an MP4.
    """
    try:
        with (
            replacing(path) as temporary,
            av.open(str(temporary), "w", format="mp4", options=MP4_OPTIONS) as container,
        ):
            yield container
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):
            room = "free some space or " if error.errno == errno.ENOSPC else ""
            raise ResourceError(
                f"cannot write {path}: {error.strerror}; {room}choose another folder"
            ) from error
        raise UserError(
            f"cannot encode {path}: {error.strerror}; convert the source to H.264 and AAC first"
        ) from error


def _write(
    container: OutputContainer,
    rendering: Rendering,
    marks: "_MarkFinder",
    progress: Callable[[int], None] | None,
) -> None:
    """Encode all images, painted in a thread that runs ahead, and interleave the audio."""
    video, read_options = rendering.video, rendering.read_options
    frames = read_source_frames(video, read_options, ReadReport())
    first = next(frames, None)
    if first is None:
        raise UserError(
            f"{video.path} has no image in the requested span; check --start and --duration"
        )
    tone_mapper = ToneMapper("perceptual")
    image = tone_mapper.sdr(first.image)
    stream = _add_video(container, video, image, rendering.encoder)
    sound = sound_packets(container, video, read_options)
    waiting = next(sound, None)
    painter = _Painter(video, marks, image, stream)
    painted = painter.run(chain((first,), frames), tone_mapper)
    with closing(ahead(painted, min(IMAGES_AHEAD, frames_ahead(video, None)))) as images:
        for marked, stop_s in images:
            container.mux(stream.encode(marked))
            while waiting is not None and waiting[0] <= stop_s:
                container.mux(waiting[1])
                waiting = next(sound, None)
            if progress is not None:
                progress(1)
    container.mux(stream.encode(None))
    while waiting is not None:
        container.mux(waiting[1])
        waiting = next(sound, None)


def _add_video(
    container: OutputContainer, video: VideoInfo, image: VideoFrame, encoder: str
) -> VideoStream:
    """Add an H.264 stream with the source's size and time base and the image's colour space."""
    even = video.width % 2 == 0 and video.height % 2 == 0
    stream = container.add_stream(encoder, rate=video.fps, options=dict(OPTIONS[encoder]))
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = video.width, video.height
    stream.pix_fmt = "yuv420p" if even else "yuv444p"  # only 4:4:4 can have odd sizes
    context = stream.codec_context
    if not OPTIONS[encoder]:  # no constant quality
        context.bit_rate = round(BITS_PER_PIXEL * video.width * video.height * video.fps)
    clock = image.time_base.denominator if image.time_base else 90000
    clock = 90000 if clock > 1000000 else clock * -(-10000 // clock)
    context.time_base = Fraction(1, clock)  # at least as fine as the source's
    context.sample_aspect_ratio = video.pixel_aspect
    context.gop_size = max(1, round(KEY_FRAMES_S * video.fps))
    context.thread_count = encoder_threads()
    context.color_range = image.color_range
    if not image.format.is_rgb:
        context.colorspace = image.colorspace
    context.color_primaries = image.color_primaries
    context.color_trc = image.color_trc
    return stream


class _Painter:
    """Converts decoded images to marked images for encoding."""

    def __init__(
        self,
        video: VideoInfo,
        marks: "_MarkFinder",
        image: VideoFrame,
        stream: VideoStream,
    ) -> None:
        size = (video.width, video.height)
        self.orientation = video.orientation
        self.size = video.orientation.size(*size)  # as stored
        self.stream = stream
        step = 2 if stream.pix_fmt == "yuv420p" else 1
        self.overlay = Overlay(size, step, image.colorspace, image.color_range == ColorRange.JPEG)
        self.marks = marks

    def run(
        self, frames: Iterable[SourceFrame], tone_mapper: ToneMapper
    ) -> Generator[tuple[VideoFrame, Fraction], None, None]:
        """Yield a marked image of each frame, and when its display ends."""
        for frame in frames:
            yield self.painted(frame, tone_mapper.sdr(frame.image)), frame.stop_s

    def painted(self, frame: SourceFrame, sdr: VideoFrame) -> VideoFrame:
        """Return a marked, upright copy of the SDR image of a frame, with its time stamp."""
        stream = self.stream
        source = sdr.reformat(*self.size, stream.pix_fmt)
        image = VideoFrame(stream.width, stream.height, stream.pix_fmt)
        planes = []
        for index, plane in enumerate(image.planes):
            pixels = _pixels(plane)
            pixels[:] = self.orientation.upright(_pixels(source.planes[index]))
            planes.append(pixels)
        self.overlay.draw(planes, self.marks.at(frame.start_s))
        image.time_base = stream.codec_context.time_base
        image.pts = round(frame.start_s / image.time_base)
        image.duration = round((frame.stop_s - frame.start_s) / image.time_base)
        return image


def _pixels(plane: av.video.plane.VideoPlane) -> NDArray[np.uint8]:
    """Return a view of a plane's pixels without row padding."""
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


class _MarkFinder:
    """Finds the marks of a time; times must be requested in order."""

    def __init__(
        self, tracks: Sequence[ScoredTrack], interpolate: bool, labels: Mapping[int, str]
    ) -> None:
        self.labels = {number: drawable(label) for number, label in labels.items()}
        self.interpolate = interpolate
        self.waiting = sorted(tracks, key=lambda track: -track.start)
        self.current: list[tuple[ScoredTrack, NDArray[np.float32], NDArray[np.float32]]] = []

    def at(self, time_s: Fraction) -> list[Mark]:
        """Return the marks shown at a time."""
        place = float(time_s * FPS)
        index = int(place + 0.5)
        while self.waiting and self.waiting[-1].start <= index:
            track = self.waiting.pop()
            self.current.append((track, smooth_boxes(track.boxes), smooth_scores(track.scores)))
        self.current = [entry for entry in self.current if entry[0].stop > index]
        marks = []
        for track, boxes, scores in self.current:
            score = float(scores[index - track.start])
            row = place - track.start if self.interpolate else index - track.start
            low = min(max(int(row), 0), len(boxes) - 1)
            high = min(low + 1, len(boxes) - 1)
            share = min(max(row - low, 0.0), 1.0)
            label = self.labels.get(track.id, str(track.id))
            x1, y1, x2, y2 = ((1 - share) * boxes[low] + share * boxes[high]).tolist()
            marks.append(Mark((x1, y1, x2, y2), f"{label}  {score:+.1f}", score >= 0))
        return marks
