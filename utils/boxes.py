"""Boxes x1, y1, x2, y2: areas, intersection over union, and smoothing in time.

The last axis holds the four corners; the axes before it are broadcast against each other.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

SIGMA = 2.0  # of the smoothing, frames

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


def smooth_boxes(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return boxes (T, 4) averaged in time with Gaussian weights; uniform motion stays."""
    if len(boxes) < 2:
        return boxes
    radius = min(round(3 * SIGMA), len(boxes) - 1)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / SIGMA) ** 2)
    weights /= weights.sum()
    padding = ((radius, radius), (0, 0))
    padded = np.pad(boxes.astype(np.float64), padding, mode="reflect", reflect_type="odd")
    columns = [np.convolve(column, weights, mode="valid") for column in padded.T]
    return np.stack(columns, axis=1).astype(np.float32)
