"""Which rows of a track a clip or a context has: those around a row, within the track."""

import numpy as np
from numpy.typing import NDArray


def rows_around(
    num_rows: int | NDArray[np.int64],
    centres: NDArray[np.int64],
    length: int,
    before: int,
    stride: int = 1,
) -> NDArray[np.int64]:
    """Return the rows of a clip around each of `centres`, (..., length).

    Where the track has none, its first or last one stands.

    Args:
        num_rows: Rows of the track, or of the track of each centre, (...).
        centres: (...) the rows that are scored.
        length: Rows of a clip, odd or even.
        before: How many of them lie before the scored one.
        stride: Rows from one to the next.
    """
    last = np.asarray(num_rows)[..., None] - 1
    offsets = stride * (np.arange(length) - before)
    return np.asarray(np.clip(centres[..., None] + offsets, 0, last), np.int64)
