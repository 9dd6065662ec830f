"""The same-person AUC is the share of pairs of pairs in the right order."""

import numpy as np
import pytest

from utils.metrics.verification import same_person_auc


@pytest.mark.parametrize(
    ("similarities", "same", "expected"),
    [
        ([0.9, 0.8, 0.1], [True, True, False], 1.0),
        ([0.9, 0.8, 0.1], [False, False, True], 0.0),
        ([0.9, 0.5, 0.5, 0.1], [True, True, False, False], 0.875),
        ([0.5, 0.5, 0.5], [True, False, False], 0.5),
    ],
    ids=["right", "wrong", "tie", "all alike"],
)
def test_small_cases(similarities: list[float], same: list[bool], expected: float) -> None:
    assert same_person_auc(np.array(similarities), np.array(same)) == expected


def test_by_counting() -> None:
    rng = np.random.default_rng(0)
    values, same = rng.integers(0, 20, 300).astype(float), rng.random(300) < 0.3
    first, second = values[same][:, None], values[~same][None]
    counted = ((first > second) + 0.5 * (first == second)).mean()
    assert same_person_auc(values, same) == pytest.approx(counted)


def test_one_kind_is_missing() -> None:
    assert np.isnan(same_person_auc(np.array([0.1, 0.2]), np.array([True, True])))
    assert np.isnan(same_person_auc(np.array([]), np.array([], bool)))
