"""Scores follow the published drawing rule, its faults mended; boxes stop trembling."""

import numpy as np
import pytest

from tests.parity.references import reference
from utils.smoothing import smooth_boxes, smooth_scores

PUBLISHED = reference("smoothing")


@pytest.mark.parametrize("num_frames", [30, 31, 32, 33])
def test_published_rule(num_frames: int) -> None:
    scores, published = PUBLISHED["smooth_in30"], PUBLISHED[f"smooth_scores30_frames{num_frames}"]
    untouched = 27  # frames whose window does not reach the last score
    np.testing.assert_allclose(smooth_scores(scores)[:untouched], published[:untouched], atol=1e-6)
    # The published rule is the same on scores without the last one.
    np.testing.assert_allclose(smooth_scores(scores[:-1]), published[:29], atol=1e-6)


@pytest.mark.parametrize(
    ("scores", "smoothed"),
    [
        ([], []),
        ([3], [3]),
        ([1, 2], [1.5, 1.5]),
        ([0, 10, 0, 0, 0, 5], [10 / 3, 2.5, 2, 3, 1.25, 5 / 3]),
    ],
    ids=["none", "one", "two", "six"],
)
def test_window_shrinks_at_the_ends(scores: list[float], smoothed: list[float]) -> None:
    found = smooth_scores(np.array(scores, np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, smoothed, rtol=1e-6)


def test_long_tracks_lose_no_precision() -> None:
    scores = np.random.default_rng(0).normal(0, 3, 90000).astype(np.float32)
    found = smooth_scores(scores)
    for index in (2, 50000, 89997):
        assert found[index] == pytest.approx(scores[index - 2 : index + 3].mean(), abs=1e-5)


@pytest.mark.parametrize("num_frames", [0, 1, 2, 5, 100])
def test_steady_motion_stays(num_frames: int) -> None:
    time = np.arange(num_frames)
    boxes = np.stack([time, 2 * time, 50 + time, 60 - time], axis=1).astype(np.float32)
    np.testing.assert_allclose(smooth_boxes(boxes), boxes, atol=1e-3)


def test_trembling_goes() -> None:
    boxes = np.random.default_rng(0).normal(100, 2, (200, 4)).astype(np.float32)
    assert smooth_boxes(boxes).std() < boxes.std() / 2
