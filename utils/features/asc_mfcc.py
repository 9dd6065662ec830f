"""MFCC for ASC's encoder, computed from the audio of each clip separately."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from utils.structures import SAMPLE_RATE

NUM_FEATURES = 13
WINDOW, HOP, FFT_SIZE, NUM_FILTERS = 400, 160, 512, 26  # samples, samples, samples, mel bands
PRE_EMPHASIS, LIFTER = 0.97, 22
FITTED_FPS = 27  # a clip's audio is fitted to this frame rate, between 25 and 30
LEAST_SAMPLES = 1280  # two frames; shorter audio is replaced by silence
CHUNK = 64  # clips at once; 0.5 MB of memory each
POSITION_DIGITS = 6  # decimals of a sample position; removes rounding errors of float times


def asc_mfcc(
    waveform: NDArray[np.int16], times: NDArray[np.float64], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the MFCC of clips, (B, 1, 13, L); L depends only on the length of the clips.

    The audio of a clip reaches from the time of its first row to that of its last. It is fitted to
    the clip's length at 27 frames/s by mirroring or cutting at both ends; audio shorter than two
    frames is replaced by silence.

    Args:
        waveform: (N,) at 16 kHz around the track, not scaled.
        times: (T,) s of each row of the track after the first sample, not falling.
        rows: (B, length) rows of each clip, rising.
    """
    length = rows.shape[1]
    features = np.empty((len(rows), 1, NUM_FEATURES, num_steps(length)), np.float32)
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        features[start : start + CHUNK, 0] = _mfcc(*_fitted(waveform, times, part))
    return features


def num_steps(length: int) -> int:
    """Return L for clips of that many frames."""
    silence = _silence(length)
    fitted = silence + 2 * int((_target(length) - silence) / 2)
    return 1 + max(0, -(-(fitted - WINDOW) // HOP))


def _target(length: int) -> float:
    return (1 / FITTED_FPS) * SAMPLE_RATE * length


def _silence(length: int) -> int:
    return int(SAMPLE_RATE * length / 25)


def _fitted(
    waveform: NDArray[np.int16], times: NDArray[np.float64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the fitted audio of clips, (B, N) padded with zeros, and its lengths (B,)."""
    positions = np.floor(np.round(times * SAMPLE_RATE, POSITION_DIGITS)).astype(np.int64)
    positions = positions.clip(0, len(waveform))
    starts, counts = positions[rows[:, 0]], positions[rows[:, -1]] - positions[rows[:, 0]]
    silent = counts < LEAST_SAMPLES
    counts = np.where(silent, _silence(rows.shape[1]), counts)
    margins = ((_target(rows.shape[1]) - counts) / 2).astype(np.int64)  # negative if cut
    lengths = counts + 2 * margins
    columns = np.arange(WINDOW + (num_steps(rows.shape[1]) - 1) * HOP)
    mirrored = (columns - margins[:, None]) % (2 * (counts[:, None] - 1))
    within = np.minimum(mirrored, 2 * (counts[:, None] - 1) - mirrored)
    outside = silent[:, None] | (columns >= lengths[:, None])
    source = np.append(waveform, np.int16(0))  # the last sample is used for silence
    return source[np.where(outside, len(waveform), starts[:, None] + within)].astype(float), lengths


def _mfcc(waveforms: NDArray[np.float64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the MFCC (B, 13, L) of waveforms (B, WINDOW + (L - 1) HOP).

    The values equal those of python_speech_features for each waveform.
    """
    from scipy.fft import dct

    emphasised = waveforms.copy()
    emphasised[:, 1:] -= PRE_EMPHASIS * waveforms[:, :-1]
    emphasised[np.arange(waveforms.shape[1]) >= lengths[:, None]] = 0
    windows = np.lib.stride_tricks.sliding_window_view(emphasised, WINDOW, axis=1)[:, ::HOP]
    power = np.abs(np.fft.rfft(windows, FFT_SIZE)) ** 2 / FFT_SIZE  # (B, L, 257)
    filters, weights = _filters()
    bands = np.log(_positive(power @ filters))
    cepstrum = dct(bands, type=2, axis=2, norm="ortho")[..., :NUM_FEATURES] * weights
    cepstrum[..., 0] = np.log(_positive(power.sum(2)))  # the log energy replaces the first one
    return np.asarray(cepstrum.transpose(0, 2, 1), np.float64)


def _positive(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values == 0, np.finfo(np.float64).eps, values)


@lru_cache(maxsize=1)
def _filters() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mel filters (257, 26) and the lifter's weights (13,)."""
    from python_speech_features.base import get_filterbanks

    filters = get_filterbanks(NUM_FILTERS, FFT_SIZE, SAMPLE_RATE).T
    order = np.arange(NUM_FEATURES)
    return filters, 1 + LIFTER / 2 * np.sin(np.pi * order / LIFTER)
