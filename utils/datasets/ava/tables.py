"""The tables of AVA-ActiveSpeaker: official labels, and loader tables of published code."""

import csv
import json
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import NOT_SPEAKING, SPEAKING, UNLABELLED
from utils.errors import UserError
from utils.files import replacing
from utils.metrics.average_precision import COLUMNS

SPLITS = ("train", "val", "test")
LABELS = {  # inaudible speech is negative, as in the official evaluation
    "SPEAKING_AUDIBLE": SPEAKING,
    "NOT_SPEAKING": NOT_SPEAKING,
    "SPEAKING_NOT_AUDIBLE": NOT_SPEAKING,
}
COMMON_RATES = (  # if several match the labels, the first is used
    *(Fraction(rate) for rate in (24, 25, 30, 50, 60)),
    *(Fraction(rate * 1000, 1001) for rate in (24, 30, 60)),
)
TIME_NOISE_S = 0.005  # error of an entity's length, as time stamps have two decimals
RATE_SLACK = 0.03  # relative difference up to which two rates count as equal


@dataclass(frozen=True, eq=False)
class LabelledFace:
    """One entity of the official labels, sorted by time."""

    name: str
    video: str
    timestamps: NDArray[np.float64]  # (T,) s
    boxes: NDArray[np.float64]  # (T, 4) x1, y1, x2, y2 as fractions of the image's sides
    labels: NDArray[np.int8]  # (T,)


@dataclass(frozen=True, eq=False)
class LoaderRow:
    """One entity of a published `*_loader.csv`."""

    name: str
    fps: Fraction
    labels: NDArray[np.int8]  # (T,)

    @property
    def video(self) -> str:
        """Name of the video; in AVA, all names have 11 characters."""
        return self.name[:11]


def read_labels(paths: Iterable[Path], has_labels: bool = True) -> list[LabelledFace]:
    """Read official tables, with or without a header; return the entities sorted by name.

    Args:
        paths: The tables; each entity must be in only one.
        has_labels: False if the labels of the split are placeholders.
    """
    names: dict[tuple[str, str], int] = {}
    entity, numbers, labels = array("q"), array("d"), array("b")
    for path in paths:
        for key, values, label in _rows(path, has_labels):
            entity.append(names.setdefault(key, len(names)))
            numbers.extend(values)
            labels.append(label)
    table = np.array(numbers, np.float64).reshape(-1, 5)
    entities, all_labels = np.array(entity, np.int64), np.array(labels, np.int8)
    order = np.lexsort((table[:, 0], entities))
    bounds = np.searchsorted(entities[order], np.arange(len(names) + 1))
    faces = []
    for (name, video), number in names.items():
        rows = order[bounds[number] : bounds[number + 1]]
        times = table[rows, 0]
        repeated = np.flatnonzero(np.diff(times) <= 0)
        if len(repeated):
            raise UserError(f"entity {name} has two rows at {times[repeated[0]]:.10g} s")
        faces.append(LabelledFace(name, video, times, table[rows, 1:], all_labels[rows]))
    return sorted(faces, key=lambda face: face.name)


def _rows(path: Path, has_labels: bool) -> Iterator[tuple[tuple[str, str], list[float], int]]:
    """Yield ((entity, video), time and box, label) of each row; errors name file and line."""
    columns = {name: index for index, name in enumerate(COLUMNS)}
    width = len(columns)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            for row in reader:
                if reader.line_num == 1 and "frame_timestamp" in row:
                    columns = {name: index for index, name in enumerate(row)}
                    missing = [name for name in COLUMNS if name not in columns]
                    if missing:
                        raise UserError(f"no column {', '.join(missing)}; found {', '.join(row)}")
                    width = len(row)
                    continue
                if len(row) < width:
                    raise UserError(f"expected {width} columns, found {len(row)}")
                key = (row[columns["entity_id"]], row[columns["video_id"]])
                label = _label(row[columns["label"]]) if has_labels else UNLABELLED
                yield key, _numbers(row, columns), label
        except (ValueError, csv.Error) as error:
            raise UserError(f"{path}, line {reader.line_num}: {error}") from error


def _numbers(row: Sequence[str], columns: Mapping[str, int]) -> list[float]:
    """Return time and box of a row."""
    numbers = []
    for name in COLUMNS[1:6]:
        try:
            number = float(row[columns[name]])
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UserError(f"expected a number as {name}, found {row[columns[name]]!r}")
        numbers.append(number)
    time, x1, y1, x2, y2 = numbers
    if time < 0 or not (x1 < x2 and y1 < y2) or max(x1, y1) >= 1 or min(x2, y2) <= 0:
        raise UserError(
            "expected a time of 0 or more and a box x1 < x2, y1 < y2 as fractions of the image, "
            f"found {numbers}"
        )
    return numbers


def _label(text: str) -> int:
    if text not in LABELS:
        raise UserError(f"expected a label of {', '.join(LABELS)}, found {text!r}")
    return LABELS[text]


def merge_tables(tables: Mapping[str, str], target: Path) -> int:
    """Write official tables, given as text by name, as one with a header.

    Rows are sorted by entity, then by time, as in published `*_orig.csv`. Returns their number.
    """
    rows = []
    time, entity = COLUMNS.index("frame_timestamp"), COLUMNS.index("entity_id")
    for name, text in sorted(tables.items()):
        for number, row in enumerate(csv.reader(text.splitlines()), start=1):
            if len(row) != len(COLUMNS):
                raise UserError(
                    f"{name}, line {number}: expected the {len(COLUMNS)} columns "
                    f"{', '.join(COLUMNS)}, found {len(row)}"
                )
            if row[time] != COLUMNS[time]:
                rows.append(row)
    rows.sort(key=lambda row: (row[entity], float(row[time])))
    with (
        replacing(target) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return len(rows)


def read_loader(path: Path, has_labels: bool = True) -> list[LoaderRow]:
    """Read a loader table: entity, number of frames, fps, labels and index, tab-separated."""
    rows = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            fields = line.rstrip("\n").split("\t")
            try:
                if len(fields) < 4:
                    raise UserError(f"expected 5 fields separated by tabs, found {len(fields)}")
                labels = np.array(json.loads(fields[3]), np.int8)
                if labels.shape != (int(fields[1]),) or not len(labels):
                    raise UserError(f"expected {fields[1]} labels, found {labels.size}")
                if not np.isin(labels, (NOT_SPEAKING, SPEAKING)).all():
                    raise UserError("expected labels 0 or 1")
                fps = Fraction(float(fields[2])).limit_denominator(1001)
                if fps <= 0:
                    raise UserError(f"expected a frame rate above 0, found {fields[2]}")
            except (ValueError, TypeError, OverflowError) as error:
                raise UserError(f"{path}, line {number}: {error}") from error
            if not has_labels:
                labels = np.full_like(labels, UNLABELLED)
            rows.append(LoaderRow(fields[0], fps, labels))
    return rows


def write_loader(path: Path, rows: Iterable[LoaderRow]) -> None:
    """Write a loader table in the published format."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows):
            labels = [max(int(label), NOT_SPEAKING) for label in row.labels]
            file.write(
                f"{row.name}\t{len(labels)}\t{float(row.fps)}\t{json.dumps(labels)}\t{number}\n"
            )


def make_loader_rows(
    faces: Sequence[LabelledFace], video_rate: Callable[[str], Fraction | None]
) -> list[LoaderRow]:
    """Return the loader table of the labels.

    Args:
        faces: All entities of a split.
        video_rate: Returns the frame rate of a video by its name, or None if it is missing.
    """
    by_video: dict[str, list[LabelledFace]] = {}
    for face in faces:
        by_video.setdefault(face.video, []).append(face)
    rates = {video: label_rate(group, video_rate(video)) for video, group in by_video.items()}
    return [LoaderRow(face.name, rates[face.video], face.labels) for face in faces]


def label_rate(faces: Sequence[LabelledFace], video_rate: Fraction | None) -> Fraction:
    """Return the number of labels per second of the entities of one video.

    This is the video's frame rate if the labels match it; else the nearest common rate, or the
    rate of the time stamps if no common rate is near.
    """
    seconds = sum(float(face.timestamps[-1] - face.timestamps[0]) for face in faces)
    steps = sum(len(face.timestamps) - 1 for face in faces)
    if not steps:  # single images have no rate
        return video_rate or Fraction(25)
    rate = Fraction(steps / seconds).limit_denominator(1001)
    if video_rate is not None and abs(video_rate / rate - 1) < RATE_SLACK:
        return video_rate
    noise = TIME_NOISE_S * len(faces) / seconds
    nearest = next(
        (common for common in COMMON_RATES if abs(common / rate - 1) < noise),
        min(COMMON_RATES, key=lambda common: abs(common / rate - 1)),
    )
    return nearest if abs(nearest / rate - 1) < RATE_SLACK else rate
