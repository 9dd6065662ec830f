"""Decode the images or the audio of a video from any time on, with times on its clock."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain

import av.error
from av import Packet
from av.container import InputContainer

from utils.media.container import (
    MediaFrame,
    MediaStream,
    ReadReport,
    VideoInfo,
    frame_time,
    keep_only,
    open_media,
    sound_stream,
    video_stream,
)
from utils.media.packet_times import close_joins

SEEK_MARGINS_S = (0, 10)  # how far before the target time to seek; then from the beginning
LEAP_S = Fraction(1, 2)  # a time stamp this far ahead is a fault if the next ones are not
SPIKE_FRAMES = 4  # at most so many frames in a row have faulty time stamps
LEAD_S = Fraction(1, 2)  # decoded before the target time if seeking is not possible

TimedFrame = tuple[Fraction | None, MediaFrame]  # on the video's clock; None if unknown


def decode_from(
    video: VideoInfo, sound: bool, start_s: Fraction, threads: int, report: ReadReport
) -> Iterator[TimedFrame]:
    """Yield (time on the video's clock, frame) of the video's images or audio, from `start_s`.

    The first frame begins at or before `start_s` unless the stream begins later. Decoding starts
    at the key frame before `start_s`.
    """
    return without_spikes(_decode_from(video, sound, start_s, threads, report))


def _decode_from(
    video: VideoInfo, sound: bool, start_s: Fraction, threads: int, report: ReadReport
) -> Iterator[TimedFrame]:
    begins_s = video.sound_start_s if sound else video.video_start_s
    margins = (None,) if video.joins else (*SEEK_MARGINS_S, None)  # no seek crosses a join
    for margin_s in margins:
        target_s = start_s - margin_s if margin_s is not None else begins_s
        with open_media(video.path) as container:
            stream = (
                sound_stream(container, video.sound_index)
                if sound
                else video_stream(container, video.path)
            )
            assert stream is not None  # `probe` decoded some of it
            keep_only(container, stream)
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = threads
            if target_s > begins_s and not _seek(container, stream, target_s + video.start_s):
                continue
            packets = read_packets(container, stream, report)
            if video.joins:
                packets = close_joins(packets, stream, video.joins)
                packets = from_key_frame(packets, start_s + video.start_s - LEAD_S)
            early = target_s <= begins_s
            for frame in _decode(packets, stream, report):
                time_s = frame_time(frame, stream)
                time_s = None if time_s is None else time_s - video.start_s
                if not early and (time_s is None or time_s > start_s):
                    break  # the seek went too far
                early = True
                yield time_s, frame
            else:
                if early:
                    return


def read_packets(
    container: InputContainer, stream: MediaStream, report: ReadReport
) -> Iterator[Packet]:
    """Yield the packets of one stream up to the end of the file or the first error (counted)."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            report.add_error(error)
            return
        if packet is None:
            return
        yield packet


def from_key_frame(packets: Iterable[Packet], time_s: Fraction) -> Iterator[Packet]:
    """Yield the packets from the last key frame displayed at or before a time."""
    held: deque[Packet] = deque()
    packets = iter(packets)
    for packet in packets:
        stamp = packet.pts if packet.is_keyframe else packet.dts
        late = stamp is not None and stamp * packet.time_base > time_s
        if packet.is_keyframe and not late:
            held.clear()
        held.append(packet)
        if late:
            break
    while held:
        yield held.popleft()
    yield from packets


def _decode(
    packets: Iterable[Packet], stream: MediaStream, report: ReadReport
) -> Iterator[MediaFrame]:
    """Yield the decoded frames of one stream; errors are counted and skipped."""
    for packet in chain(packets, (None,)):  # None flushes the decoder
        try:
            yield from stream.decode(packet)
        except av.error.EOFError:
            return
        except av.error.FFmpegError as error:
            report.add_error(error)


def without_spikes(frames: Iterable[TimedFrame]) -> Iterator[TimedFrame]:
    """Yield frames in order; a few frames whose time leaps ahead and returns get no time."""
    held: list[TimedFrame] = []  # since the leap
    last_s: Fraction | None = None
    for timed in frames:
        time_s, _ = timed
        leaps = last_s is not None and time_s is not None and time_s - last_s > LEAP_S
        if held and not leaps and time_s is not None:  # the leap is over
            yield from ((None, frame) for _, frame in held)
            held = []
        if held or leaps:
            held.append(timed)
        if len(held) > SPIKE_FRAMES:
            last_s = max(time_s for time_s, _ in held if time_s is not None)
            yield from held
            held = []
        elif not held:
            last_s = last_s if time_s is None else time_s
            yield timed
    yield from held


def _seek(container: InputContainer, stream: MediaStream, time_s: Fraction) -> bool:
    """Seek to the last key frame before a time; return False if the file cannot seek."""
    with suppress(av.error.FFmpegError):
        container.seek(int(time_s / stream.time_base), stream=stream)
        return True
    return False
