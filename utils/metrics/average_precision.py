"""Average precision over faces, by the official definition of AVA-ActiveSpeaker.

The tables have AVA's format: one row for each face and time. Ground truth and predictions are
joined by (video, timestamp, entity), not by the order of the rows; the boxes are ignored.
"""

import csv
import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError

COLUMNS = (  # in this order if a table has no header
    "video_id",
    "frame_timestamp",
    "entity_box_x1",
    "entity_box_y1",
    "entity_box_x2",
    "entity_box_y2",
    "label",
    "entity_id",
)
LABELS = {"SPEAKING_AUDIBLE": 1.0, "NOT_SPEAKING": 0.0, "SPEAKING_NOT_AUDIBLE": 0.0}
POSITIVE = "SPEAKING_AUDIBLE"
STEPS_PER_S = 1_000_000  # timestamps closer than a microsecond are equal


@dataclass(frozen=True, eq=False)
class FaceRows:
    """The rows of a table: the label (1 or 0) or the score of each face at each time."""

    source: str  # name for error messages, such as the file
    entities: Sequence[tuple[str, str]]  # (video, entity), each once
    entity: NDArray[np.int64]  # (N,) index into entities
    timestamps: NDArray[np.float64]  # (N,) s
    values: NDArray[np.float64]  # (N,)

    def __post_init__(self) -> None:
        shapes = {self.entity.shape, self.timestamps.shape, self.values.shape}
        if len(shapes) != 1 or self.entity.ndim != 1:
            raise ValueError(f"{self.source}: columns must be (N,) each, got {sorted(shapes)}")

    def __len__(self) -> int:
        return len(self.entity)

    def describe(self, row: int) -> str:
        """Return the row's key for an error message."""
        video, entity = self.entities[int(self.entity[row])]
        return f"video {video}, timestamp {self.timestamps[row]:.10g}, entity {entity}"


def average_precision(labels: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """Return the area under the precision-recall envelope, in [0, 1].

    All points are used (VOC since 2010): each step of recall is weighted by the highest precision
    at that recall or above. Equal scores form one threshold, so the result does not depend on the
    order of the rows. With distinct scores it equals the official number; for ties the official
    script has no defined order.

    Args:
        labels: (N,) whether each face is speaking; at least one must be.
        scores: (N,) higher is more likely speaking; any scale, no NaN.
    """
    if labels.ndim != 1 or labels.dtype != np.bool_ or labels.shape != scores.shape:
        raise ValueError(
            "expected bool labels (N,) and as many scores, "
            f"got {labels.dtype} {labels.shape} and {scores.shape}"
        )
    if np.isnan(scores).any():
        raise ValueError(f"score {int(np.argmax(np.isnan(scores)))} is NaN")
    if not labels.any():
        raise UserError(
            "average precision needs speaking faces: none of the "
            f"{len(labels)} labels is {POSITIVE}"
        )
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_ties = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    num_true = np.cumsum(labels[order])[last_of_ties]
    precision = num_true / (last_of_ties + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    recall_steps = np.diff(num_true, prepend=0) / num_true[-1]
    return float(np.sum(recall_steps * envelope))


def join(truth: FaceRows, predictions: FaceRows) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return labels and scores (N,) of the same faces, for any order of the rows.

    Raises:
        UserError: A row is missing, duplicated or without a value; the message names it.
    """
    names = {key: number for number, key in enumerate(truth.entities)}
    for key in predictions.entities:
        names.setdefault(key, len(names))
    ordered = []
    for rows, value in ((truth, "label"), (predictions, "score")):
        if np.isnan(rows.values).any():
            row = int(np.argmax(np.isnan(rows.values)))
            raise UserError(f"{rows.source}: no {value} for {rows.describe(row)}")
        numbers = np.array([names[key] for key in rows.entities], np.int64)
        times = np.rint(rows.timestamps * STEPS_PER_S).astype(np.int64)
        keys = np.stack([numbers[rows.entity], times])  # (2, N)
        order = np.lexsort(keys[::-1])
        keys = keys[:, order]
        twice = np.flatnonzero((keys[:, 1:] == keys[:, :-1]).all(axis=0))
        if len(twice):
            raise UserError(f"{rows.source}: duplicate row: {rows.describe(order[twice[0]])}")
        ordered.append((keys, order))
    (true_keys, true_order), (keys, order) = ordered
    if true_keys.shape != keys.shape or (true_keys != keys).any():
        raise UserError(describe_difference(truth, predictions, ordered))
    return truth.values[true_order] > 0, predictions.values[order]


def describe_difference(
    truth: FaceRows,
    predictions: FaceRows,
    ordered: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> str:
    """Return a message about the first row that the two sorted tables do not share."""
    (true_keys, true_order), (keys, order) = ordered
    shared = min(len(truth), len(predictions))
    differ = (true_keys[:, :shared] != keys[:, :shared]).any(axis=0)
    first = int(np.argmax(differ)) if differ.any() else shared
    counts = f"{len(predictions)} predictions for {len(truth)} labelled faces"
    unknown = first == len(truth) or (
        first < len(predictions) and tuple(keys[:, first]) < tuple(true_keys[:, first])
    )
    if unknown:
        return (
            f"{predictions.source}: {predictions.describe(order[first])} is not in "
            f"{truth.source} ({counts}); predict exactly the labelled faces"
        )
    return (
        f"{predictions.source}: no row for {truth.describe(true_order[first])} of "
        f"{truth.source} ({counts}); predict every labelled face"
    )


def read_truth(path: Path) -> FaceRows:
    """Read an AVA table of labels, with or without its header.

    Raises:
        UserError: Nobody speaks, as in splits whose labels are not public.
    """
    rows = read_rows(path, "label", read_label)
    if not rows.values.any():
        raise UserError(
            f"{path}: none of {len(rows)} rows is labelled {POSITIVE}; a split without labels "
            "(AVA's are public for train and val only) cannot be evaluated"
        )
    return rows


def read_predictions(path: Path) -> FaceRows:
    """Read an AVA table of predictions, with or without a header; the score is the last column."""
    return read_rows(path, "score", read_score)


def read_label(row: Sequence[str], columns: Mapping[str, int]) -> float:
    """Return 1 for a speaking face, 0 for any other."""
    label = row[columns["label"]]
    if label not in LABELS:
        raise UserError(f"expected one of the labels {', '.join(LABELS)}, found {label!r}")
    return LABELS[label]


def read_score(row: Sequence[str], columns: Mapping[str, int]) -> float:
    """Return the score of a predicted face."""
    label = row[columns["label"]]
    if label != POSITIVE:
        raise UserError(f"a prediction's label must be {POSITIVE}, found {label!r}")
    return read_number(row[columns["score"]], "score")


def read_number(text: str, meaning: str) -> float:
    """Parse a finite number."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"expected a number for {meaning}, found {text!r}")
    return number


def read_rows(
    path: Path, value: str, read_value: Callable[[Sequence[str], Mapping[str, int]], float]
) -> FaceRows:
    """Read a table row by row; a header, if present, defines the order of the columns.

    Args:
        path: The table, comma-separated.
        value: Name of the column that `read_value` reads.
        read_value: Parses the value from a row and the columns' positions.
    """
    entities: dict[tuple[str, str], int] = {}
    entity, timestamps, values = array("q"), array("d"), array("d")
    needed = dict.fromkeys((*COLUMNS, value))
    columns = {name: index for index, name in enumerate(needed)}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        width = len(columns)
        try:
            for row in reader:
                if reader.line_num == 1 and "frame_timestamp" in row:
                    columns = {name: index for index, name in enumerate(row)}
                    width = len(row)
                    check_header(columns, value)
                    continue
                if len(row) < width:
                    raise UserError(f"expected {width} columns, found {len(row)}")
                key = (row[columns["video_id"]], row[columns["entity_id"]])
                entity.append(entities.setdefault(key, len(entities)))
                timestamps.append(read_number(row[columns["frame_timestamp"]], "frame_timestamp"))
                values.append(read_value(row, columns))
        except (ValueError, csv.Error) as error:
            raise UserError(f"{path}, line {reader.line_num}: {error}") from error
    return FaceRows(
        str(path),
        list(entities),
        np.array(entity, np.int64),
        np.array(timestamps, np.float64),
        np.array(values, np.float64),
    )


def check_header(columns: Mapping[str, int], value: str) -> None:
    """Raise UserError if the header lacks a required column."""
    missing = [
        name
        for name in ("video_id", "frame_timestamp", "label", "entity_id", value)
        if name not in columns
    ]
    if missing:
        raise UserError(f"no column {', '.join(missing)}; found {', '.join(columns)}")
