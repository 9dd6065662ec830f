"""The tables of TragicTalkers: ground truth of views, and training labels."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.arrays.spectra import FPS
from utils.datasets.tragic_talkers.layout import CameraView
from utils.errors import UserError
from utils.files import reading_table, replacing

STATES = {"SPEAKING": True, "NOT_SPEAKING": False}
HEADER = ("name", "time", "x", "pseudo label", "voice activity")


@dataclass(frozen=True, eq=False)
class ViewTruth:
    """Positions of the people in a view, and when they speak."""

    positions: NDArray[np.float64]  # (people, T) px
    speaking: NDArray[np.bool_]  # (people, T)


@dataclass(frozen=True, eq=False)
class ViewLabels:
    """Training labels of a view, one value per frame."""

    times: NDArray[np.float64]  # (T,) s
    positions: NDArray[np.float32]  # (T,) fraction of the width
    located: NDArray[np.bool_]  # (T,) whether the position is that of a speaker
    speaking: NDArray[np.bool_]  # (T,) whether anybody speaks

    def __len__(self) -> int:
        return len(self.times)


def read_truth(path: Path) -> ViewTruth:
    """Read the ground truth of a view: frame, x, y, person, state; person after person.

    Raises:
        UserError: A row is invalid, or people have different frames; the message names the line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected ground truth, found no file {path}")
    people: dict[str, list[tuple[float, bool]]] = {}
    for line, row in _rows(path, 5):
        try:
            frame, x, state = int(row[0]), float(row[1]), STATES[row[4].strip()]
        except (ValueError, KeyError) as error:
            raise UserError(
                f"{path}, line {line}: expected frame, x, y, person and SPEAKING or NOT_SPEAKING, "
                f"found {','.join(row)}"
            ) from error
        frames = people.setdefault(row[3].strip(), [])
        if frame != len(frames):
            raise UserError(
                f"{path}, line {line}: expected frame {len(frames)} of person {row[3].strip()}, "
                f"found {frame}"
            )
        frames.append((x, state))
    lengths = {len(frames) for frames in people.values()}
    if len(lengths) != 1:
        raise UserError(
            f"{path}: expected equally many frames per person, found {sorted(lengths) or 'none'}"
        )
    columns = [np.array(frames) for frames in people.values()]
    return ViewTruth(
        np.stack([column[:, 0] for column in columns]),
        np.stack([column[:, 1] > 0 for column in columns]),
    )


def write_truth(truth: ViewTruth, path: Path) -> None:
    """Write the ground truth of a view as published; all heights are 0."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for person, (xs, states) in enumerate(
            zip(truth.positions, truth.speaking, strict=True), start=1
        ):
            for frame, (x, state) in enumerate(zip(xs.tolist(), states.tolist(), strict=True)):
                name = "SPEAKING" if state else "NOT_SPEAKING"
                writer.writerow((frame, round(x), 0, person, name))


def read_labels(path: Path) -> dict[CameraView, ViewLabels]:
    """Read the labels of a supervision condition, view by view in the order of the file.

    Raises:
        FileNotFoundError: The table is missing.
        UserError: A row is invalid; the message names the line.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"expected training labels, found no file {path}; create it from ground truth or from "
            "results of visual networks, see docs/array_audio.md"
        )
    views: dict[str, list[tuple[float, float, bool, bool]]] = {}
    rows = _rows(path, 5)
    next(rows, None)
    for line, row in rows:
        try:
            states = STATES[row[3].strip()], STATES[row[4].strip()]
            values = (float(row[1]), float(row[2]), *states)
        except (ValueError, KeyError) as error:
            raise UserError(
                f"{path}, line {line}: expected view, time, x and twice SPEAKING or NOT_SPEAKING, "
                f"found {','.join(row)}"
            ) from error
        views.setdefault(row[0].strip(), []).append(values)
    if not views:
        raise UserError(f"{path}: expected a row for each frame, found none")
    return {_parse(path, name): _labels(path, name, rows) for name, rows in views.items()}


def _parse(path: Path, name: str) -> CameraView:
    try:
        return CameraView.parse(name)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def _labels(path: Path, name: str, rows: list[tuple[float, float, bool, bool]]) -> ViewLabels:
    table = np.array(rows, np.float64)
    if (np.diff(table[:, 0]) <= 0).any():
        late = int(np.argmax(np.diff(table[:, 0]) <= 0)) + 1
        raise UserError(
            f"{path}: expected the rows of {name} sorted by time, found {table[late, 0]} s after "
            f"{table[late - 1, 0]} s"
        )
    located, speaking = (np.asarray(table[:, column] > 0, np.bool_) for column in (2, 3))
    return ViewLabels(table[:, 0], table[:, 1].astype(np.float32), located, speaking)


def write_labels(labels: Mapping[CameraView, ViewLabels], path: Path) -> None:
    """Write training labels as published: times with two decimals, x as a fraction."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for view, table in labels.items():
            columns = (table.times, table.positions, table.located, table.speaking)
            for time_s, x, located, speaking in zip(*(c.tolist() for c in columns), strict=True):
                states = ("SPEAKING" if state else "NOT_SPEAKING" for state in (located, speaking))
                writer.writerow((view.name, f"{time_s:.2f}", f"{x:.6f}", *states))


def labels_of_truth(truth: ViewTruth, width: float) -> ViewLabels:
    """Return the labels of the condition GT_GT: the first speaker if several people speak.

    Args:
        truth: Ground truth of a view.
        width: Width of the view, px.
    """
    speaking = np.asarray(truth.speaking.any(axis=0), np.bool_)
    chosen = np.where(speaking, truth.speaking.argmax(axis=0), len(truth.speaking) - 1)
    num_frames = truth.positions.shape[1]
    positions = truth.positions[chosen, np.arange(num_frames)] / width
    return ViewLabels(frame_times(num_frames), positions.astype(np.float32), speaking, speaking)


def frame_times(num_frames: int) -> NDArray[np.float64]:
    """Return the start of each frame, s, rounded to two decimals as in the tables."""
    return np.asarray(np.round(np.arange(num_frames) / FPS, 2), np.float64)


def _rows(path: Path, num_columns: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of a table."""
    with reading_table(path) as file:
        for line, row in enumerate(csv.reader(file), start=1):
            if not row:
                continue
            if len(row) < num_columns:
                raise UserError(
                    f"{path}, line {line}: expected {num_columns} columns, found {len(row)}"
                )
            yield line, row
