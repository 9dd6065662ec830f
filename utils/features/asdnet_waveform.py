"""Raw audio of ASDNet's clips, fitted to one length."""

import numpy as np
from numpy.typing import NDArray

from utils.structures import FPS, SAMPLE_RATE

MIN_SAMPLES = 2 * SAMPLE_RATE // FPS  # two frames; shorter audio counts as silence
_DIGITS = 6  # decimals of a sample position; removes rounding errors of times
_FITTED_FPS = 27  # a clip's audio is fitted to this frame rate, between 25 and 30


def asdnet_waveform(
    waveform: NDArray[np.int16], times: NDArray[np.float64], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the samples of each clip in the range of int16, (num_clips, N).

    A clip's audio reaches from its first to its last row. It is extended to N samples by mirroring
    at both ends, or shortened by cutting at both ends.

    Args:
        waveform: (N,) at 16 kHz around one track.
        times: (T,) seconds of the track's rows after the waveform's first sample.
        rows: (num_clips, length) rows of the track in each clip, in order of time.
    """
    num_samples = num_clip_samples(rows.shape[1])
    starts = _samples(times[rows[:, 0]], len(waveform))
    counts = _samples(times[rows[:, -1]], len(waveform)) - starts
    odd = counts % 2
    starts, counts = starts + odd, counts - odd  # Kept: an odd count loses its first sample
    audible = counts >= MIN_SAMPLES
    clips = np.zeros((len(rows), num_samples), np.float32)
    positions = np.arange(num_samples) - (num_samples - counts[audible, None]) // 2
    positions = _mirror(positions, counts[audible, None])
    clips[audible] = waveform[positions + starts[audible, None]]
    return clips


def num_clip_samples(length: int) -> int:
    """Return the number of samples of a clip of that many frames; always even."""
    num_samples = SAMPLE_RATE * length // _FITTED_FPS
    return num_samples - num_samples % 2


def _samples(times: NDArray[np.float64], stop: int) -> NDArray[np.int64]:
    """Return the sample at each time, at most `stop`.

    The published code truncates, which loses a sample if a computed time is a rounding error below
    a whole sample; a track and a part of it would then differ.
    """
    positions = np.floor(np.round(times * SAMPLE_RATE, _DIGITS)).astype(np.int64)
    return positions.clip(0, stop)


def _mirror(positions: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Mirror positions at the first and the last of `counts`, repeatedly if necessary."""
    last = counts - 1
    folded: NDArray[np.int64] = np.abs((positions + last) % (2 * last) - last)
    return folded
