"""Probabilities are those of the published post-processing, unless tracks are kept apart."""

from itertools import pairwise

import numpy as np
import pytest

from tests.parity.references import reference
from utils.metrics.average_precision import average_precision
from utils.metrics.smoothed_logits import speaking_probability

ASC, ASDNET = reference("asc_postprocess"), reference("asdnet_postprocess")


@pytest.mark.parametrize("width", [1, 3, 5, 11])
def test_published_medians(width: int) -> None:
    found = speaking_probability(ASC["scores"], width)
    np.testing.assert_allclose(found, ASC[f"ste.w{width}"], atol=1e-9, rtol=0)
    assert [f"{one:.4f}" for one in found] == ASC[f"ste.w{width}.text"].tolist()


def test_published_softmax() -> None:
    found = speaking_probability(ASDNET["scores"])
    np.testing.assert_allclose(found, ASDNET["probability"], atol=1e-9, rtol=0)
    assert [f"{one:.4f}" for one in found] == ASDNET["text"].tolist()


def test_tracks_do_not_mix() -> None:
    logits = ASC["scores"]
    counts = [10, 1, 20, len(logits) - 31]
    found = speaking_probability(logits, 5, counts)
    starts = np.cumsum([0, *counts])
    for start, stop in pairwise(starts.tolist()):
        alone = speaking_probability(logits[start:stop], 5)
        np.testing.assert_array_equal(found[start:stop], alone)
    assert not np.allclose(found, speaking_probability(logits, 5))


def test_extremes() -> None:
    found = speaking_probability(np.array([[0, 5000], [5000, 0], [3, 3]], np.float32))
    assert found.tolist() == [1, 0, 0.5]
    assert speaking_probability(np.empty((0, 2)), 3).shape == (0,)


@pytest.mark.parametrize(
    ("width", "counts", "message"),
    [(4, None, "odd and 1 or more, got 4"), (3, [3], "expected 3 rows of logits, got 37")],
    ids=["even", "rows"],
)
def test_wrong_input(width: int, counts: list[int] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        speaking_probability(ASC["scores"], width, counts)


@pytest.mark.parametrize("case", ["distinct", "fourdigits"])
def test_average_precision_is_the_official_one(case: str) -> None:
    """The authors' logs show scikit-learn's number, which is lower."""
    expected = reference("asdnet_average_precision")
    labels = expected[f"{case}.labels"] == "SPEAKING_AUDIBLE"
    found = average_precision(labels, expected[f"{case}.scores"])
    assert found == pytest.approx(float(expected[f"{case}.average_precision"]), abs=1e-9)
    assert found > float(expected[f"{case}.sklearn_average_precision"])
