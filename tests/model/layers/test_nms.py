"""Of boxes that overlap, the stronger one is kept."""

import numpy as np
import pytest

from model.layers.nms import suppress

BOXES = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [5, 0, 15, 10], [40, 40, 50, 50]], np.float32)


@pytest.mark.parametrize(
    ("order", "overlap", "most", "kept"),
    [
        ([0, 1, 2, 3], 0.4, None, [0, 2, 3]),
        ([1, 0, 2, 3], 0.4, None, [1, 3]),
        ([0, 1, 2, 3], 0.9, None, [0, 1, 2, 3]),
        ([0, 1, 2, 3], 0.4, 2, [0, 2]),
        ([3], 0.4, None, [3]),
        ([], 0.4, None, []),
    ],
    ids=["chain", "other first", "all apart", "two at most", "one", "none"],
)
def test_suppress(order: list[int], overlap: float, most: int | None, kept: list[int]) -> None:
    found = suppress(BOXES, np.array(order, np.intp), overlap, most)
    assert found.tolist() == kept
