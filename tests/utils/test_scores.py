"""Scores are smoothed by the published rules without their errors; probabilities are exact."""

import numpy as np
import pytest

from tests.parity.references import reference
from utils.scores import smooth_logits, smooth_scores, speaking_probability

PUBLISHED = reference("smoothing")
ASC, ASDNET = reference("asc_postprocess"), reference("asdnet_postprocess")


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


@pytest.mark.parametrize("width", [1, 3, 5, 11])
def test_published_medians(width: int) -> None:
    found = speaking_probability(smooth_logits(ASC["scores"], width))
    np.testing.assert_allclose(found, ASC[f"ste.w{width}"], atol=1e-9, rtol=0)
    assert [f"{one:.4f}" for one in found] == ASC[f"ste.w{width}.text"].tolist()


def test_published_softmax() -> None:
    found = speaking_probability(ASDNET["scores"])
    np.testing.assert_allclose(found, ASDNET["probability"], atol=1e-9, rtol=0)
    assert [f"{one:.4f}" for one in found] == ASDNET["text"].tolist()


def test_extreme_logits() -> None:
    found = speaking_probability(np.array([[0, 5000], [5000, 0], [3, 3]], np.float32))
    assert found.tolist() == [1, 0, 0.5]
    assert speaking_probability(smooth_logits(np.empty((0, 2)), 3)).shape == (0,)


def test_even_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="odd and 1 or more, got 4"):
        smooth_logits(ASC["scores"], 4)
