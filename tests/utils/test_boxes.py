"""Areas and intersection over union of boxes, broadcast; smoothing stops jitter."""

import numpy as np
import pytest

from utils.boxes import box_areas, iou, shared_areas, smooth_boxes

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


def test_two_sets_of_boxes() -> None:
    a = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32)
    b = np.array([[0, 0, 10, 10], [0, 5, 10, 15], [50, 50, 60, 60]], np.float32)
    expected = np.array([[1, 1 / 3, 0], [0, 0, 0]], np.float32)
    np.testing.assert_allclose(iou(a[:, None], b[None]), expected, atol=1e-6)
    assert iou(a[:, None], b[None, :0]).shape == (2, 0)


def test_boxes_without_area_share_nothing() -> None:
    assert box_areas(BOXES[4]) == 0
    assert iou(BOXES[4], BOXES[4]) == 0
    assert iou(BOXES[:0], BOXES[4]).shape == (0,)


@pytest.mark.parametrize("num_frames", [0, 1, 2, 5, 100])
def test_uniform_motion_does_not_change(num_frames: int) -> None:
    time = np.arange(num_frames)
    boxes = np.stack([time, 2 * time, 50 + time, 60 - time], axis=1).astype(np.float32)
    np.testing.assert_allclose(smooth_boxes(boxes), boxes, atol=1e-3)


def test_jitter_is_smoothed() -> None:
    boxes = np.random.default_rng(0).normal(100, 2, (200, 4)).astype(np.float32)
    assert smooth_boxes(boxes).std() < boxes.std() / 2
