"""Audio of the marked video: copied if an MP4 can hold it, else re-encoded."""

import io
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING

import av
import av.error
import numpy as np
from av import AudioFrame, AudioStream, Packet
from av.container import InputContainer, OutputContainer
from av.stream import Discard
from numpy.typing import NDArray

from utils.media.audio_streams.choice import choose_sound
from utils.media.audio_streams.pieces import SoundFormat, read_pieces
from utils.media.container import ReadOptions, ReadReport, VideoInfo, open_media, sound_stream
from utils.media.packet_times import close_joins

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = logging.getLogger(__name__)

COPIED_CODECS = {"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"}  # playable in MP4
AAC_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000}
JUMP_S = 1  # a larger deviation from the expected time stamp is a jump
SILENCE_S = 60  # silence encoded at a time in a gap


class _JumpError(ValueError):
    """Time stamps jump, so copied packets would be out of sync in many players."""


class _Nowhere(io.RawIOBase):
    """A file object that discards what is written."""

    def __init__(self) -> None:
        self._place = self._size = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, content: "Buffer") -> int:
        size = memoryview(content).nbytes
        self._place += size
        self._size = max(self._size, self._place)
        return size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place}.get(whence, self._size)
        return self._place

    def tell(self) -> int:
        return self._place


def sound_packets(
    container: OutputContainer, video: VideoInfo, options: ReadOptions
) -> Iterator[tuple[Fraction, Packet]]:
    """Add the audio stream at once; return an iterator of (start in s, packet)."""
    indices = [track.index for track in choose_sound(video, options.audio_track).sources]
    if not indices:
        return iter(())
    with open_media(video.path) as source:
        streams = [stream for stream in source.streams.audio if stream.index in indices]
        stream = streams[0]
        if len(streams) == 1 and stream.codec_context.codec.canonical_name in COPIED_CODECS:
            track = replace(video, sound_index=stream.index)
            problem = _copy_problem(stream, track, options)
            if problem is None:
                return _copied(container.add_stream_from_template(stream), track, options)
            logger.info("%s: its audio is re-encoded (%s)", video.path.name, problem)
        rates = {candidate.rate for candidate in streams}
        rate = stream.rate if len(rates) == 1 and stream.rate in AAC_RATES else 48000
        num_channels = max(candidate.channels for candidate in streams)
        target = SoundFormat(rate, min(num_channels, 2))
    encoder = container.add_stream("aac", rate=target.rate)
    encoder.layout = target.layout
    return _encoded(encoder, target, video, options)


def _copy_problem(stream: AudioStream, video: VideoInfo, options: ReadOptions) -> str | None:
    """Return why an MP4 cannot hold the packets, or None.

    All packets are muxed into a discarded file: the muxer may reject any of them, even the last.
    """
    try:
        with av.open(_Nowhere(), "w", format="mp4") as trial:
            for _, packet in _copied(trial.add_stream_from_template(stream), video, options):
                trial.mux(packet)
    except av.error.FFmpegError as error:
        return str(error.strerror)
    except _JumpError as error:
        return str(error)
    return None


def _copied(
    target: AudioStream, video: VideoInfo, options: ReadOptions
) -> Iterator[tuple[Fraction, Packet]]:
    """Yield the packets of the span, moved to its clock, with increasing times.

    Packets that overlap the audio before them are skipped: joined recordings overlap by the few
    packets that a decoder needs at its start.
    """
    reached_s: Fraction | None = None
    for stamp_s, packet in _span_packets(video, options):
        length_s = (packet.duration or 0) * packet.time_base
        time_s = stamp_s if stamp_s is not None else reached_s
        if time_s is None:
            continue
        if reached_s is not None:
            if abs(time_s - reached_s) > JUMP_S:
                raise _JumpError(f"its time stamps jump at {float(time_s):.1f} s")
            if time_s + length_s / 2 < reached_s:
                continue
        stamp = round(time_s / packet.time_base)
        packet.pts = packet.dts = stamp
        packet.stream = target
        reached_s = time_s + length_s
        yield time_s, packet


def _span_packets(
    video: VideoInfo, options: ReadOptions
) -> Iterator[tuple[Fraction | None, Packet]]:
    """Yield (start in s or None, packet) of the audio within the span."""
    zero_s = video.start_s + options.from_s
    with open_media(video.path) as source:
        stream = sound_stream(source, video.sound_index)
        assert stream is not None
        for other in source.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        if options.start_s > 0 and not video.joins:  # no seek crosses a join
            with suppress(av.error.FFmpegError):  # without seeking, it is read from the beginning
                source.seek(int(zero_s / stream.time_base), stream=stream)
        for packet in close_joins(_packets(source, stream), stream, video.joins):
            if not packet.size:
                continue
            if packet.pts is None:
                yield None, packet
                continue
            time_s = packet.pts * packet.time_base - zero_s
            if options.stop_s is not None and time_s >= options.stop_s:
                return
            if options.start_s == 0 or time_s + (packet.duration or 0) * packet.time_base > 0:
                yield time_s, packet


def _packets(source: InputContainer, stream: AudioStream) -> Iterator[Packet]:
    """Yield the packets of a stream up to the end of the file or the first damaged packet."""
    with suppress(av.error.FFmpegError):
        yield from source.demux(stream)


def _encoded(
    encoder: AudioStream, target: SoundFormat, video: VideoInfo, options: ReadOptions
) -> Iterator[tuple[Fraction, Packet]]:
    """Yield the re-encoded audio of the span, with silence in its gaps."""
    reached = 0
    for position, samples in read_pieces(video, options, target, ReadReport()):
        for part in chain(_silence(position - reached, target), (samples,)):
            frame = AudioFrame.from_ndarray(part.reshape(1, -1), "s16", target.layout)
            frame.sample_rate = target.rate
            frame.time_base = Fraction(1, target.rate)
            frame.pts = reached
            reached += len(part)
            for packet in encoder.encode(frame):
                yield Fraction(reached, target.rate), packet
    for packet in encoder.encode(None):
        yield Fraction(reached, target.rate), packet


def _silence(length: int, target: SoundFormat) -> Iterator[NDArray[np.int16]]:
    """Yield `length` samples of silence, at most a minute at a time."""
    minute = SILENCE_S * target.rate
    for start in range(0, length, minute):
        yield np.zeros((min(minute, length - start), target.num_channels), np.int16)
