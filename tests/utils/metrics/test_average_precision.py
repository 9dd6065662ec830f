"""Average precision is the official one, independent of order; errors name the row."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.parity.references import reference, reference_table
from utils.metrics.average_precision import (
    COLUMNS,
    FaceRows,
    average_precision,
    join,
    read_predictions,
    read_truth,
)

PARITY: dict[str, Any] = reference_table("ava_map")


def write_tables(
    folder: Path, truth: list[dict[str, Any]], predictions: list[dict[str, Any]], header: bool
) -> tuple[Path, Path]:
    """Write both tables as the official ones look; predictions get their label here."""
    called = [{**row, "label": "SPEAKING_AUDIBLE"} for row in predictions]
    for name, rows, columns in (
        ("truth.csv", truth, COLUMNS),
        ("predictions.csv", called, (*COLUMNS, "score")),
    ):
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            if header:
                writer.writeheader()
            writer.writerows(rows)
    return folder / "truth.csv", folder / "predictions.csv"


def published_order() -> list[dict[str, Any]]:
    return [PARITY["rows"][index] for index in PARITY["prediction_order"]]


@pytest.mark.parametrize("header", [True, False], ids=["header", "no header"])
def test_official_number_from_tables(tmp_path: Path, header: bool) -> None:
    truth, predictions = write_tables(tmp_path, PARITY["rows"], published_order(), header)
    labels, scores = join(read_truth(truth), read_predictions(predictions))
    assert len(labels) == len(PARITY["rows"])
    assert 100 * average_precision(labels, scores) == pytest.approx(PARITY["mAP_percent"], abs=1e-9)


@pytest.mark.parametrize("case", PARITY["ranked_labels_ap"], ids=lambda case: str(case["labels"]))
def test_official_number_of_ranked_labels(case: dict[str, Any]) -> None:
    labels = np.array(case["labels"]) == 1
    scores = -np.arange(len(labels), dtype=np.float64)
    assert average_precision(labels, scores) == pytest.approx(case["ap"], abs=1e-9)


def by_definition(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Average precision threshold by threshold, as the definition reads."""
    points = []
    for threshold in np.unique(scores):
        called = scores >= threshold
        hits = np.count_nonzero(labels & called)
        points.append((hits / np.count_nonzero(labels), hits / np.count_nonzero(called)))
    area, reached = 0.0, 0.0
    for recall, _ in sorted(points):
        best = max(precision for other, precision in points if other >= recall)
        area += (recall - reached) * best
        reached = recall
    return area


@pytest.mark.parametrize("levels", [3, 11, 10**9], ids=["many ties", "some ties", "distinct"])
def test_ties_are_one_threshold(levels: int) -> None:
    rng = np.random.default_rng(7)
    scores = rng.integers(levels, size=300) / levels
    labels = rng.random(300) < 0.1 + 0.5 * scores
    expected = by_definition(labels, scores)
    for _ in range(5):
        order = rng.permutation(300)
        assert average_precision(labels[order], scores[order]) == pytest.approx(expected, abs=1e-12)


def test_all_scores_equal_is_the_share_speaking() -> None:
    labels = np.array([True, False, False, True, False])
    assert average_precision(labels, np.zeros(5)) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([False, False], [0.1, 0.2], "none of the 2 labels is SPEAKING_AUDIBLE"),
        ([True, False], [0.1, np.nan], "score 1 is NaN"),
        ([True, False], [0.1], r"got bool \(2,\) and \(1,\)"),
    ],
    ids=["nobody speaks", "NaN", "lengths"],
)
def test_refuses_what_has_no_answer(labels: list[bool], scores: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        average_precision(np.array(labels), np.array(scores))


def face_rows(source: str, rows: list[tuple[str, float, float]]) -> FaceRows:
    """Rows of one video, given as (entity, timestamp, value)."""
    entities = sorted({("v", entity) for entity, _, _ in rows}, reverse=source == "predictions")
    return FaceRows(
        source,
        entities,
        np.array([entities.index(("v", entity)) for entity, _, _ in rows], np.int64),
        np.array([time for _, time, _ in rows]),
        np.array([value for _, _, value in rows]),
    )


TRUTH = [("a", 1.0, 1.0), ("a", 1.04, 0.0), ("b", 1.0, 0.0)]


def test_join_goes_by_key() -> None:
    predictions = [("b", 1.0, 0.3), ("a", 1.0400000001, 0.2), ("a", 1.0, 0.1)]
    labels, scores = join(face_rows("truth", TRUTH), face_rows("predictions", predictions))
    assert sorted(zip(scores.tolist(), labels.tolist(), strict=True)) == [
        (0.1, True),
        (0.2, False),
        (0.3, False),
    ]


@pytest.mark.parametrize(
    ("truth", "predictions", "message"),
    [
        (TRUTH, TRUTH[:1] + TRUTH[2:], r"predictions: no row for .*timestamp 1\.04, entity a of"),
        (TRUTH, TRUTH[:2], r"no row for video v, timestamp 1, entity b of truth \(2 predictions"),
        (TRUTH[:2], TRUTH, r"timestamp 1, entity b is not in truth \(3 predictions for 2 labelled"),
        (TRUTH, [*TRUTH, ("a", 0.5, 0.0)], r"timestamp 0\.5, entity a is not in truth"),
        (TRUTH, [*TRUTH[:2], ("c", 1.0, 0.0)], r"no row for video v, timestamp 1, entity b"),
        (TRUTH, [*TRUTH, TRUTH[1]], r"predictions: duplicate row: .*timestamp 1\.04, entity a"),
        ([*TRUTH, TRUTH[2]], TRUTH, r"truth: duplicate row: .*timestamp 1, entity b"),
        ([*TRUTH[:2], ("b", 1.0, np.nan)], TRUTH, r"truth: no label for .*entity b"),
        (TRUTH, [*TRUTH[:2], ("b", 1.0, np.nan)], r"predictions: no score for .*entity b"),
    ],
    ids=[
        "one missing",
        "last missing",
        "last too many",
        "one too many",
        "another entity",
        "prediction twice",
        "label twice",
        "no label",
        "no score",
    ],
)
def test_join_names_the_row(
    truth: list[tuple[str, float, float]],
    predictions: list[tuple[str, float, float]],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        join(face_rows("truth", truth), face_rows("predictions", predictions))


def test_join_of_empty_predictions() -> None:
    with pytest.raises(ValueError, match=r"entity a of truth \(0 predictions for 3"):
        join(face_rows("truth", TRUTH), face_rows("predictions", []))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "v,9.5,0,0,1,1,SPEAKING,e",
            r"truth\.csv, line 2: expected one of the labels .*'SPEAKING'",
        ),
        ("v,9.5,0,0,1,1,,e", r"line 2: expected one of the labels .*found ''"),
        ("v,nine,0,0,1,1,NOT_SPEAKING,e", "line 2: expected a number for frame_timestamp.*'nine'"),
        ("v,9.5,0,0,1,1,NOT_SPEAKING", "line 2: expected 8 columns, found 7"),
        ("v,9.5,0,0,1,1,NOT_SPEAKING,e", "none of 2 rows is labelled SPEAKING_AUDIBLE"),
    ],
    ids=["unknown label", "no label", "no time", "short row", "split without labels"],
)
def test_truth_names_the_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "truth.csv"
    path.write_text(f"v,9.0,0,0,1,1,NOT_SPEAKING,e\n{line}\n")
    with pytest.raises(ValueError, match=message):
        read_truth(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v,9,0,0,1,1,NOT_SPEAKING,e,0.5", "line 1: a prediction's label must be SPEAKING_AUDIBLE"),
        ("v,9,0,0,1,1,SPEAKING_AUDIBLE,e,nan", "line 1: expected a number for score, found 'nan'"),
        ("v,9,0,0,1,1,SPEAKING_AUDIBLE,e", "line 1: expected 9 columns, found 8"),
        (",".join(COLUMNS), "line 1: no column score; found video_id"),
    ],
    ids=["label", "NaN", "no score", "header without score"],
)
def test_predictions_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(f"{text}\n")
    with pytest.raises(ValueError, match=message):
        read_predictions(path)


def test_header_says_where_columns_stand(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(
        "score,entity_id,label,frame_timestamp,video_id\n0.75,e:1,SPEAKING_AUDIBLE,902.04,v\n"
    )
    rows = read_predictions(path)
    assert list(rows.entities) == [("v", "e:1")]
    assert rows.timestamps.tolist() == [902.04]
    assert rows.values.tolist() == [0.75]


@pytest.mark.parametrize("case", ["distinct", "fourdigits"])
def test_it_is_the_official_one_and_not_scikit_learns(case: str) -> None:
    """The authors' logs show scikit-learn's number, which is lower."""
    expected = reference("asdnet_average_precision")
    labels = expected[f"{case}.labels"] == "SPEAKING_AUDIBLE"
    found = average_precision(labels, expected[f"{case}.scores"])
    assert found == pytest.approx(float(expected[f"{case}.average_precision"]), abs=1e-9)
    assert found > float(expected[f"{case}.sklearn_average_precision"])
