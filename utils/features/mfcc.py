"""MFCC for TalkNet and related networks: 13 cepstral coefficients, four rows per frame."""

import decimal
import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from utils.structures import FPS, SAMPLE_RATE, STEPS_PER_FRAME

NUM_FEATURES = 13
FFT_SIZE = 512  # samples
CHUNK = 1000  # rows; python_speech_features takes 80 kB of memory for each


def mfcc(
    waveform: NDArray[np.int16],
    fps: float | Fraction = FPS,
    start: int = 0,
    stop: int | None = None,
) -> NDArray[np.float32]:
    """Return rows [start, stop) of the MFCC of a whole waveform, (L, 13).

    They equal the rows of python_speech_features for the whole waveform, but need little memory.
    An empty waveform counts as one silent sample.

    Args:
        waveform: (N,) at 16 kHz, not scaled.
        fps: Frame rate of the video; windows and hops of 25 and 10 ms are scaled by 25 / fps, so
            that there are four rows per frame at any rate.
        start: First row.
        stop: Row after the last; None for all. Rows past the end of the audio do not exist.
    """
    total = num_rows(len(waveform), fps)
    stop = total if stop is None else min(stop, total)
    if start < 0:
        raise ValueError(f"mfcc: start must be 0 or more, got {start}")
    if len(waveform) == 0:
        waveform = np.zeros(1, np.int16)
    rows = np.empty((max(0, stop - start), NUM_FEATURES), np.float32)
    for first in range(start, stop, CHUNK):
        last = min(first + CHUNK, stop)
        rows[first - start : last - start] = _chunk(waveform, fps, first, last)
    return rows


def num_rows(num_samples: int, fps: float | Fraction = FPS) -> int:
    """Return the number of rows of a waveform's MFCC; the last window may exceed its end."""
    window, hop = _window_and_hop(fps)
    return 1 + math.ceil(max(0, num_samples - window) / hop)


def align(features: NDArray[np.float32], num_frames: int) -> NDArray[np.float32]:
    """Return exactly four rows for each of `num_frames` frames, (4 T, F).

    Kept: missing rows at the end are filled by starting again from the first row.
    """
    if len(features) == 0:
        raise ValueError("align: expected at least one row of features, got none")
    return features[np.arange(STEPS_PER_FRAME * num_frames) % len(features)]


def _chunk(
    waveform: NDArray[np.int16], fps: float | Fraction, start: int, stop: int
) -> NDArray[np.float64]:
    """Return rows [start, stop), all of which exist.

    The library's pre-emphasis does not apply to the first sample it is given, so a chunk within
    the audio begins one row earlier.
    """
    from python_speech_features import mfcc as library_mfcc

    window, hop = _window_and_hop(fps)
    window = min(window, FFT_SIZE)  # below 19.5 frames/s the FFT reads no more of a window
    lead_in = int(start > 0)
    samples = waveform[(start - lead_in) * hop : (stop - 1) * hop + window]
    rows = library_mfcc(
        samples,
        samplerate=SAMPLE_RATE,
        winlen=window / SAMPLE_RATE,
        winstep=hop / SAMPLE_RATE,
        numcep=NUM_FEATURES,
        nfft=FFT_SIZE,
    )
    return np.asarray(rows[lead_in:], np.float64)


def _window_and_hop(fps: float | Fraction) -> tuple[int, int]:
    """Return both lengths in samples, rounded half up as the library rounds them."""
    if not 0 < fps < math.inf:
        raise ValueError(f"mfcc: fps must be a positive frame rate, got {fps}")
    stretch = SAMPLE_RATE * FPS / float(fps)
    return _round_half_up(0.025 * stretch), _round_half_up(0.010 * stretch)


def _round_half_up(number: float) -> int:
    return int(decimal.Decimal(number).quantize(decimal.Decimal(1), decimal.ROUND_HALF_UP))
