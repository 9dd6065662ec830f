"""Boxes x1, y1, x2, y2: their areas, what two of them share, and their intersection over union.

The last axis holds the four corners; the axes before it are broadcast against each other.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Float = TypeVar("Float", bound=np.floating)


def box_areas(boxes: NDArray[Float]) -> NDArray[Float]:
    """Return the area of each box, (...)."""
    areas: NDArray[Float] = np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)
    return areas


def shared_areas(a: NDArray[Float], b: NDArray[Float]) -> NDArray[Float]:
    """Return the area of the intersection of each pair of boxes, (...)."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared: NDArray[Float] = np.prod(np.maximum(sides, 0), axis=-1)
    return shared


def iou(a: NDArray[Float], b: NDArray[Float]) -> NDArray[Float]:
    """Return the intersection over union of each pair of boxes, (...); 0 if they share nothing."""
    shared = shared_areas(a, b)
    union = box_areas(a) + box_areas(b) - shared
    found: NDArray[Float] = np.divide(shared, union, out=np.zeros_like(union), where=shared > 0)
    return found
