"""The images of a video as they were filmed: in order, with the time each is shown."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av.error
from av import VideoFrame
from av.filter import Graph

from utils.media import ReadOptions, ReadReport, VideoInfo, decode_from

JUMP_S = 10  # a time stamp so far behind the video's end is a fault, not a still image


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """One image of the source, shown during [start_s, stop_s) of the span that is read."""

    start_s: Fraction
    stop_s: Fraction
    image: VideoFrame  # as decoded: progressive, not yet turned upright


def read_source_frames(
    video: VideoInfo, options: ReadOptions, report: ReadReport
) -> Iterator[SourceFrame]:
    """Yield every image shown within the span, in order; their times never overlap.

    Interlaced images are deinterlaced. Only two images are held beside those of the decoder.
    """
    start_s = options.from_s
    decoded = decode_from(video, False, start_s, options.threads, report)
    clocked = _deinterlaced(_clocked(decoded, video))
    held: tuple[Fraction, VideoFrame] | None = None
    for clock_s, image in clocked:
        time_s = clock_s - start_s
        if held is not None:
            yield from _within_span(held[0], time_s, held[1], options, report)
        held = (time_s, image)
        if options.stop_s is not None and time_s >= options.stop_s:
            return
    if held is not None:
        yield from _within_span(
            held[0], held[0] + _shown_s(held[1], video), held[1], options, report
        )


def _within_span(
    start_s: Fraction, stop_s: Fraction, image: VideoFrame, options: ReadOptions, report: ReadReport
) -> Iterator[SourceFrame]:
    """Yield the image if it is shown within the span, its times clipped to that."""
    start_s = max(start_s, Fraction(0))
    if options.stop_s is not None:
        stop_s = min(stop_s, options.stop_s)
    if stop_s > start_s:
        report.frames += 1
        report.last_s = float(stop_s)
        yield SourceFrame(start_s, stop_s, image)


def _shown_s(image: VideoFrame, video: VideoInfo) -> Fraction:
    """Return how long the last image is shown."""
    if image.duration and image.time_base:
        return Fraction(image.duration * image.time_base)
    return 1 / video.fps


def _clocked(
    frames: Iterator[tuple[Fraction | None, VideoFrame]], video: VideoInfo
) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Give each image a time later than the one before; what is missing follows the rate."""
    last_s: Fraction | None = None
    limit_s = video.duration_s + JUMP_S if video.duration_s else float("inf")
    for stamp_s, image in frames:
        time_s = stamp_s
        if time_s is None or time_s > limit_s or (last_s is not None and time_s <= last_s):
            time_s = video.video_start_s if last_s is None else last_s + 1 / video.fps
        last_s = time_s
        yield time_s, image


def _deinterlaced(
    frames: Iterator[tuple[Fraction, VideoFrame]],
) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Pass progressive images through; from the first interlaced one on, filter all (bwdif)."""
    graph: Graph | None = None
    kind = None
    times_s: deque[Fraction] = deque()  # of the images inside the filter
    for time_s, image in frames:
        image_kind = (image.width, image.height, image.format.name)
        if graph is not None and image_kind != kind:
            yield from _filtered(graph, None, times_s)
            graph = None
        if graph is None and image.interlaced_frame and min(image.width, image.height) > 3:
            graph, kind = _bwdif(image), image_kind
        if graph is None:
            yield time_s, image
            continue
        times_s.append(time_s)
        yield from _filtered(graph, image, times_s)
    if graph is not None:
        yield from _filtered(graph, None, times_s)


def _bwdif(image: VideoFrame) -> Graph:
    """Build a filter that deinterlaces images of one kind and keeps their number."""
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(
            width=image.width,
            height=image.height,
            format=image.format,
            time_base=image.time_base or Fraction(1, 1000),
        ),
        graph.add("bwdif", "mode=send_frame:deint=interlaced"),
        graph.add("buffersink"),
    ).configure()
    return graph


def _filtered(
    graph: Graph, image: VideoFrame | None, times_s: deque[Fraction]
) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Push one image, None at the end, and yield what comes out, one for one and in order."""
    graph.vpush(image)
    while times_s:
        try:
            filtered = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield times_s.popleft(), filtered
