"""Log-mel spectra of every microphone of an array, without phases."""

import numpy as np
from numpy.typing import NDArray

from utils.arrays.spectra import NUM_BANDS, log_mel, num_rows, spectrum_blocks


def array_log_mel(chunk: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the feature of a chunk in dB, (M, L, 64) with 16 rows per frame.

    Args:
        chunk: (N, M) at 48 kHz, N a multiple of 1600; float64 as published.
    """
    feature = np.empty((chunk.shape[1], num_rows(len(chunk)), NUM_BANDS), np.float32)
    for rows, spectra in spectrum_blocks(chunk, periodic=False):
        feature[:, rows] = log_mel(spectra)
    return feature
