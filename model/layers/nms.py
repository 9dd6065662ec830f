"""Non-maximum suppression of overlapping boxes."""

import numpy as np
from numpy.typing import NDArray


def suppress(
    boxes: NDArray[np.float32], order: NDArray[np.intp], overlap: float, most: int | None = None
) -> NDArray[np.intp]:
    """Return those of `order` that remain after non-maximum suppression.

    Args:
        boxes: (N, 4) corners.
        order: Indices of boxes, strongest first.
        overlap: IoU above which the weaker of two boxes is dropped.
        most: At most as many are kept.
    """
    kept: list[int] = []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while len(order) and (most is None or len(kept) < most):
        best, order = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = np.prod(np.clip(high - low, 0, None), axis=1)
        order = order[shared <= overlap * (areas[best] + areas[order] - shared)]
    return np.array(kept, np.intp)
