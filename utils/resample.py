"""Resample the sound of a video and lay it on the video's clock by its time stamps."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from utils.decoding import decode_from
from utils.media import ReadOptions, ReadReport, VideoInfo
from utils.structures import SAMPLE_RATE

DRIFT_S = Fraction(40, 1000)  # time stamps may be off by this much before sound is moved


@dataclass(frozen=True)
class SoundFormat:
    """What sound is resampled to; several channels become one by their mean, as FFmpeg does it."""

    rate: int = SAMPLE_RATE  # samples/s
    num_channels: int = 1  # 1 or 2

    @property
    def layout(self) -> str:
        """FFmpeg's name of the channel layout."""
        return {1: "mono", 2: "stereo"}[self.num_channels]


def read_pieces(
    video: VideoInfo, options: ReadOptions, target: SoundFormat, report: ReadReport
) -> Iterator[tuple[int, NDArray[np.int16]]]:
    """Yield (position, samples (N, C)) in order, without overlap; what lies between is silent.

    Position 0 is the start of the span, at the target's rate.
    """
    reached = 0
    stop = None if options.stop_s is None else round(options.stop_s * target.rate)
    for placed, resampled in _placed(video, options, target, report):
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
    video: VideoInfo, options: ReadOptions, target: SoundFormat, report: ReadReport
) -> Iterator[tuple[int, NDArray[np.int16]]]:
    """Yield resampled sound with the position of its first sample, which may be negative.

    Sound runs on as long as its time stamps agree with the number of samples to `DRIFT_S`; where
    they do not, a new run begins at the time stamp.
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
        frame.pts = None  # the resampler is to count, not to compare time stamps
        for placed, samples in _counted(position, _resampled(resampler, frame, target)):
            yield placed, samples
            position = placed + len(samples)
    if resampler is not None:
        yield from _counted(position, _resampled(resampler, None, target))


def _resampled(
    resampler: AudioResampler, frame: AudioFrame | None, target: SoundFormat
) -> list[NDArray[np.int16]]:
    """Return what the resampler gives for a frame, for None what it still holds, as (N, C)."""
    return [
        np.asarray(out.to_ndarray(), np.int16).reshape(-1, target.num_channels)
        for out in resampler.resample(frame)
    ]


def _counted(
    position: int, arrays: list[NDArray[np.int16]]
) -> Iterator[tuple[int, NDArray[np.int16]]]:
    """Yield arrays that follow each other, with the position of each."""
    for array in arrays:
        yield position, array
        position += len(array)
