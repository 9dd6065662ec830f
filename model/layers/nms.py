"""Choose among boxes that overlap."""

import numpy as np
from numpy.typing import NDArray


def suppress(
    boxes: NDArray[np.float32], order: NDArray[np.intp], overlap: float, most: int | None = None
) -> NDArray[np.intp]:
    """Return those of `order`, strongest first, that no stronger kept box overlaps too much.

    Boxes are (N, 4) corners; `overlap` is the IoU above which the weaker of two is dropped, and
    no more than `most` are kept.
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
