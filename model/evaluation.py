"""Score a split of a data set and measure it by the official average precision."""

import csv
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from model.contract import Network
from model.ranks import Ranks
from model.scoring import Precision, probabilities, track_logits
from utils.datasets.entities import SPEAKING, UNLABELLED, DataSet
from utils.files import replacing
from utils.metrics.average_precision import (
    COLUMNS,
    POSITIVE,
    FaceRows,
    average_precision,
    join,
    read_truth,
)
from utils.structures import FPS

logger = logging.getLogger(__name__)

FEW_FRAMES = 20_000  # for fewer, starting processes that read takes longer than reading
SAME_S = 0.011  # times this close are one moment: crops are named by hundredths of a second


@dataclass(frozen=True)
class EvaluationOptions:
    """How entities are scored."""

    windows: Sequence[int] | None = None  # s; None reads each entity whole, as published
    precision: Precision = "fp32"
    num_workers: int = 0  # processes that read


@dataclass(frozen=True, eq=False)
class EntityScores:
    """What a network says of an entity, frame by frame."""

    video: str
    name: str
    timestamps: NDArray[np.float64]  # (T,) s
    labels: NDArray[np.int8]  # (T,)
    probabilities: NDArray[np.float32]  # (T,)


class _Entity(NamedTuple):
    """An entity as the scorer needs it."""

    number: int  # in the data set
    faces: NDArray[np.uint8]
    features: NDArray[np.float32]
    labels: NDArray[np.int8]
    timestamps: NDArray[np.float64]


class _Reader(Dataset[_Entity]):
    """Reads entities, longest first, in worker processes."""

    def __init__(self, dataset: DataSet, feature: str, numbers: Sequence[int]) -> None:
        self.dataset, self.feature, self.numbers = dataset, feature, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> _Entity:
        number = self.numbers[place]
        part = self.dataset.read(number)
        module = import_module(f"utils.features.{self.feature}")
        rows = getattr(module, self.feature)(part.waveform, self.dataset.entities[number].fps)
        features = module.align(rows, len(part.faces))
        return _Entity(number, part.faces, features, part.labels, part.timestamps)


def score_split(
    network: Network,
    dataset: DataSet,
    options: EvaluationOptions,
    ranks: Ranks,
    progress: Callable[[int], None] | None = None,
) -> list[EntityScores]:
    """Return the scores of every entity, in the data set's order; each process has them all.

    Args:
        network: Scores on its own device; left as it is.
        dataset: The split.
        options: How.
        ranks: The processes that share the work.
        progress: Told how many frames this process has scored.
    """
    lengths = [entity.num_frames for entity in dataset.entities]
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    own: dict[int, EntityScores] = {}
    done = 0
    for entity in _read(dataset, network.inputs.feature, order[ranks.rank :: ranks.size], options):
        windows = options.windows or (max(1, math.ceil(len(entity.faces) / FPS)),)
        logits = track_logits(network, entity.faces, entity.features, windows, options.precision)
        info = dataset.entities[entity.number]
        found = probabilities(logits)
        own[entity.number] = EntityScores(
            info.video, info.name, entity.timestamps, entity.labels, found
        )
        done += len(found)
        if progress is not None:
            progress(done)
    scored = {index: one for part in ranks.gather(own) for index, one in part.items()}
    return [scored[index] for index in range(len(lengths))]


def _read(
    dataset: DataSet, feature: str, numbers: Sequence[int], options: EvaluationOptions
) -> Iterable[_Entity]:
    """Return entities, read ahead by worker processes if there are to be any."""
    reader = _Reader(dataset, feature, numbers)
    num_workers = min(options.num_workers, len(numbers))
    if num_workers == 0:
        return (reader[place] for place in range(len(reader)))
    return DataLoader(
        reader,
        batch_size=None,
        num_workers=num_workers,
        collate_fn=cast(Any, _as_it_is),
        multiprocessing_context="spawn",
    )


def _as_it_is(entity: _Entity) -> _Entity:
    return entity


def check_labels(dataset: DataSet, source: str) -> None:
    """Refuse a split that cannot be evaluated, before any work.

    Raises:
        ValueError: Nobody speaks in it: so look splits whose labels are not public.
    """
    if not any(entity.num_speaking for entity in dataset.entities):
        raise ValueError(
            f"{source}: none of {len(dataset.entities)} entities is labelled as speaking; a split "
            "without labels (AVA's are public for train and val only) cannot be evaluated"
        )


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
    counts = [int(known.sum()) for known in labelled]
    pairs = list(zip(scored, labelled, strict=True))
    return FaceRows(
        source,
        [(entity.video, entity.name) for entity in scored],
        np.repeat(np.arange(len(scored)), counts),
        np.concatenate([entity.timestamps[known] for entity, known in pairs]),
        np.concatenate([values(entity)[known] for entity, known in pairs]),
    )


def measure_table(table: Path, scored: Sequence[EntityScores], target: Path | None) -> float:
    """Return the average precision by an official table; write the predictions.

    Rows of entities that the data set lacks (videos that are gone) are left out and counted.

    Args:
        table: AVA's labels.
        scored: What was scored.
        target: The table's rows as predictions, which the official script reads; None for none.
    """
    truth = read_truth(table)
    found = look_up(truth, scored)
    there = ~np.isnan(found)
    if target is not None:
        write_table(table, found, target)
    if not there.all():
        logger.warning(
            "%s: %d of %d rows are of entities that are not there; the result is of the others "
            "and cannot be compared with published ones",
            table,
            int((~there).sum()),
            len(found),
        )
    return average_precision(truth.values[there] > 0, found[there])


def look_up(truth: FaceRows, scored: Sequence[EntityScores]) -> NDArray[np.float64]:
    """Return the probability of each row, found by entity and time; NaN where the entity lacks.

    Raises:
        ValueError: An entity is there but a moment of it is not; names the row.
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
            raise ValueError(
                f"{truth.source}: no prediction for {truth.describe(rows[np.argmax(late)])}; the "
                "data do not fit the table: prepare them again"
            )
        found[rows] = entity.probabilities[nearest]
    return found


def _nearest(sorted_times: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each time the index of the nearest of the sorted ones."""
    right = np.searchsorted(sorted_times, times).clip(1, max(1, len(sorted_times) - 1))
    left = right - 1
    right = right.clip(max=len(sorted_times) - 1)
    to_left, to_right = (np.abs(sorted_times[side] - times) for side in (left, right))
    chosen: NDArray[np.int64] = np.where(to_left <= to_right, left, right)
    return chosen


def write_table(table: Path, found: NDArray[np.float64], target: Path) -> None:
    """Write the rows of a table of labels as predictions, boxes and order as they are there."""
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
    """Write predictions with AVA's columns; the boxes, which data sets lack, are empty."""
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
