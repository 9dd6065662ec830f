"""Read the images of a video at its own rate, in order, with their display times."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av.error
from av import VideoFrame
from av.filter import Graph

from utils.errors import UserError
from utils.media.container import ReadOptions, ReadReport, VideoInfo
from utils.media.decoding import TimedFrame, decode_from
from utils.media.packet_times import Join

GAP_S = 5  # longest display time of an image; the rest is a gap
LOST_S = 0.5  # a warning is given if more is missing at the end of a video
MAX_LISTED = 5  # gaps and joins that a warning lists; more are only counted
OVERLAP_S = Fraction(1, 2)  # images up to this far behind their predecessors are repetitions


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """One image of the source, displayed during [start_s, stop_s) of the span."""

    start_s: Fraction
    stop_s: Fraction
    image: VideoFrame  # as decoded: progressive, not yet turned upright


def read_source_frames(
    video: VideoInfo, options: ReadOptions, report: ReadReport
) -> Iterator[SourceFrame]:
    """Yield every image displayed within the span, in order; their times never overlap.

    Interlaced images are deinterlaced. Only a few images are held besides those of the decoder.
    If the next image comes more than `GAP_S` later, an image is displayed as long as the one
    before it; the rest is a gap without images.
    """
    start_s = options.from_s
    decoded = decode_from(video, False, start_s, options.threads, report)
    clocked = _deinterlaced(_clocked(decoded, video))
    held: tuple[Fraction, VideoFrame] | None = None
    usual_s = 1 / max(video.fps, Fraction(1))  # display time of an image before a gap
    for clock_s, image in clocked:
        time_s = clock_s - start_s
        if held is not None:
            stop_s = time_s
            if time_s - held[0] > GAP_S:
                stop_s = held[0] + usual_s
                _note_gap(stop_s, time_s, options, report)
            usual_s = min(stop_s - held[0], Fraction(1))
            yield from _within_span(held[0], stop_s, held[1], options, report)
        held = (time_s, image)
        if options.stop_s is not None and time_s >= options.stop_s:
            return
    if held is not None:
        shown_s = _shown_s(held[1], video)
        stop_s = held[0] + (shown_s if shown_s <= GAP_S else usual_s)
        yield from _within_span(held[0], stop_s, held[1], options, report)


def check_span(video: VideoInfo, options: ReadOptions) -> None:
    """Raise UserError if the span has no image."""
    if next(read_source_frames(video, options, ReadReport()), None) is None:
        raise no_image(video, options)


def no_image(video: VideoInfo, options: ReadOptions) -> UserError:
    """Return the error for a span without images."""
    span = f"from {options.start_s:g} s on"
    if options.duration_s:
        span = f"between {options.start_s:g} and {options.start_s + options.duration_s:g} s"
    ends = f"it ends at {video.duration_s:.1f} s; " if video.duration_s else ""
    return UserError(f"{video.path} has no image {span}; {ends}check --start and --duration")


def read_warnings(
    video: VideoInfo, options: ReadOptions, images: ReadReport, sound: ReadReport
) -> list[str]:
    """Return warnings about a span that was read, one line each.

    Args:
        video: Result of `probe`.
        options: Which part was read.
        images: Report on reading the images.
        sound: Report on reading the audio.
    """
    joins = [join for join in video.joins if _is_inside(join, video, options)]
    found = [_join_warning(join, video) for join in joins[:MAX_LISTED]]
    if len(joins) > MAX_LISTED:
        found.append(f"the time stamps jump at {len(joins) - MAX_LISTED} more positions")
    if images.gaps:
        start_s = options.start_s
        limits = [f"{a + start_s:.1f} and {b + start_s:.1f} s" for a, b in images.gaps[:MAX_LISTED]]
        more = len(images.gaps) - len(limits)
        named = ", ".join(limits) + (f", and in {more} more gaps" if more else "")
        found.append(f"the video has no images between {named}: nothing was analysed there")
    lost_s = images.lost_s(video, options)
    if lost_s > LOST_S:
        found.append(
            f"the video ends at {images.last_s + options.start_s:.1f} s "
            f"of {video.duration_s:.1f} s: {lost_s:.1f} s are missing"
        )
    if images.errors + sound.errors:
        found.append(f"{images.errors + sound.errors} damaged pieces of the file were skipped")
    return found


def _is_inside(join: Join, video: VideoInfo, options: ReadOptions) -> bool:
    time_s = join.time_s - video.start_s - options.from_s
    return time_s > 0 and (options.stop_s is None or time_s < options.stop_s)


def _join_warning(join: Join, video: VideoInfo) -> str:
    way = "back" if join.jump_s < 0 else "ahead"
    return (
        f"the time stamps jump {way} by {float(abs(join.jump_s)):.1f} s at "
        f"{float(join.time_s - video.start_s):.1f} s: images and audio continue without a gap"
    )


def _note_gap(
    start_s: Fraction, stop_s: Fraction, options: ReadOptions, report: ReadReport
) -> None:
    """Record the part of a gap that lies within the span."""
    start_s = max(start_s, Fraction(0))
    if options.stop_s is not None:
        stop_s = min(stop_s, options.stop_s)
    if stop_s > start_s:
        report.gaps.append((float(start_s), float(stop_s)))


def _within_span(
    start_s: Fraction, stop_s: Fraction, image: VideoFrame, options: ReadOptions, report: ReadReport
) -> Iterator[SourceFrame]:
    """Yield the image if it is displayed within the span, its times clipped to the span."""
    start_s = max(start_s, Fraction(0))
    if options.stop_s is not None:
        stop_s = min(stop_s, options.stop_s)
    if stop_s > start_s:
        report.frames += 1
        report.last_s = float(stop_s)
        yield SourceFrame(start_s, stop_s, image)


def _shown_s(image: VideoFrame, video: VideoInfo) -> Fraction:
    """Return the display time of the last image."""
    if image.duration and image.time_base:
        return Fraction(image.duration * image.time_base)
    return 1 / video.fps


def _clocked(
    frames: Iterator[TimedFrame], video: VideoInfo
) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Yield images with increasing times; missing times follow the frame rate.

    Images that overlap earlier ones are skipped, like overlapping audio, so that both stay in sync.
    """
    last_s: Fraction | None = None
    previous_s: Fraction | None = None  # time stamp of the image before
    for stamp_s, image in frames:
        assert isinstance(image, VideoFrame)
        time_s = stamp_s
        if last_s is not None and time_s is not None and time_s <= last_s:
            if time_s != previous_s and last_s - time_s <= OVERLAP_S:
                previous_s = stamp_s
                continue
            time_s = None
        if time_s is None:
            time_s = video.video_start_s if last_s is None else last_s + 1 / video.fps
        last_s, previous_s = time_s, stamp_s
        yield time_s, image


def _deinterlaced(
    frames: Iterator[tuple[Fraction, VideoFrame]],
) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Yield progressive images unchanged; from the first interlaced one on, filter all (bwdif)."""
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
    """Push one image (None at the end) and yield the filtered images in order."""
    graph.vpush(image)
    while times_s:
        try:
            filtered = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield times_s.popleft(), filtered
