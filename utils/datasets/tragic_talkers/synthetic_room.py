"""Let a moving source be heard by microphones: exact delays, and the echoes of a box of a room."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from utils.arrays.geometry import SPEED_OF_SOUND
from utils.arrays.spectra import RATE
from utils.errors import UserError

OVERSAMPLING = 8  # linear interpolation between samples so close errs by less than -50 dB of 8 kHz
KNOT_S = 0.01  # distances are worked out so often and interpolated between
NEAREST = 0.3  # m; a source is never heard as if it were nearer


@dataclass(frozen=True)
class Room:
    """A box of a room around the array, which stands in the middle of its back wall."""

    order: Annotated[int, "walls that an echo may have met; 0 is a free field"] = 0
    reflection: Annotated[float, "part of the pressure that a wall gives back"] = 0.5
    size: Annotated[tuple[float, float, float], "width, depth, height, m"] = (6.0, 7.0, 3.0)
    array_at: Annotated[tuple[float, float, float], "of the array in the room, m"] = (3.0, 0.7, 1.4)

    def __post_init__(self) -> None:
        if self.order < 0 or not 0 <= self.reflection < 1:
            raise UserError(
                "expected an order of 0 or more and a reflection in [0, 1), got "
                f"{self.order} and {self.reflection}"
            )

    def images(self, path: NDArray[np.float64]) -> Iterator[tuple[NDArray[np.float64], float]]:
        """Yield the mirror images of a path (K, 3) and their gains, the path itself among them."""
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
    sound: NDArray[np.floating],
    path: NDArray[np.float64],
    microphones: NDArray[np.float64],
    room: Room,
) -> NDArray[np.float64]:
    """Return what each microphone hears of a moving source, (N, M); 1 m away it is as loud as made.

    Args:
        sound: (N,) at 48 kHz, as the source makes it.
        path: (K, 3) where the source is at K moments evenly spread over the sound.
        microphones: (M, 3) m.
        room: Whose walls give echoes.
    """
    from scipy.signal import resample_poly

    dense = resample_poly(np.asarray(sound, np.float64), OVERSAMPLING, 1)
    times = np.arange(len(sound), dtype=np.float64)
    knots = np.linspace(0, len(sound) - 1, max(2, round(len(sound) / RATE / KNOT_S)))
    moments = np.linspace(0, len(sound) - 1, len(path))
    way = np.stack([np.interp(knots, moments, path[:, axis]) for axis in range(3)], axis=1)
    found = np.zeros((len(sound), len(microphones)))
    for image, gain in room.images(way):
        for number, microphone in enumerate(microphones):
            apart = np.maximum(np.linalg.norm(image - microphone, axis=1), NEAREST)
            distance = np.interp(times, knots, apart)
            place = (times - distance * (RATE / SPEED_OF_SOUND)) * OVERSAMPLING
            found[:, number] += gain / distance * _at(dense, place)
    return found


def _at(dense: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values between samples; before the first one it is silent."""
    early = places < 0
    places = np.maximum(places, 0)
    index = np.minimum(places.astype(np.int64), len(dense) - 2)
    share = places - index
    values: NDArray[np.float64] = (1 - share) * dense[index] + share * dense[index + 1]
    values[early] = 0
    return values
