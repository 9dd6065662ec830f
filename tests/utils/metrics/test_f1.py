"""F1 and accuracy count correctly, and reject invalid input."""

import numpy as np
import pytest

from utils.metrics.f1 import accuracy, f1


@pytest.mark.parametrize(
    ("labels", "predictions", "expected_f1", "expected_accuracy"),
    [
        ("1100", "1100", 1.0, 1.0),
        ("1100", "0011", 0.0, 0.0),
        ("1110", "1101", 2 / 3, 0.5),
        ("0000", "0000", 0.0, 1.0),
        ("1111", "0000", 0.0, 0.0),
        ("", "", 0.0, 0.0),
    ],
    ids=["right", "wrong", "two of three", "nobody speaks", "nothing found", "empty"],
)
def test_counts(
    labels: str, predictions: str, expected_f1: float, expected_accuracy: float
) -> None:
    truth = np.array([letter == "1" for letter in labels], np.bool_)
    called = np.array([letter == "1" for letter in predictions], np.bool_)
    assert f1(truth, called) == pytest.approx(expected_f1)
    assert accuracy(truth, called) == pytest.approx(expected_accuracy)


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="one prediction for each label, got 3 for 2"):
        f1(np.ones(2, np.bool_), np.ones(3, np.bool_))
    with pytest.raises(ValueError, match=r"predictions must be bool \(N,\), got float64"):
        accuracy(np.ones(2, np.bool_), np.ones(2))  # type: ignore[arg-type]
