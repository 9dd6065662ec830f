"""GCC-PHAT with log-mel for the TragicTalkers network: arrival times at each microphone.

After D. Berghi, P. J. B. Jackson, "Leveraging Visual Supervision for Array-Based Active Speaker
Detection and Localization", TASLP 2024.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from utils.arrays.spectra import FFT_SIZE, NUM_BANDS, log_mel, num_rows, power, spectrum_blocks

ZERO_LAG = NUM_BANDS // 2  # bin of lag 0; a delay of d samples peaks at bin 32 + d


def gcc_phat(chunk: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the feature of a chunk, (M, L, 64) with 16 rows per frame.

    Channels 0 to M - 2 are the phase correlations of microphones 2 to M with microphone 1, at lags
    of -32 to 31 samples; the last is the log-mel spectrum of microphone 1 in dB. If a pair has no
    energy, its phase counts as 0. Phases are computed in the chunk's precision and summed in
    float32, the precision of the feature.

    Args:
        chunk: (N, M) at 48 kHz, N a multiple of 1600; float64 as published.
    """
    num_microphones = chunk.shape[1]
    feature = np.empty((num_microphones, num_rows(len(chunk)), NUM_BANDS), np.float32)
    for rows, spectra in spectrum_blocks(chunk, periodic=False):
        cross = spectra[1:] * spectra[0].conj()
        length = np.sqrt(power(cross))
        silent = length == 0
        cross[silent], length[silent] = 1, 1
        phases = np.empty(cross.shape, np.complex64)
        phases.real, phases.imag = cross.real / length, cross.imag / length
        feature[:-1, rows] = phases.view(np.float32) @ _lags()
        feature[-1, rows] = log_mel(spectra[0])
    return feature


@lru_cache(1)
def _lags() -> NDArray[np.float32]:
    """Return the matrix from spectra (real, imaginary, real ...) to lags -32 to 31, (514, 64).

    It is the inverse transform of length 512, restricted to these lags.
    """
    lags = np.arange(-ZERO_LAG, ZERO_LAG)
    turns = 2 * np.pi / FFT_SIZE * np.arange(FFT_SIZE // 2 + 1)[:, None] * lags
    weight = np.full((FFT_SIZE // 2 + 1, 1), 2 / FFT_SIZE)
    weight[[0, -1]] /= 2
    pairs = np.stack((weight * np.cos(turns), -weight * np.sin(turns)), axis=1)
    return pairs.reshape(-1, NUM_BANDS).astype(np.float32)
