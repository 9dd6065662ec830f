"""Errors are counted by person and situation; corrections get the weight that they deserve."""

import numpy as np
import pytest

from model.shipped.film_scores import (
    ScoredPairing,
    correction_weights,
    count_errors,
    mean_rates,
    ordinary_precision,
    rate_intervals,
    reliability,
)


def scored(person: str, situation: str, labels: list[int], scores: list[float]) -> ScoredPairing:
    return ScoredPairing(
        person, situation, np.array(labels, np.int8), {"net": np.array(scores, np.float32)}
    )


PAIRINGS = [
    scored("ann", "own", [1, 1, 1, 1, -1, 0], [1, 1, 1, -1, 9, 1]),
    scored("bob", "own", [1, 0], [1, -1]),
    scored("ann", "other", [0, 0], [1, -1]),
    scored("bob", "over", [1, 1], [-1, 1]),
]


def test_rates_are_means_over_people() -> None:
    assert mean_rates(count_errors(PAIRINGS, "net")) == {
        "misses": 0.125,
        "error": 0.2,
        "false own": 0.5,
        "false other": 0.5,
        "misses over": 0.5,
    }


def test_intervals_hold_the_mean() -> None:
    counts = count_errors(PAIRINGS, "net")
    intervals = rate_intervals(counts, np.random.default_rng(0))
    assert intervals["misses"] == (0, 0.25)
    assert intervals["false other"] == (0.5, 0.5)


def test_precision_is_of_ordinary_frames() -> None:
    own = scored("ann", "own", [1, 0, 1, -1, 0], [4, 3, 2, 9, 1])
    other = scored("ann", "other", [0], [8])
    assert ordinary_precision([own, other], "net") == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("worth", [0.0, 0.5])
def test_a_correction_counts_what_it_is_worth(worth: float) -> None:
    """Scores whose log-odds are known: the first one plus a part of the correction."""
    rng = np.random.default_rng(0)
    pairings = []
    for number in range(20):
        first, correction = rng.normal(0, 2, (2, 2000))
        odds = first + worth * correction - 0.4
        labels = (rng.random(2000) < 1 / (1 + np.exp(-odds))).astype(np.int8)
        scores = {"first": first.astype(np.float32), "more": correction.astype(np.float32)}
        pairings.append(ScoredPairing(f"p{number}", "own", labels, scores))
    weight, offset = correction_weights(pairings, "first", "more")
    assert weight == pytest.approx(worth, abs=0.03)
    assert offset == pytest.approx(-0.4, abs=0.05)


def test_calibrated_scores_are_reliable() -> None:
    """Scores that are half of true log-odds: frames speak as often as predicted, in all thirds."""
    rng = np.random.default_rng(0)
    pairings = []
    for number in range(20):
        odds = rng.normal(0, 2, 3000)
        labels = (rng.random(3000) < 1 / (1 + np.exp(-odds))).astype(np.int8)
        match = rng.normal(0, 1, 3000).astype(np.float32)
        scores = {"net": (odds / 2).astype(np.float32), "match": match}
        pairings.append(ScoredPairing(f"p{number}", "own", labels, scores))
    rows = reliability(pairings, "net", "match")
    assert {row.evidence for row in rows} == {"weak", "middling", "strong"}
    assert sum(row.share for row in rows) == pytest.approx(1)
    for row in rows:
        assert row.observed == pytest.approx(row.predicted, abs=0.04)
