"""Compute the official average precision of a scored split."""

import csv
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.evaluation.entity_scores import EntityScores
from utils.datasets.entities import SPEAKING, UNLABELLED, DataSet
from utils.errors import UserError
from utils.files import replacing
from utils.metrics.average_precision import (
    COLUMNS,
    POSITIVE,
    FaceRows,
    average_precision,
    join,
    read_truth,
)
from utils.scores import smooth_logits

logger = logging.getLogger(__name__)

SAME_S = 0.011  # times this close are equal: crops are named by hundredths of a second


def check_labels(dataset: DataSet, source: str) -> None:
    """Check that a split can be evaluated, before any work.

    Raises:
        UserError: Nobody speaks, as in splits whose labels are not public.
    """
    if not any(entity.num_speaking for entity in dataset.entities):
        raise UserError(
            f"{source}: none of {len(dataset.entities)} entities is labelled as speaking; a split "
            "without labels (AVA's are public for train and val only) cannot be evaluated"
        )


def measure_split(
    scored: Sequence[EntityScores], table: Path | None, target: Path | None, smooth: int = 1
) -> float:
    """Return the average precision on a split, in [0, 1]; write the predictions.

    Args:
        scored: The scores of all its entities.
        table: The official labels, if any; else the data set's own are used.
        target: File for the predictions; None to write none.
        smooth: Length of a median filter of the logits, frames.
    """
    if smooth > 1:
        scored = [replace(entity, logits=smooth_logits(entity.logits, smooth)) for entity in scored]
    if table is not None:
        return measure_table(table, scored, target)
    if target is not None:
        write_predictions(scored, target)
    return measure(scored)


def measure(scored: Sequence[EntityScores]) -> float:
    """Return the average precision by the data set's own labels; unlabelled frames are left out."""
    truth, predictions = (
        _rows(scored, source, values)
        for source, values in (("labels", _labels), ("predictions", _probabilities))
    )
    return average_precision(*join(truth, predictions))


def _labels(entity: EntityScores) -> NDArray[np.float64]:
    return np.where(entity.labels == SPEAKING, 1.0, 0.0)


def _probabilities(entity: EntityScores) -> NDArray[np.float64]:
    return entity.probabilities.astype(np.float64)


def _rows(
    scored: Sequence[EntityScores],
    source: str,
    values: Callable[[EntityScores], NDArray[np.float64]],
) -> FaceRows:
    """Return the labelled frames of all entities as rows."""
    labelled = [entity.labels != UNLABELLED for entity in scored]
    counts = [int(mask.sum()) for mask in labelled]
    pairs = list(zip(scored, labelled, strict=True))
    return FaceRows(
        source,
        [(entity.video, entity.name) for entity in scored],
        np.repeat(np.arange(len(scored)), counts),
        np.concatenate([entity.timestamps[mask] for entity, mask in pairs]),
        np.concatenate([values(entity)[mask] for entity, mask in pairs]),
    )


def measure_table(table: Path, scored: Sequence[EntityScores], target: Path | None) -> float:
    """Return the average precision by an official table; write the predictions.

    Rows of entities that the data set lacks (missing videos) are left out and counted.

    Args:
        table: AVA's labels.
        scored: The scored entities.
        target: File for the predictions in the official format; None to write none.
    """
    truth = read_truth(table)
    found = look_up(truth, scored)
    present = ~np.isnan(found)
    if target is not None:
        write_table(table, found, target)
    if not present.all():
        logger.warning(
            "%s: %d of %d rows are of missing entities; the result is of the others and cannot be "
            "compared with published ones",
            table,
            int((~present).sum()),
            len(found),
        )
    return average_precision(truth.values[present] > 0, found[present])


def look_up(truth: FaceRows, scored: Sequence[EntityScores]) -> NDArray[np.float64]:
    """Return the probability of each row, found by entity and time; NaN for missing entities.

    Raises:
        UserError: An entity lacks a time; the message names the row.
    """
    entities = {(entity.video, entity.name): entity for entity in scored}
    found = np.full(len(truth), np.nan)
    order = np.argsort(truth.entity, kind="stable")
    edges = np.searchsorted(truth.entity[order], np.arange(len(truth.entities) + 1))
    for number, key in enumerate(truth.entities):
        entity = entities.get(key)
        if entity is None:
            continue
        rows = order[edges[number] : edges[number + 1]]
        nearest = _nearest(entity.timestamps, truth.timestamps[rows])
        late = np.abs(entity.timestamps[nearest] - truth.timestamps[rows]) > SAME_S
        if late.any():
            raise UserError(
                f"{truth.source}: no prediction for {truth.describe(rows[np.argmax(late)])}; the "
                "data do not match the table: prepare them again"
            )
        found[rows] = entity.probabilities[nearest]
    return found


def _nearest(sorted_times: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each time the index of the nearest of the sorted times."""
    right = np.searchsorted(sorted_times, times).clip(1, max(1, len(sorted_times) - 1))
    left = right - 1
    right = right.clip(max=len(sorted_times) - 1)
    to_left, to_right = (np.abs(sorted_times[side] - times) for side in (left, right))
    chosen: NDArray[np.int64] = np.where(to_left <= to_right, left, right)
    return chosen


def write_table(table: Path, found: NDArray[np.float64], target: Path) -> None:
    """Write the rows of a table of labels as predictions, with its boxes and order."""
    with (
        replacing(target) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as out,
        table.open(newline="", encoding="utf-8-sig") as file,
    ):
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow((*COLUMNS, "score"))
        columns = list(range(len(COLUMNS)))
        rows = iter(found.tolist())
        for row in csv.reader(file):
            if "frame_timestamp" in row:
                columns = [row.index(name) for name in COLUMNS]
                continue
            score = next(rows)
            if not math.isnan(score):
                cells = [row[column] for column in columns]
                cells[COLUMNS.index("label")] = POSITIVE
                writer.writerow((*cells, repr(score)))


def write_predictions(scored: Sequence[EntityScores], target: Path) -> None:
    """Write predictions with AVA's columns; the boxes, which data sets do not have, are empty."""
    with (
        replacing(target) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as out,
    ):
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow((*COLUMNS, "score"))
        for entity in scored:
            for time_s, score in zip(entity.timestamps, entity.probabilities, strict=True):
                key = (entity.video, repr(float(time_s)), "", "", "", "", POSITIVE, entity.name)
                writer.writerow((*key, repr(float(score))))
