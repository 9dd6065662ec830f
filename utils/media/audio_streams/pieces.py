"""Resample the audio of a video and place it on the video's clock by its time stamps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from av import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from utils.media.audio_streams.channel_mix import ChannelMix, as_stereo, finite
from utils.media.audio_streams.choice import choose_sound
from utils.media.container import ReadOptions, ReadReport, VideoInfo
from utils.media.decoding import decode_from
from utils.structures import SAMPLE_RATE

DRIFT_S = Fraction(40, 1000)  # deviation of time stamps up to which audio is not moved


@dataclass(frozen=True)
class SoundFormat:
    """Target format of resampling; channels are mixed by `choose_sound` or else by FFmpeg."""

    rate: int = SAMPLE_RATE  # samples/s
    num_channels: int = 1  # 1 or 2

    @property
    def layout(self) -> str:
        """FFmpeg's name of the channel layout."""
        return {1: "mono", 2: "stereo"}[self.num_channels]


Piece = tuple[int, NDArray[np.int16]]  # position of the first sample, samples (N, C)


def read_pieces(
    video: VideoInfo, options: ReadOptions, target: SoundFormat, report: ReadReport
) -> Iterator[Piece]:
    """Yield (position, samples (N, C)) in order, without overlap; gaps between them are silent.

    Position 0 is the start of the span, at the target's rate. Several audio tracks are mixed by
    their mean.
    """
    tracks = []
    for source in choose_sound(video, options.audio_track).sources:
        track = replace(video, sound_index=source.index, sound_start_s=source.start_s)
        placed = _placed(track, options, target, report, source.mix)
        tracks.append(_without_overlap(placed, options, target))
    yield from tracks[0] if len(tracks) == 1 else _mixed(tracks)


def _mixed(tracks: Sequence[Iterator[Piece]]) -> Iterator[Piece]:
    """Yield the mean of several tracks; a track is silent where it has no piece."""
    heads = [(track, piece) for track in tracks if (piece := next(track, None)) is not None]
    while heads:
        start = min(position for _, (position, _) in heads)
        stop = min(
            position + len(samples) if position == start else position
            for _, (position, samples) in heads
        )
        count = stop - start
        total = np.zeros((count, heads[0][1][1].shape[1]), np.int32)
        rest = []
        for track, (position, samples) in heads:
            head: Piece | None = (position, samples)
            if position == start:
                total += samples[:count]
                head = (stop, samples[count:]) if len(samples) > count else next(track, None)
            if head is not None:
                rest.append((track, head))
        heads = rest
        yield start, np.rint(total / len(tracks)).astype(np.int16)


def _without_overlap(
    pieces: Iterator[Piece], options: ReadOptions, target: SoundFormat
) -> Iterator[Piece]:
    """Yield the samples within the span; where pieces overlap, the earlier one is kept."""
    reached = 0
    stop = None if options.stop_s is None else round(options.stop_s * target.rate)
    for placed, resampled in pieces:
        position, samples = placed, resampled
        if position < reached:
            position, samples = reached, samples[reached - position :]
        if stop is not None:
            samples = samples[: max(0, stop - position)]
            if position >= stop:
                return
        if len(samples):
            yield position, samples
            reached = position + len(samples)


def _placed(
    video: VideoInfo,
    options: ReadOptions,
    target: SoundFormat,
    report: ReadReport,
    mix: ChannelMix | None,
) -> Iterator[Piece]:
    """Yield resampled audio with the position of its first sample, which may be negative.

    As long as time stamps agree with the number of samples within `DRIFT_S`, samples follow each
    other without a gap; otherwise a new run begins at the time stamp.
    """
    start_s = options.from_s
    resampler: AudioResampler | None = None
    kind = None
    position = 0  # of the next sample out
    expected_s = video.sound_start_s - start_s  # of the next frame in
    for time_s, frame in decode_from(video, True, start_s, options.threads, report):
        found_s = expected_s if time_s is None else time_s - start_s
        frame_kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if resampler is None or frame_kind != kind or abs(found_s - expected_s) > DRIFT_S:
            if resampler is not None:
                yield from _counted(position, _resampled(resampler, None, target))
            resampler = AudioResampler("s16", target.layout, target.rate)
            kind, expected_s, position = frame_kind, found_s, round(found_s * target.rate)
        expected_s += Fraction(frame.samples, frame.sample_rate)
        ready = _prepared(frame, target, mix)
        for placed, samples in _counted(position, _resampled(resampler, ready, target)):
            yield placed, samples
            position = placed + len(samples)
    if resampler is not None:
        yield from _counted(position, _resampled(resampler, None, target))


def _prepared(frame: AudioFrame, target: SoundFormat, mix: ChannelMix | None) -> AudioFrame:
    """Return a frame for the resampler, mixed if FFmpeg's own mix is not used."""
    if mix is not None and (target.num_channels == 1 or frame.layout.nb_channels > 2):
        frame = mix.apply(frame)
    if target.num_channels == 2 and frame.layout.nb_channels == 1:
        frame = as_stereo(frame)
    frame = finite(frame)
    frame.pts = None  # the resampler counts samples instead of comparing time stamps
    return frame


def _resampled(
    resampler: AudioResampler, frame: AudioFrame | None, target: SoundFormat
) -> list[NDArray[np.int16]]:
    """Return the output (N, C) of the resampler for a frame; None flushes it."""
    return [
        np.asarray(out.to_ndarray(), np.int16).reshape(-1, target.num_channels)
        for out in resampler.resample(frame)
    ]


def _counted(position: int, arrays: list[NDArray[np.int16]]) -> Iterator[Piece]:
    """Yield arrays that follow each other, with the position of each."""
    for array in arrays:
        yield position, array
        position += len(array)
