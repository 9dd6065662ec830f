"""How the stored images of a video are mirrored and rotated for display."""

import math
import struct
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from av import VideoFrame
from av.sidedata.sidedata import Type
from numpy.typing import NDArray

AnyValue = TypeVar("AnyValue", bound=np.generic)


@dataclass(frozen=True)
class Orientation:
    """Makes a stored image upright: mirror it first, then rotate it."""

    mirrored: bool = False  # left and right are swapped
    quarters: int = 0  # quarter turns anticlockwise, 0 to 3

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the upright (width, height) of a stored size, and the other way round."""
        return (height, width) if self.quarters % 2 else (width, height)

    def upright(self, array: NDArray[AnyValue]) -> NDArray[AnyValue]:
        """Return a view of a stored image (H, W) or (H, W, C), upright."""
        if self.mirrored:
            array = array[:, ::-1]
        return np.rot90(array, self.quarters) if self.quarters else array


def orientation_of(image: VideoFrame) -> Orientation:
    """Return the orientation in a decoded image's display matrix.

    The matrix maps a stored position (x, y) to (a x + c y, b x + d y), with y downward. Angles are
    rounded to quarter turns.
    """
    try:
        matrix = image.side_data.get(Type.DISPLAYMATRIX)
    except ValueError:  # PyAV does not know the type of other side data
        return Orientation(quarters=round(image.rotation / 90) % 4)
    if matrix is None:
        return Orientation()
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return Orientation(mirrored, round(-math.atan2(b, a) / (math.pi / 2)) % 4)
