"""Distances, errors, precision and recall equal the published evaluation."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.parity.references import reference
from utils.metrics.localisation import (
    WIDTH,
    Errors,
    LocalisedFrames,
    active_truth,
    area,
    best_f1,
    errors,
    group_f1,
    is_greater,
    pool,
    precision_recall,
    smoothed_precision,
    thresholds,
)

MADE = reference("tragic_metrics")
REAL = reference("tragic_eval_real")
PUBLISHED = reference("tragic_pr_published")


def group_of(name: str) -> tuple[str, int]:
    sequence, camera = name.split("-cam")
    return sequence, 1 + (int(camera) >= 12)


def grouped(views: dict[str, LocalisedFrames]) -> list[LocalisedFrames]:
    groups: dict[tuple[str, int], list[LocalisedFrames]] = {}
    for name, frames in views.items():
        groups.setdefault(group_of(name), []).append(frames)
    return [pool(parts) for parts in groups.values()]


def made() -> list[LocalisedFrames]:
    views = {}
    for key in MADE:
        name, _, what = key.rpartition(".")
        if what == "gt_x":
            truth = active_truth(MADE[key], MADE[f"{name}.gt_speaking"].astype(bool))
            found = MADE[f"{name}.pred_x"] * WIDTH
            views[name] = LocalisedFrames(*truth, found, MADE[f"{name}.pred_conf"])
    return grouped(views)


def real() -> list[LocalisedFrames]:
    views = {}
    columns = {key: REAL[f"asc_s_{key}.values"][REAL[f"asc_s_{key}"]] for key in ("x", "conf")}
    for number, name in enumerate(REAL["cameras"].tolist()):
        rows = slice(*REAL["offsets"][number : number + 2])
        people = (1, 2) if REAL["two_people"][number] else (1,)
        xs = np.stack([REAL[f"gt_x{person}"][rows] for person in people])
        speaking = np.stack([REAL[f"gt_speaking{person}"][rows] for person in people]).astype(bool)
        truth = active_truth(xs, speaking)
        views[name] = LocalisedFrames(*truth, columns["x"][rows] * WIDTH, columns["conf"][rows])
    assert sum(map(len, views.values())) == 78715
    return grouped(views)


def check(groups: list[LocalisedFrames], expected: dict[str, Any]) -> None:
    found = errors(groups)
    assert found.distance == pytest.approx(expected["aD_pixels"], abs=1e-5)
    assert found.distance_error == pytest.approx(expected["aD_standard_error"], abs=1e-5)
    assert found.detection == pytest.approx(expected["detection_error_percent"], abs=1e-5)
    assert found.detection_error == pytest.approx(expected["detection_standard_error"], abs=1e-5)


def check_matrix(matrix: NDArray[np.float64], expected: dict[str, Any]) -> None:
    assert area(matrix) == pytest.approx(expected["AP"], abs=1e-9)
    f1, row = best_f1(matrix)
    assert f1 == pytest.approx(expected["F1"], abs=1e-9)
    assert row == expected["F1_row"]


@pytest.mark.parametrize("tolerance", [89, 222])
def test_made_up_data_give_the_official_numbers(tolerance: int) -> None:
    expected = json.loads(str(MADE["results_json"]))[str(tolerance)]
    groups = made()
    check(groups, expected)
    matrix = precision_recall(pool(groups), tolerance)
    np.testing.assert_array_equal(matrix[:, 1:4], MADE[f"precision_recall_{tolerance}"][:, 1:4])
    np.testing.assert_allclose(matrix, MADE[f"precision_recall_{tolerance}"], rtol=0, atol=1e-9)
    smoothed = smoothed_precision(matrix)
    np.testing.assert_allclose(smoothed, MADE[f"smoothed_precision_{tolerance}"], atol=1e-12)
    check_matrix(matrix, expected)


def test_real_predictions_give_the_published_numbers() -> None:
    groups = real()
    expected = json.loads(str(REAL["results_json"]))["asc_s"]
    check(groups, expected)
    matrix = precision_recall(pool(groups), 89)
    np.testing.assert_array_equal(matrix[:, 1:4], REAL["asc_s_precision_recall_89"][:, 1:4])
    np.testing.assert_allclose(matrix, REAL["asc_s_precision_recall_89"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(matrix, PUBLISHED["ASC(s)"], rtol=0, atol=1e-9)
    check_matrix(matrix, expected)


@pytest.mark.parametrize("system", json.loads(str(PUBLISHED["results_json"])))
def test_published_matrices_give_the_published_numbers(system: str) -> None:
    matrix = PUBLISHED[system].astype(np.float64)
    check_matrix(matrix, json.loads(str(PUBLISHED["results_json"]))[system])
    rows = [row[None] for row in PUBLISHED[f"seqPR_at_F1_row.{system}"]]
    np.testing.assert_allclose(group_f1(rows, 0), PUBLISHED[f"seqF1.{system}"], atol=1e-9)


def test_truth_to_learn_from_beats_voice_activity() -> None:
    found = is_greater(*(PUBLISHED[f"seqF1.gcc_GT_{by}"].astype(float) for by in ("GT", "VAD")))
    expected = PUBLISHED["ttest_gcc_GT_GT_greater_than_gcc_GT_VAD"]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_thresholds_are_the_published_ones() -> None:
    np.testing.assert_allclose(thresholds(), PUBLISHED["gcc_GT_GT"][:, 0], rtol=1e-12)


def test_the_first_of_several_speakers_counts() -> None:
    positions = np.array([[1, 2, 3], [10, 20, 30]])
    speaking = np.array([[True, False, False], [True, True, False]])
    found, anybody = active_truth(positions, speaking)
    assert found.tolist() == [1, 20, 30]
    assert anybody.tolist() == [True, True, False]


def test_nobody_speaking_and_nothing_heard() -> None:
    silent = LocalisedFrames(np.zeros(4), np.zeros(4, bool), np.zeros(4), np.zeros(4))
    found = errors([silent])
    assert found.detection == 0
    assert np.isnan(found.distance)
    matrix = precision_recall(silent)
    assert area(matrix) == 0
    assert best_f1(matrix) == (0.0, 0)


def test_perfect_hearing() -> None:
    speaking = np.array([True, False, True])
    frames = LocalisedFrames(np.arange(3.0), speaking, np.arange(3.0), speaking.astype(float))
    assert errors([frames, frames]) == Errors(0, 0, 0, 0)
    assert best_f1(precision_recall(frames)) == (1.0, 0)


@pytest.mark.parametrize(
    ("confidences", "problem"),
    [(np.zeros(2), r"\(N,\) frames"), (np.array([0.1, np.nan, 0.2]), "finite confidences")],
    ids=["other length", "no number"],
)
def test_wrong_frames_are_errors(confidences: NDArray[np.float64], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        LocalisedFrames(np.zeros(3), np.zeros(3, bool), np.zeros(3), confidences)
