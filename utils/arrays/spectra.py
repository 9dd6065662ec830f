"""Short-time spectra of array audio, shared by its features: frames, windows, mel bands."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RATE = 48000  # samples/s of array audio
FPS = 30  # frames/s of the labelled views
BINS_PER_FRAME = 16  # rows of a feature for each frame
HOP = RATE // (FPS * BINS_PER_FRAME)  # 100 samples
FFT_SIZE = 512
NUM_BANDS = 64  # F of every feature
MEL_RANGE = (40.0, 24000.0)  # Hz
FLOOR = 1e-10  # of a power, before its logarithm
BLOCK = 16  # rows processed at a time, so that their spectra stay in the cache

Spectra = NDArray[np.complexfloating]


def num_rows(num_samples: int) -> int:
    """Return the number of rows of a chunk's features.

    Raises:
        ValueError: The chunk is empty or not a whole number of frames.
    """
    if num_samples <= 0 or num_samples % (HOP * BINS_PER_FRAME):
        raise ValueError(
            f"expected a chunk of whole frames of {HOP * BINS_PER_FRAME} samples at {RATE} Hz, "
            f"found {num_samples} samples; pad its end with zeros"
        )
    return num_samples // HOP


def spectrum_blocks(chunk: NDArray[np.floating], periodic: bool) -> Iterator[tuple[slice, Spectra]]:
    """Yield (rows, spectra (M, rows, 257)) of a chunk, block by block, in the chunk's precision.

    Windows are centred, and the audio is reflected at both ends.

    Args:
        chunk: (N, M) at 48 kHz, one column per microphone.
        periodic: Whether the Hann window of 512 samples is periodic, else symmetric.
    """
    total = num_rows(len(chunk))
    kept = kept_frames(total)
    padded = np.pad(chunk.T, ((0, 0), (FFT_SIZE // 2, FFT_SIZE // 2)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SIZE, axis=1)[:, ::HOP]
    window = hann(periodic).astype(chunk.dtype)
    from scipy.fft import rfft

    for start in range(0, total, BLOCK):
        rows = slice(start, min(start + BLOCK, total))
        yield rows, rfft(frames[:, kept[rows]] * window, axis=2, overwrite_x=True)


def kept_frames(total: int) -> NDArray[np.int64]:
    """Return the indices of the rows of a chunk among its total + 1 centred windows.

    Kept: the published interpolation picks the nearest window (halves to even), so of the 961
    windows of 2 s only number 481 is skipped.
    """
    picked: NDArray[np.int64] = np.round(np.arange(total) * ((total + 1) / total)).astype(np.int64)
    return picked


@lru_cache(2)
def hann(periodic: bool) -> NDArray[np.float64]:
    """Return a Hann window of 512 samples."""
    return np.hanning(FFT_SIZE + 1)[:-1] if periodic else np.hanning(FFT_SIZE)


def power(spectra: Spectra) -> NDArray[np.floating]:
    """Return the squared modulus."""
    squared: NDArray[np.floating] = spectra.real**2 + spectra.imag**2
    return squared


def decibels(powers: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return powers in dB, limited to the floor."""
    levels: NDArray[np.floating] = 10 * np.log10(np.maximum(powers, FLOOR))
    return levels


def log_mel(spectra: Spectra) -> NDArray[np.floating]:
    """Return the power in 64 mel bands in dB, (..., 64), of spectra (..., 257)."""
    levels: NDArray[np.floating] = decibels(power(spectra) @ mel_filters())
    return levels


@lru_cache(1)
def mel_filters() -> NDArray[np.float64]:
    """Return 64 triangular filters of equal area on Slaney's mel scale, (257, 64)."""
    low, high = (_mel(frequency) for frequency in MEL_RANGE)
    edges = np.array([_hertz(mel) for mel in np.linspace(low, high, NUM_BANDS + 2)])
    frequencies = np.fft.rfftfreq(FFT_SIZE, 1 / RATE)[:, None]
    rising = (frequencies - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - frequencies) / np.diff(edges)[1:]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(filters * (2 / (edges[2:] - edges[:-2])))


# Slaney's scale (Auditory Toolbox, 1998): linear up to 1 kHz, logarithmic above.
_LINEAR_HZ = 200 / 3
_BREAK_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27


def _mel(frequency: float) -> float:
    if frequency < _BREAK_HZ:
        return frequency / _LINEAR_HZ
    return float(_BREAK_HZ / _LINEAR_HZ + np.log(frequency / _BREAK_HZ) / _LOG_STEP)


def _hertz(mel: float) -> float:
    if mel < _BREAK_HZ / _LINEAR_HZ:
        return mel * _LINEAR_HZ
    return float(_BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_HZ / _LINEAR_HZ)))
