"""Log-mel spectra for LoCoNet: the 64 bands of VGGish, with four rows per frame."""

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from utils.structures import FPS, SAMPLE_RATE

NUM_FEATURES = 64
LOWEST_HZ, HIGHEST_HZ = 125.0, 7500.0
FLOOR = 0.01  # added before the logarithm
CHUNK = 500  # rows; each takes 10 kB of memory


def log_mel(
    waveform: NDArray[np.int16],
    fps: float | Fraction = FPS,
    start: int = 0,
    stop: int | None = None,
) -> NDArray[np.float32]:
    """Return rows [start, stop) of the log-mel spectrum of a whole waveform, (L, 64).

    Only complete windows give a row, so audio of exactly T frames has 4 T - 2 rows. Audio shorter
    than one window is padded with silence.

    Args:
        waveform: (N,) at 16 kHz, not scaled.
        fps: Frame rate of the video; windows and hops of 25 and 10 ms are scaled by 25 / fps, so
            that there are four rows per frame at any rate.
        start: First row.
        stop: Row after the last; None for all. Rows past the end of the audio do not exist.
    """
    window, hop = _window_and_hop(fps)
    total = num_rows(len(waveform), fps)
    stop = total if stop is None else min(stop, total)
    if start < 0:
        raise ValueError(f"log_mel: start must be 0 or more, got {start}")
    if len(waveform) < window:
        waveform = np.pad(waveform, (0, window - len(waveform)))
    windows = np.lib.stride_tricks.sliding_window_view(waveform, window)[::hop]
    rows = np.empty((max(0, stop - start), NUM_FEATURES), np.float32)
    for first in range(start, stop, CHUNK):
        last = min(first + CHUNK, stop)
        rows[first - start : last - start] = _chunk(windows[first:last])
    return rows


def num_rows(num_samples: int, fps: float | Fraction = FPS) -> int:
    """Return the number of rows of the log-mel spectrum of a waveform."""
    window, hop = _window_and_hop(fps)
    return 1 + max(0, num_samples - window) // hop


def _chunk(windows: NDArray[np.int16]) -> NDArray[np.float64]:
    """Return the rows of windows, (L, 64), from magnitudes, not from their squares."""
    window = windows.shape[1]
    fft_size = 1 << (window - 1).bit_length()
    hann = 0.5 - 0.5 * np.cos(2 * np.pi / window * np.arange(window))  # periodic
    magnitudes = np.abs(np.fft.rfft(windows * hann, fft_size))
    return np.asarray(np.log(magnitudes @ _mel_bands(fft_size) + FLOOR), np.float64)


@lru_cache(maxsize=8)
def _mel_bands(fft_size: int) -> NDArray[np.float64]:
    """Return the weight of each bin of a spectrum in each band, (fft_size / 2 + 1, 64).

    Bands are triangles on the mel scale of HTK, without the constant component.
    """
    mels = _mel(np.linspace(0, SAMPLE_RATE / 2, fft_size // 2 + 1))[:, None]
    low, high = _mel(np.array([LOWEST_HZ, HIGHEST_HZ]))
    edges = np.linspace(low, high, NUM_FEATURES + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (mels - lower) / (centre - lower), (upper - mels) / (upper - centre)
    bands = np.maximum(0, np.minimum(rising, falling))
    bands[0] = 0
    return np.asarray(bands, np.float64)


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1127 * np.log1p(hertz / 700), np.float64)


def _window_and_hop(fps: float | Fraction) -> tuple[int, int]:
    """Return both lengths in samples, rounded half to even as published."""
    if not 0 < fps < math.inf:
        raise ValueError(f"log_mel: fps must be a positive frame rate, got {fps}")
    stretch = FPS / float(fps)
    return round(0.025 * stretch * SAMPLE_RATE), round(0.010 * stretch * SAMPLE_RATE)
