"""Areas, shared areas and intersection over union of boxes, broadcast."""

import numpy as np

from utils.boxes import box_areas, iou, shared_areas

BOXES = np.array(
    [(0, 0, 10, 10), (5, 0, 15, 10), (20, 20, 30, 30), (10, 0, 20, 10), (5, 5, 5, 5)], np.float32
)


def test_every_box_with_every_other() -> None:
    shared = shared_areas(BOXES[:, None], BOXES[None])
    assert shared[0].tolist() == [100, 50, 0, 0, 0]
    found = iou(BOXES[:, None], BOXES[None])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], [1, 50 / 150, 0, 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(found, found.T)


def test_boxes_without_area_share_nothing() -> None:
    assert box_areas(BOXES[4]) == 0
    assert iou(BOXES[4], BOXES[4]) == 0
    assert iou(BOXES[:0], BOXES[4]).shape == (0,)
