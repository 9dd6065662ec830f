"""Simulate microphone signals of a moving source: exact delays, and echoes of a box-shaped room."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from utils.arrays.geometry import SPEED_OF_SOUND
from utils.arrays.spectra import RATE
from utils.errors import UserError

OVERSAMPLING = 8  # with linear interpolation, the error is below -50 dB at 8 kHz
KNOT_S = 0.01  # interval at which distances are computed; interpolated in between
NEAREST = 0.3  # m; minimum distance of a source from a microphone


@dataclass(frozen=True)
class Room:
    """A box-shaped room with the array near the middle of its back wall."""

    order: Annotated[int, "maximum number of reflections of an echo; 0: free field"] = 0
    reflection: Annotated[float, "reflected share of the sound pressure"] = 0.5
    size: Annotated[tuple[float, float, float], "width, depth, height, m"] = (6.0, 7.0, 3.0)
    array_at: Annotated[tuple[float, float, float], "position of the array, m"] = (3.0, 0.7, 1.4)

    def __post_init__(self) -> None:
        if self.order < 0 or not 0 <= self.reflection < 1:
            raise UserError(
                "expected an order of 0 or more and a reflection in [0, 1), got "
                f"{self.order} and {self.reflection}"
            )

    def images(self, path: NDArray[np.float64]) -> Iterator[tuple[NDArray[np.float64], float]]:
        """Yield the mirror images of a path (K, 3) and their gains, including the path itself."""
        reach = range(-self.order, self.order + 1)
        size, origin = np.array(self.size), np.array(self.array_at)
        for number in product(reach, reach, reach):
            walls = sum(map(abs, number))
            if walls <= self.order:
                k = np.array(number)
                odd = k % 2 == 1
                mirrored = np.where(odd, -1.0, 1.0) * (path + origin) + (k + odd) * size
                yield mirrored - origin, self.reflection**walls


def simulate_room(
    waveform: NDArray[np.floating],
    path: NDArray[np.float64],
    microphones: NDArray[np.float64],
    room: Room,
) -> NDArray[np.float64]:
    """Return the signals (N, M) of a moving source at the microphones; gain 1 at 1 m.

    Args:
        waveform: (N,) signal of the source at 48 kHz.
        path: (K, 3) positions of the source, m, at K moments evenly spread over the waveform.
        microphones: (M, 3) m.
        room: Its walls reflect.
    """
    from scipy.signal import resample_poly

    dense = resample_poly(np.asarray(waveform, np.float64), OVERSAMPLING, 1)
    times = np.arange(len(waveform), dtype=np.float64)
    knots = np.linspace(0, len(waveform) - 1, max(2, round(len(waveform) / RATE / KNOT_S)))
    moments = np.linspace(0, len(waveform) - 1, len(path))
    positions = np.stack([np.interp(knots, moments, path[:, axis]) for axis in range(3)], axis=1)
    signals = np.zeros((len(waveform), len(microphones)))
    for image, gain in room.images(positions):
        for number, microphone in enumerate(microphones):
            at_knots = np.maximum(np.linalg.norm(image - microphone, axis=1), NEAREST)
            distance = np.interp(times, knots, at_knots)
            emitted = (times - distance * (RATE / SPEED_OF_SOUND)) * OVERSAMPLING
            signals[:, number] += gain / distance * _interpolate(dense, emitted)
    return signals


def _interpolate(dense: NDArray[np.float64], indices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values at fractional indices; 0 before the first sample."""
    early = indices < 0
    indices = np.maximum(indices, 0)
    index = np.minimum(indices.astype(np.int64), len(dense) - 2)
    share = indices - index
    values: NDArray[np.float64] = (1 - share) * dense[index] + share * dense[index + 1]
    values[early] = 0
    return values
