"""Scores reach all rows by the nearest window; areas equal scikit-learn's."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.parity.references import reference_table
from utils.metrics.ava_asd import (
    confusion,
    cross_entropy,
    keras_precision_area,
    keras_roc_area,
    nearest_scores,
    roc_area,
    step_precision,
)
from utils.metrics.average_precision import average_precision

DATA: dict[str, Any] = reference_table("ava_asd_data")
LABELS = np.array([row[3] == "SPEAKING_AUDIBLE" for row in DATA["scored"]])
SCORES = np.array([row[4] for row in DATA["scored"]])


def test_published_areas() -> None:
    expected = DATA["sklearn"]
    assert average_precision(LABELS, SCORES) == pytest.approx(DATA["ap_subsampled"], abs=1e-9)
    assert step_precision(LABELS, SCORES) == pytest.approx(expected["ap_speaking"], abs=1e-9)
    assert roc_area(LABELS, SCORES) == pytest.approx(expected["auc"], abs=1e-9)
    assert step_precision(~LABELS, SCORES) == pytest.approx(
        expected["ap_not_speaking_with_same_scores"], abs=1e-9
    )


def test_published_scores_of_all_rows() -> None:
    rows = [row for video in DATA["rows"].values() for row in video]
    numbers: dict[tuple[str, str], int] = {}
    faces = np.array([numbers.setdefault((row[0], row[7]), len(numbers)) for row in rows])
    times = np.array([row[1] for row in rows])
    window_faces = np.array([numbers[row[0], row[2]] for row in DATA["scored"]])
    ends = np.array([row[1] for row in DATA["scored"]])
    found = nearest_scores(faces, times, window_faces, ends, SCORES)
    expected = [np.nan if score is None else score for score in DATA["original_scores"]]
    np.testing.assert_array_equal(found, expected)
    speaking = np.array([row[6] == "SPEAKING_AUDIBLE" for row in rows])
    ap = average_precision(speaking, np.nan_to_num(found))
    assert ap == pytest.approx(DATA["ap_original"], abs=6e-3)


def test_nearest_window() -> None:
    faces = np.array([0, 0, 0, 0, 1, 2])
    times = np.array([9.0, 1.0, 2.0, 2.1, 5.0, 5.0])
    found = nearest_scores(
        faces, times, np.array([0, 0, 1]), np.array([3.0, 1.0, 0.0]), np.array([0.3, 0.1, 0.5])
    )
    np.testing.assert_array_equal(found, [0.3, 0.1, 0.1, 0.3, 0.5, np.nan])


def test_without_rows_or_windows() -> None:
    none = np.empty(0, np.int64)
    assert nearest_scores(none, none.astype(float), none, none.astype(float), SCORES[:0]).size == 0
    found = nearest_scores(np.array([0]), np.array([1.0]), none, none.astype(float), SCORES[:0])
    assert np.isnan(found).all()


@pytest.mark.parametrize(
    ("labels", "scores", "precision", "area"),
    [
        ([1, 0], [0.9, 0.1], 1.0, 1.0),
        ([0, 1], [0.9, 0.1], 0.5, 0.0),
        ([1, 0], [0.5, 0.5], 0.5, 0.5),
        ([1, 0, 1, 0], [0.8, 0.8, 0.3, 0.1], 7 / 12, 0.625),
    ],
    ids=["right", "wrong", "tied", "half tied"],
)
def test_areas(labels: list[int], scores: list[float], precision: float, area: float) -> None:
    truth, given = np.array(labels, np.bool_), np.array(scores)
    assert step_precision(truth, given) == pytest.approx(precision)
    assert roc_area(truth, given) == pytest.approx(area)


def drawn(seed: int, count: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.4
    return labels, np.clip(rng.normal(0.35 + 0.3 * labels, 0.2), 0, 1).round(3)


@pytest.mark.parametrize(
    ("labels", "likely", "roc", "precision"),
    [
        (*drawn(0, 60), 0.815416693687439, 0.8248770833015442),
        (*drawn(2, 7), 0.9795918464660645, 0.9809240698814392),
        (*drawn(3, 500), 0.8562299609184265, 0.8490194082260132),
        (np.array([True, False]), np.array([0.1, 0.9]), 0.0, 0.3068528175354004),
        (np.array([1, 0, 1, 0]) > 0, np.array([0.8, 0.8, 0.3, 0.1]), 0.6875, 0.7281209826469421),
        (np.array([True, True]), np.array([0.5, 0.5]), 0.5, 0.5),
    ],
    ids=["60", "7", "500", "wrong", "tied", "one class"],
)
def test_areas_are_those_of_keras(
    labels: NDArray[np.bool_], likely: NDArray[np.float64], roc: float, precision: float
) -> None:
    """The numbers are those of keras.metrics.AUC, Keras 3.15, for both columns of a softmax."""
    assert keras_roc_area(labels, likely) == pytest.approx(roc, abs=1e-6)
    assert keras_precision_area(labels, likely) == pytest.approx(precision, abs=1e-6)


def areas_by_counting(
    labels: NDArray[np.bool_], likely: NDArray[np.float64]
) -> tuple[float, float]:
    """Derive both areas from the definitions, threshold by threshold."""
    columns = [(bool(label), float(one)) for label, one in zip(labels, likely, strict=True)]
    columns += [(not label, 1 - one) for label, one in columns]
    thresholds = [-1e-7, *(i / 199 for i in range(1, 199)), 1 + 1e-7]
    counts = [
        (
            sum(label and one > threshold for label, one in columns),
            sum(not label and one > threshold for label, one in columns),
        )
        for threshold in thresholds
    ]
    num = len(labels)
    roc = precision = 0.0
    for (tp, fp), (next_tp, next_fp) in itertools.pairwise(counts):
        roc += (fp - next_fp) / num * (tp + next_tp) / num / 2
        called, next_called = tp + fp, next_tp + next_fp
        slope = (tp - next_tp) / (called - next_called) if called > next_called else 0.0
        start = next_tp - slope * next_called
        ratio = called / next_called if called and next_called else 1.0
        precision += slope * (tp - next_tp + start * math.log(ratio)) / num
    return roc, precision


@pytest.mark.parametrize("count", [1, 2, 30, 400])
def test_areas_by_counting(count: int) -> None:
    for seed in range(5):
        labels, likely = drawn(seed, count)
        roc, precision = areas_by_counting(labels, likely)
        assert keras_roc_area(labels, likely) == pytest.approx(roc, abs=1e-12)
        assert keras_precision_area(labels, likely) == pytest.approx(precision, abs=1e-12)


def test_cross_entropy() -> None:
    labels, likely = np.array([True, False, False]), np.array([0.25, 0.5, 0.0])
    assert cross_entropy(labels, likely) == pytest.approx((math.log(4) + math.log(2)) / 3)
    assert cross_entropy(labels[:1], np.zeros(1)) == pytest.approx(-math.log(2**-52))
    with pytest.raises(ValueError, match="as many scores"):
        keras_roc_area(labels, likely[:2])
    with pytest.raises(ValueError, match="score 0 is NaN"):
        cross_entropy(labels[:1], np.full(1, np.nan))


def test_confusion() -> None:
    labels = np.array([True, True, True, False])
    found: NDArray[np.int64] = confusion(labels, np.array([True, False, True, False]))
    assert found.tolist() == [[1, 0], [1, 2]]


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match="needs a positive label, none of 2 is"):
        step_precision(np.zeros(2, np.bool_), np.zeros(2))
    with pytest.raises(ValueError, match="positive and negative labels, got 2 and 0"):
        roc_area(np.ones(2, np.bool_), np.zeros(2))
    with pytest.raises(ValueError, match="score 1 is NaN"):
        roc_area(np.array([True, False]), np.array([0, np.nan]))
    with pytest.raises(ValueError, match="as many scores"):
        step_precision(np.ones(2, np.bool_), np.zeros(3))
