"""Measure the audio tracks of a file on a fixed sample of it, two minutes in all.

The sample depends only on the file, so decisions based on it do not depend on the part that is
read.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av.error
import numpy as np
from av import AudioFrame, AudioStream, Packet
from av.audio.resampler import AudioResampler
from av.container import InputContainer
from av.stream import Discard
from numpy.typing import NDArray

from utils.media.audio_streams.channel_mix import (
    ChannelMix,
    candidates,
    channels_of,
    choose_mix,
    measure_powers,
    mono_frame,
    usual_weights,
)
from utils.media.audio_streams.voicing import FLOOR_DB, HOP, RATE, PitchSteps, measure_pitch
from utils.media.container import frame_time, open_media

PIECE_S = 4  # a piece
NUM_PIECES = 30
SLACK_S = 2  # how far beyond a piece to wait for packets of another track
PREROLL_S = Fraction(1, 10)  # decoded before a piece; some decoders start with a faint frame
STEPS_PER_S = RATE // HOP
MIN_COMMON = 100  # steps that two tracks must share to be compared
SAME = 0.8  # correlation of the levels from which two tracks have the same content


@dataclass
class TrackSample:
    """Measurements of one track."""

    first_s: Fraction | None = None  # time of its first frame on the container's clock
    heard: bool = False  # whether anything could be decoded
    mixes: list[ChannelMix] = field(default_factory=list)  # candidates; empty for mono
    powers: list[NDArray[np.float32]] = field(default_factory=list)  # (W, M) of each chunk
    steps: list[tuple[int, PitchSteps]] = field(default_factory=list)  # with number of the first

    @property
    def mix(self) -> ChannelMix | None:
        """How its channels are mixed; None for the usual mix."""
        return choose_mix(np.concatenate(self.powers), self.mixes) if self.powers else None

    @property
    def pitch(self) -> PitchSteps:
        """All steps, one chunk after the other."""
        parts = [part for _, part in self.steps]
        return PitchSteps(
            np.concatenate([part.levels for part in parts] or [np.zeros(0, np.float32)]),
            np.concatenate([part.moving for part in parts] or [np.zeros(0, np.bool_)]),
        )

    def same_as(self, other: "TrackSample") -> bool:
        """Return whether another track has the same content, perhaps in another format."""
        size = max(
            (first + len(part.levels) for first, part in self.steps + other.steps), default=0
        )
        own, others = self._levels(size), other._levels(size)
        common = np.isfinite(own) & np.isfinite(others)
        common[common] = np.maximum(own[common], others[common]) > FLOOR_DB
        if common.sum() < MIN_COMMON:
            return False
        with np.errstate(invalid="ignore"):  # a constant level correlates with nothing
            return bool(np.corrcoef(own[common], others[common])[0, 1] >= SAME)

    def _levels(self, size: int) -> NDArray[np.float32]:
        """Return the levels of the first `size` steps of the clock, NaN outside the sample."""
        levels = np.full(size, np.nan, np.float32)
        for first, part in self.steps:
            start = max(0, first)
            levels[start : first + len(part.levels)] = part.levels[start - first :]
        return np.maximum(levels, FLOOR_DB)


class _Meter:
    """Collects the frames of a track and measures them, a piece at a time."""

    def __init__(self, pitch: bool) -> None:
        self.pitch = pitch  # whether levels and pitch are measured too
        self.sample = TrackSample()
        self.piece_s = Fraction(0)  # collected of the current piece
        self._parts: list[NDArray[np.float32]] = []
        self._num_samples = 0  # of all parts
        self._start_s = Fraction(0)  # of the first part
        self._like: AudioFrame | None = None
        self._usual: NDArray[np.float32] | None = None

    def add(self, frame: AudioFrame, time_s: Fraction | None) -> None:
        """Collect a frame; a change of format measures the frames before it first."""
        if not frame.samples:
            return
        sample = self.sample
        if not sample.heard:
            sample.heard, sample.first_s = True, time_s
            self._usual = usual_weights(frame)
            if frame.layout.nb_channels > 1:
                sample.mixes = candidates(self._usual, frame.layout.nb_channels)
        like = self._like
        if like is not None and (like.sample_rate, like.layout.nb_channels) != (
            frame.sample_rate,
            frame.layout.nb_channels,
        ):
            self.measure()
        if not self._parts:
            self._like = frame
            self._start_s = time_s if time_s is not None else self._start_s
        self._parts.append(channels_of(frame))
        self._num_samples += frame.samples
        self.piece_s += Fraction(frame.samples, frame.sample_rate)
        if self._num_samples >= PIECE_S * frame.sample_rate:
            self.measure()

    def measure(self) -> None:
        """Measure the collected frames and drop them."""
        like, parts = self._like, self._parts
        self._like, self._parts, self._num_samples = None, [], 0
        if like is None:
            return
        channels = np.concatenate(parts, axis=1)
        mono = channels[0]
        if len(channels) > 1:
            mixes = self.sample.mixes
            if not mixes or len(channels) != len(mixes[0].weights):
                return  # the number of channels changed within the file; the first one counts
            powers = measure_powers(channels, like.sample_rate, mixes)
            self.sample.powers.append(powers)
            mix = choose_mix(powers, mixes) or mixes[0]
            mono = np.array(mix.weights, np.float32) @ channels
        if self.pitch:
            self._measure_pitch(mono, like)
        self._start_s += Fraction(channels.shape[1], like.sample_rate)

    def _measure_pitch(self, mono: NDArray[np.float32], like: AudioFrame) -> None:
        resampler = AudioResampler("flt", "mono", RATE)
        frames = resampler.resample(mono_frame(mono, like)) + resampler.resample(None)
        pitch = measure_pitch(np.concatenate([frame.to_ndarray()[0] for frame in frames]))
        self.sample.steps.append((round(self._start_s * STEPS_PER_S), pitch))


def sample_tracks(path: Path, indices: Sequence[int]) -> list[TrackSample]:
    """Decode the sample of a file and measure the streams with these indices in the container.

    Pitch and levels serve to compare tracks, so they are not measured for a single one.
    """
    with open_media(path) as container:
        meters = {index: _Meter(pitch=len(indices) > 1) for index in indices}
        for stream in container.streams:
            if stream.index not in meters:
                stream.discard = Discard.all
        start_s = Fraction(container.start_time or 0, 1000000)
        for offset_s, length_s in _pieces(Fraction(container.duration or 0, 1000000)):
            if offset_s:
                with suppress(av.error.FFmpegError):  # without seeking, reading continues
                    container.seek(int((start_s + offset_s) * 1000000))
            _read_piece(container, meters, start_s + offset_s, length_s)
            for meter in meters.values():
                meter.measure()
                meter.piece_s = Fraction(0)
        return [meters[index].sample for index in indices]


def _pieces(duration_s: Fraction) -> list[tuple[Fraction, Fraction]]:
    """Return start and length of the pieces; one for short files or an unknown duration."""
    total_s = Fraction(NUM_PIECES * PIECE_S)
    if duration_s <= total_s:
        return [(Fraction(0), total_s)]
    step_s = (duration_s - PIECE_S) / (NUM_PIECES - 1)
    return [(number * step_s, Fraction(PIECE_S)) for number in range(NUM_PIECES)]


def _read_piece(
    container: InputContainer, meters: dict[int, _Meter], start_s: Fraction, length_s: Fraction
) -> None:
    """Pass the frames of a piece to the meters, until all are complete or `SLACK_S` has passed."""
    open_indices = set(meters)
    for packet in _packets(container, meters):
        meter = meters[packet.stream.index]
        stamp = packet.pts if packet.pts is not None else packet.dts
        time_s = None if stamp is None else stamp * packet.time_base
        if time_s is not None and time_s < start_s - PREROLL_S and packet.size:
            continue
        over = time_s is not None and time_s >= start_s + length_s
        if over or meter.piece_s >= length_s:
            open_indices.discard(packet.stream.index)
            if not open_indices or (time_s and time_s >= start_s + length_s + SLACK_S):
                return
            continue
        stream = packet.stream
        assert isinstance(stream, AudioStream)
        with suppress(av.error.FFmpegError):
            for frame in stream.decode(packet):
                meter.add(frame, frame_time(frame, stream))


def _packets(container: InputContainer, meters: dict[int, _Meter]) -> Iterator[Packet]:
    """Yield the packets of the tracks up to the end of the file or the first error."""
    streams = [stream for stream in container.streams.audio if stream.index in meters]
    with suppress(av.error.FFmpegError):
        yield from container.demux(*streams)
