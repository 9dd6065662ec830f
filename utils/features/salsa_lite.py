"""SALSA-Lite for the TragicTalkers network: phases that are proportional to arrival times.

After T. N. T. Nguyen et al., "SALSA-Lite", ICASSP 2022.
"""

import numpy as np
from numpy.typing import NDArray

from utils.arrays.spectra import (
    FFT_SIZE,
    NUM_BANDS,
    RATE,
    decibels,
    num_rows,
    power,
    spectrum_blocks,
)

SPEED_OF_SOUND = 343.0  # m/s


def salsa_lite(chunk: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the feature of a chunk, (M, L, 64) with 16 rows per frame; bins 0 to 63, below 6 kHz.

    Channel 0 is the power of microphone 1 in dB; the others are the phases of microphones 2 to M
    relative to it, scaled to path differences in metres as long as they do not wrap.

    Kept: phases above the frequency at which they wrap are not zeroed, and bin 0 is divided like
    bin 1.

    Args:
        chunk: (N, M) at 48 kHz, N a multiple of 1600; read as float32.
    """
    feature = np.empty((chunk.shape[1], num_rows(len(chunk)), NUM_BANDS), np.float32)
    bins = np.maximum(np.arange(NUM_BANDS), 1)
    turn = (bins * (2 * np.pi * RATE / (FFT_SIZE * SPEED_OF_SOUND))).astype(np.float32)
    for rows, spectra in spectrum_blocks(chunk.astype(np.float32), periodic=True):
        low = spectra[..., :NUM_BANDS]
        feature[0, rows] = decibels(power(low[0]))
        feature[1:, rows] = np.angle(low[0].conj() * low[1:]) / turn
    return feature
