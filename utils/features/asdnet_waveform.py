"""The sound of ASDNet's clips: raw samples, cut out beside the clip and fitted to one length."""

import numpy as np
from numpy.typing import NDArray

from utils.structures import FPS, SAMPLE_RATE

MIN_SAMPLES = 2 * SAMPLE_RATE // FPS  # two frames; what is shorter counts as silence
_DIGITS = 6  # of a sample; rounding errors of times are far below
_FITTED_FPS = 27  # between 25 and 30 frames/s; clips are fitted to the length they have there


def asdnet_waveform(
    waveform: NDArray[np.int16], times: NDArray[np.float64], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the samples of each clip in the range of int16, (num_clips, N).

    A clip's sound goes from its first to its last row. What N samples lack is mirrored at either
    end, and what they have too much is cut off at either end.

    Args:
        waveform: (N,) at 16 kHz around one track.
        times: (T,) seconds of the track's rows after the waveform's first sample.
        rows: (num_clips, length) rows of the track that each clip has, in order of time.
    """
    num_samples = num_clip_samples(rows.shape[1])
    starts = _samples(times[rows[:, 0]], len(waveform))
    counts = _samples(times[rows[:, -1]], len(waveform)) - starts
    odd = counts % 2
    starts, counts = starts + odd, counts - odd  # Kept: an odd count loses its first sample
    heard = counts >= MIN_SAMPLES
    clips = np.zeros((len(rows), num_samples), np.float32)
    positions = np.arange(num_samples) - (num_samples - counts[heard, None]) // 2
    positions = _mirror(positions, counts[heard, None])
    clips[heard] = waveform[positions + starts[heard, None]]
    return clips


def num_clip_samples(length: int) -> int:
    """Return how many samples a clip of that many frames has, always an even number."""
    num_samples = SAMPLE_RATE * length // _FITTED_FPS
    return num_samples - num_samples % 2


def _samples(times: NDArray[np.float64], stop: int) -> NDArray[np.int64]:
    """Return the sample at each time, at most `stop`.

    The published code cuts off decimals, which loses a sample wherever a time that was computed
    lies by a rounding error below a whole one; then a track and a part of it would differ.
    """
    positions = np.floor(np.round(times * SAMPLE_RATE, _DIGITS)).astype(np.int64)
    return positions.clip(0, stop)


def _mirror(positions: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Mirror positions at the first and the last of `counts`, as often as it takes."""
    last = counts - 1
    folded: NDArray[np.int64] = np.abs((positions + last) % (2 * last) - last)
    return folded
