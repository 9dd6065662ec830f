"""MFCC for ava_asd: 100 vectors per second, normalised over the whole audio.

They equal librosa's: Hann windows of 25 ms about every 10 ms, mirrored ends, 128 Slaney mel bands,
decibels limited to 80 below the loudest band of the whole audio, 13 coefficients.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from utils.structures import SAMPLE_RATE

NUM_FEATURES = 13
LEAD_S = 0.25  # audio before a clip's last row from which its vectors are computed
WINDOW_S = 0.025
HOP_S = 0.01
VECTORS_PER_ROW = 4  # a clip of 5 rows has 20 vectors
NUM_BANDS = 128
FLOOR = 1e-10  # of power
RANGE_DB = 80.0
FULL_SCALE = 32768.0
CHUNK = 1000  # vectors computed at once
STILL = 1e-3  # a coefficient with a smaller deviation counts as constant, as in silence

Samples = NDArray[np.number]  # in units of 16-bit samples


@dataclass(frozen=True, eq=False)
class SoundStatistics:
    """Statistics of the whole audio, for normalisation."""

    peak_db: float  # of its loudest band
    mean: NDArray[np.float32]  # (13,)
    std: NDArray[np.float32]  # (13,)


def ava_asd_mfcc(
    waveform: Samples,
    times: NDArray[np.float64],
    rows: NDArray[np.int64],
    statistics: SoundStatistics | None = None,
    rate: int = SAMPLE_RATE,
) -> NDArray[np.float32]:
    """Return the vectors before the end of each clip, (num_clips, 13, 4 length).

    Kept: they end with the last one that lies 35 ms or more before the clip's last row.

    Args:
        waveform: (N,), not scaled; its ends count as ends of the audio. The vectors of a part equal
            those of the whole audio if the part begins `LEAD_S` before the first of `times` and a
            whole number of hops after the beginning.
        times: (T,) s from the waveform's first sample to each row of the track.
        rows: (num_clips, length) rows of each clip; only the last one is used.
        statistics: Of the whole audio, from `measure`; those of `waveform` by default.
        rate: Samples/s.
    """
    if statistics is None:
        statistics = measure(lambda: [waveform], rate)
    num_vectors = VECTORS_PER_ROW * rows.shape[1]
    if not len(rows):
        return np.empty((0, NUM_FEATURES, num_vectors), np.float32)
    chosen = chosen_vectors(times[rows[:, -1]], num_vectors, rate)
    chosen = chosen.clip(0, num_rows(len(waveform), rate) - 1)
    span = (int(chosen.min()), int(chosen.max()) + 1)
    found = _normal(coefficients(waveform, span, statistics.peak_db, rate), statistics)
    return np.ascontiguousarray(found[chosen - span[0]].transpose(0, 2, 1))


def chosen_vectors(
    stops_s: NDArray[np.float64], num_vectors: int, rate: int = SAMPLE_RATE
) -> NDArray[np.int64]:
    """Return the indices of the vectors of each clip, (num_clips, L).

    Args:
        stops_s: Time of each clip's last row, from the first sample.
        num_vectors: L.
        rate: Samples/s.
    """
    hop_s = _window_and_hop(rate)[1] / rate
    stops = np.trunc((stops_s - WINDOW_S) / hop_s).astype(np.int64)
    return np.asarray(stops[:, None] + np.arange(-num_vectors, 0), np.int64)


def num_rows(num_samples: int, rate: int = SAMPLE_RATE) -> int:
    """Return the number of vectors of a waveform; at least one, because none counts as silence."""
    window, hop = _window_and_hop(rate)
    return 1 + max(0, num_samples - window % 2) // hop


def coefficients(
    waveform: Samples, span: tuple[int, int], peak_db: float, rate: int = SAMPLE_RATE
) -> NDArray[np.float32]:
    """Return vectors [start, stop) of a whole waveform, not normalised: (L, 13).

    Args:
        waveform: (N,), not scaled.
        span: Start and stop; all vectors must exist.
        peak_db: Level of the loudest band of the whole audio.
        rate: Samples/s.
    """
    window, hop = _window_and_hop(rate)
    rows = np.empty((span[1] - span[0], NUM_FEATURES), np.float32)
    for first in range(*span, CHUNK):
        last = min(first + CHUNK, span[1])
        start = first * hop - window // 2
        samples = _mirrored(waveform, start, start + (last - 1 - first) * hop + window)
        bands = _decibels(samples, rate)
        rows[first - span[0] : last - span[0]] = _cepstrum(bands, peak_db)
    return rows


def measure(pieces: Callable[[], Iterable[Samples]], rate: int = SAMPLE_RATE) -> SoundStatistics:
    """Return the statistics of audio of any length; held are two pieces and 10 s.

    Args:
        pieces: Returns the audio from its beginning, in pieces (N,) of any length; called twice,
            because levels are limited relative to the loudest band.
        rate: Samples/s.
    """
    peak_db = max(float(bands.max()) for bands in _chunks(pieces(), rate))
    count, mean, squares = 0, np.zeros(NUM_FEATURES), np.zeros(NUM_FEATURES)
    for bands in _chunks(pieces(), rate):
        vectors = _cepstrum(bands, peak_db).astype(np.float64)
        chunk_mean = vectors.mean(0)
        step = chunk_mean - mean
        squares += ((vectors - chunk_mean) ** 2).sum(0)
        squares += step**2 * count * len(vectors) / (count + len(vectors))
        count += len(vectors)
        mean += step * len(vectors) / count
    std = np.sqrt(squares / count)
    # A constant coefficient becomes zero instead of being divided by zero.
    std[std < STILL] = 1.0
    return SoundStatistics(peak_db, mean.astype(np.float32), std.astype(np.float32))


def vectors(
    pieces: Iterable[Samples], statistics: SoundStatistics, rate: int = SAMPLE_RATE
) -> Iterator[NDArray[np.float32]]:
    """Yield all normalised vectors of the audio in order, (L, 13), up to 1000 at a time."""
    for bands in _chunks(pieces, rate):
        yield _normal(_cepstrum(bands, statistics.peak_db), statistics)


def _normal(found: NDArray[np.float32], statistics: SoundStatistics) -> NDArray[np.float32]:
    return np.asarray((found - statistics.mean) / statistics.std, np.float32)


def _chunks(pieces: Iterable[Samples], rate: int) -> Iterator[NDArray[np.float32]]:
    """Yield the levels of the bands, (L, 128) dB, up to 1000 vectors at a time."""
    window, hop = _window_and_hop(rate)
    half, chunk_size = window // 2, (CHUNK - 1) * hop + window
    held: Samples = np.empty(0, np.int16)  # begins with the first sample of the next vector
    led_in = False
    for piece in pieces:
        held = np.concatenate((held, piece))
        if not led_in and len(held) > window:
            held, led_in = np.pad(held, (half, 0), "reflect"), True
        while led_in and len(held) >= chunk_size:
            yield _decibels(held[:chunk_size], rate)
            held = held[CHUNK * hop :]
    if not led_in:
        yield _decibels(_mirrored(held, -half, max(1, len(held)) + half), rate)
        return
    # `held` is longer than half a window: the next vector's centre is within the audio or just
    # behind its end.
    held = np.pad(held, (0, half), "reflect")
    for first in range(0, len(held) - window + 1, CHUNK * hop):
        yield _decibels(held[first : first + chunk_size], rate)


def _mirrored(waveform: Samples, start: int, stop: int) -> Samples:
    """Return samples [start, stop) of a waveform that is mirrored at its ends."""
    if len(waveform) < 2:
        return np.zeros(stop - start, np.int16)
    inside = waveform[max(0, start) : max(0, stop)]
    before, after = max(0, -start), max(0, stop - len(waveform))
    if not before and not after:
        return inside
    period = 2 * (len(waveform) - 1)
    places = np.arange(start, stop) % period
    return waveform[np.minimum(places, period - places)]


def _decibels(samples: Samples, rate: int) -> NDArray[np.float32]:
    """Return the levels of the bands of every complete window, (L, 128), not limited yet."""
    window, hop = _window_and_hop(rate)
    scaled = samples.astype(np.float32) / np.float32(FULL_SCALE)
    windows = np.lib.stride_tricks.sliding_window_view(scaled, window)[::hop]
    spectra = np.fft.rfft(windows * _hann(window))  # complex64 of float32
    power = spectra.real**2 + spectra.imag**2
    bands = power @ _mel_bands(rate, window).T
    return np.asarray(10 * np.log10(np.maximum(bands, np.float32(FLOOR))), np.float32)


def _cepstrum(bands: NDArray[np.float32], peak_db: float) -> NDArray[np.float32]:
    """Map levels (L, 128) to coefficients (L, 13).

    Computed in double precision: in single precision, on some processors, equal rows differ by more
    than `STILL` depending on their position in the matrix.
    """
    limited = np.maximum(bands, np.float32(peak_db - RANGE_DB)).astype(np.float64)
    return np.asarray(limited @ _cosines().T, np.float32)


def _window_and_hop(rate: int) -> tuple[int, int]:
    """Return both lengths in samples."""
    if rate < 1000:
        raise ValueError(f"ava_asd_mfcc: expected a rate of 1000 samples/s or more, got {rate}")
    return int(rate * WINDOW_S), int(rate * HOP_S)


@lru_cache
def _hann(window: int) -> NDArray[np.float32]:
    """Return the periodic Hann window."""
    turns = np.arange(window) / window
    return (0.5 - 0.5 * np.cos(2 * np.pi * turns)).astype(np.float32)


@lru_cache
def _cosines() -> NDArray[np.float64]:
    """Return the first rows of the orthonormal DCT-II, (13, 128)."""
    order, band = np.arange(NUM_FEATURES)[:, None], np.arange(NUM_BANDS) + 0.5
    matrix = np.sqrt(2 / NUM_BANDS) * np.cos(np.pi * order * band / NUM_BANDS)
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix, np.float64)


@lru_cache
def _mel_bands(rate: int, window: int) -> NDArray[np.float32]:
    """Return triangular filters of equal area from 0 to half the rate, (128, bins).

    The mel scale is Slaney's, linear to 1 kHz and logarithmic above. Below 22 kHz the lowest bands
    are narrower than a bin; those without a bin are silent, as in librosa.
    """
    top = _to_mel(rate / 2)
    edges = _to_hertz(np.linspace(0.0, top, NUM_BANDS + 2))
    bins = np.arange(window // 2 + 1) * rate / window
    widths = np.diff(edges)
    rising = (bins - edges[:-2, None]) / widths[:-1, None]
    falling = (edges[2:, None] - bins) / widths[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    heights = 2 / (edges[2:] - edges[:-2])
    return np.asarray(triangles * heights[:, None], np.float32)


_LINEAR = 200 / 3  # Hz per mel, below 1 kHz
_KNEE = 1000 / _LINEAR  # mel
_LOG_STEP = np.log(6.4) / 27  # change of log frequency per mel, above 1 kHz


def _to_mel(hertz: float) -> float:
    if hertz < 1000:
        return hertz / _LINEAR
    return float(_KNEE + np.log(hertz / 1000) / _LOG_STEP)


def _to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = 1000 * np.exp(_LOG_STEP * (mel - _KNEE))
    return np.where(mel < _KNEE, mel * _LINEAR, above)
