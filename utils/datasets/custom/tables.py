"""Read custom data: CSV tables of entities, times, boxes and labels of videos.

docs/data.md describes the format. Invalid rows are reported and skipped. All rows of the chosen
split are held in memory, about 100 bytes each.
"""

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import NOT_SPEAKING, SPEAKING, UNLABELLED
from utils.datasets.spreadsheets import TableError, read_cells
from utils.errors import UserError
from utils.structures import FPS, FaceTrack

CORNERS = ("x1", "y1", "x2", "y2")
REQUIRED = ("video", "entity", "time_s", *CORNERS, "label")
OPTIONAL = ("person", "split")
LABELS = {"1": SPEAKING, "0": NOT_SPEAKING, "-1": UNLABELLED, "": UNLABELLED}
MAX_CORNER = 1_000_000  # pixels; larger values must be mistakes
MAX_TIME_S = 10_000_000
TABLE = "table"  # kind of problem: a table that cannot be read completely
UNREAD = (TABLE, "columns", "value", "time", "box", "label")  # kinds that skip rows


@dataclass(frozen=True)
class CustomOptions:
    """How rows become face tracks at 25 frames/s."""

    max_gap: Annotated[float, "custom data: a longer gap between rows splits a track, s"] = 1.0
    min_length: Annotated[float, "custom data: shorter tracks are skipped, s"] = 0.4

    def __post_init__(self) -> None:
        if not 0 < self.max_gap < math.inf:
            raise UserError(f"--maxGap must be a number of seconds above 0, got {self.max_gap}")
        if not 0 <= self.min_length < math.inf:
            raise UserError(f"--minLength must be 0 or more seconds, got {self.min_length}")


@dataclass(frozen=True)
class TableProblem:
    """A problem of a data set and its location."""

    file: str
    line: int  # from 1; 0 for the whole file
    kind: str  # a keyword for counting; TABLE if all rows after `line` are skipped
    found: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}" if self.line else self.file
        return f"{place}: {self.kind}: found {self.found}; expected {self.expected}"

    def as_dict(self) -> dict[str, str | int]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class CustomEntity:
    """The rows of one entity, sorted by time, without duplicate times."""

    file: str
    video: str  # as the table names it
    name: str
    person: str
    split: str
    lines: NDArray[np.int64]  # (N,) line of each row in the file
    times: NDArray[np.float64]  # (N,) s on the video's clock
    boxes: NDArray[np.float64]  # (N, 4) x1, y1, x2, y2 in source pixels
    labels: NDArray[np.int8]  # (N,)

    def select(self, mask: NDArray[np.bool_]) -> "CustomEntity":
        """Return the entity with some of its rows, (N,)."""
        rows = (self.lines[mask], self.times[mask], self.boxes[mask], self.labels[mask])
        return CustomEntity(self.file, self.video, self.name, self.person, self.split, *rows)


@dataclass(frozen=True, eq=False)
class CustomTrack:
    """A part of an entity without gaps, at 25 frames/s."""

    entity: CustomEntity
    face: FaceTrack
    labels: NDArray[np.int8]  # (T,)
    line: int  # of its first row


@dataclass(eq=False)
class _EntityRows:
    """The rows of an entity while its table is being read."""

    person: str
    split: str
    lines: "array[int]" = field(default_factory=lambda: array("q"))
    values: "array[float]" = field(default_factory=lambda: array("d"))  # time, x1, y1, x2, y2, ...
    labels: "array[int]" = field(default_factory=lambda: array("b"))


def find_tables(path: Path) -> list[Path]:
    """Return the tables of a data set: the file itself, or all .csv files of a folder."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"no such file or folder: {path}; expected a CSV table or a folder")
    tables = sorted(path.glob("*.csv"))
    if not tables:
        raise FileNotFoundError(f"{path}: expected tables such as train.csv, found no .csv file")
    return tables


def find_video(table: Path, name: str, videos: Path | None) -> Path:
    """Return the path of a video: in the folder of videos if given, else beside its table."""
    return (videos or table.parent) / name


def read_tables(
    path: Path, split: str | None, problems: list[TableProblem]
) -> Iterator[tuple[Path, list[CustomEntity]]]:
    """Yield each table of a data set with its entities, grouped by video.

    Args:
        path: A table, or a folder of tables.
        split: Read only the rows of this split; None for all.
        problems: Problems are appended to it.
    """
    for table in find_tables(path):
        entities = read_table(table, split, problems)
        if entities:
            yield table, entities


def read_table(table: Path, split: str | None, problems: list[TableProblem]) -> list[CustomEntity]:
    """Return the entities of one table, sorted by video; see `read_tables`.

    A table that cannot be read completely is reported as a problem of the kind `table`.
    """
    rows: dict[tuple[str, str], _EntityRows] = {}
    reader = _TableReader(table, problems)
    try:
        rows_of = reader.rows(read_cells(table, REQUIRED + OPTIONAL), split)
        for key, person, found_split, line, values, label in rows_of:
            if split is not None and found_split != split:
                continue
            entity = rows.setdefault(key, _EntityRows(person, found_split))
            reader.expect_same(entity, key, (person, found_split), line)
            entity.lines.append(line)
            entity.values.extend(values)
            entity.labels.append(label)
    except TableError as error:
        reader.report(error.line, TABLE, error.found, error.expected)
    return [reader.entity(*key, rows.pop(key)) for key in sorted(rows)]


class _TableReader:
    """Checks the rows of one table."""

    def __init__(self, table: Path, problems: list[TableProblem]) -> None:
        self.table = table
        self._problems = problems
        self._changed: set[tuple[str, str]] = set()
        self._decimal = ""  # decimal separator of this table; set by the first number that has one

    def report(self, line: int, kind: str, found: str, expected: str) -> None:
        """Add a problem."""
        self._problems.append(TableProblem(str(self.table), line, kind, found[:120], expected))

    def rows(
        self, lines: Iterator[tuple[int, list[str]]], split: str | None
    ) -> Iterator[tuple[tuple[str, str], str, str, int, list[float], int]]:
        """Yield (video, entity), person, split, line, time and corners, label of each valid row.

        A table without a column of splits whose name is that of another split is not checked.
        """
        first, header = next(lines, (1, []))
        names = [name.strip() for name in header]
        while names and not names[-1]:  # spreadsheets save empty columns at the right
            names.pop()
        if "split" not in names and split not in (None, self.table.stem):
            return
        missing = [name for name in REQUIRED if name not in names]
        if missing or len(set(names)) < len(names):
            found = ",".join(names) or "an empty file"
            expected = f"the columns {','.join(REQUIRED)}, separated by commas, semicolons or tabs"
            raise TableError(first, found, expected)
        for name in names:
            if name not in REQUIRED + OPTIONAL:
                expected = f"only {','.join(REQUIRED + OPTIONAL)}"
                self.report(first, "unknown", f"column {name!r}", expected)
        index = {name: names.index(name) for name in names}
        for line, row in lines:
            if len(row) < len(names) or any(row[len(names) :]):
                self.report(line, "columns", f"{len(row)} values", f"{len(names)} values")
                continue
            texts = [row[index[name]].strip() for name in REQUIRED]
            values = self._numbers(line, texts)
            label = LABELS.get(texts[-1])
            if label is None:
                self.report(line, "label", repr(texts[-1]), "1, 0, or -1 or nothing for unlabelled")
            if values is None or label is None or not self._has_names(line, texts):
                continue
            person, split = (row[index[name]].strip() if name in index else "" for name in OPTIONAL)
            split = split if "split" in index else self.table.stem
            yield (texts[0], texts[1]), person, split, line, values, label

    def expect_same(
        self, entity: _EntityRows, key: tuple[str, str], found: tuple[str, str], line: int
    ) -> None:
        """Report once per entity if its person or split changes; the first ones are used."""
        if found != (entity.person, entity.split) and key not in self._changed:
            self._changed.add(key)
            expected = f"one person and split, {entity.person!r} and {entity.split!r} before"
            self.report(line, "entity", f"person {found[0]!r}, split {found[1]!r}", expected)

    def entity(self, video: str, name: str, rows: _EntityRows) -> CustomEntity:
        """Return the rows of an entity sorted by time; the first row of each time is kept."""
        values = np.frombuffer(rows.values, np.float64).reshape(-1, 5)
        lines, labels = np.frombuffer(rows.lines, np.int64), np.frombuffer(rows.labels, np.int8)
        order = np.argsort(values[:, 0], kind="stable")
        repeated = np.diff(values[order, 0], prepend=-1.0) <= 0
        for line, time_s in zip(lines[order[repeated]], values[order[repeated], 0], strict=True):
            found = f"{time_s:g} s of {name!r} again"
            self.report(int(line), "duplicate", found, "one row per time")
        order = order[~repeated]
        columns = (lines[order], values[order, 0], values[order, 1:], labels[order])
        return CustomEntity(str(self.table), video, name, rows.person, rows.split, *columns)

    def _has_names(self, line: int, texts: Sequence[str]) -> bool:
        if not texts[0] or not texts[1]:
            self.report(line, "value", "no video or entity", "names of both")
        return bool(texts[0] and texts[1])

    def _numbers(self, line: int, texts: Sequence[str]) -> list[float] | None:
        """Return time and corners of a row, or None if they are invalid."""
        values = []
        for name, text in zip(REQUIRED[2:7], texts[2:7], strict=True):
            mark = "," if "," in text else "." if "." in text else ""
            try:
                values.append(float(text.replace(",", ".")))
            except ValueError:
                self.report(line, "value", f"{name} {text!r}", "a number")
                return None
            self._decimal = self._decimal or mark
            if mark and mark != self._decimal:  # it may be a thousands separator
                expected = f"{self._decimal!r} as the decimal separator, as in earlier rows"
                self.report(line, "value", f"{name} {text!r}", expected)
                return None
        time_s, x1, y1, x2, y2 = values
        if not 0 <= time_s <= MAX_TIME_S:
            self.report(line, "time", f"time_s {texts[2]}", "seconds, 0 or more")
        elif not all(abs(value) <= MAX_CORNER for value in values[1:]):
            self.report(line, "box", ",".join(texts[3:7]), f"pixels within {MAX_CORNER} of 0")
        elif x2 <= x1 or y2 <= y1:
            self.report(line, "box", ",".join(texts[3:7]), "corners x1 < x2, y1 < y2, not a size")
        else:
            return values
        return None


def make_tracks(entity: CustomEntity, options: CustomOptions) -> list[CustomTrack]:
    """Return the tracks of an entity at 25 frames/s, split at gaps longer than `max_gap`.

    Boxes are interpolated linearly; a frame gets the label of the row nearest in time.
    """
    times = entity.times
    breaks = np.flatnonzero(np.diff(times) > options.max_gap + 1e-6) + 1
    tracks = []
    for part in np.split(np.arange(len(times)), breaks):
        if not len(part):
            continue
        first, last = (int(time * FPS + 0.5) for time in times[part[[0, -1]]])
        frames = np.arange(first, last + 1) / FPS
        columns = [np.interp(frames, times[part], entity.boxes[part, i]) for i in range(4)]
        middles = (times[part[1:]] + times[part[:-1]]) / 2
        labels = entity.labels[part[np.searchsorted(middles, frames, side="left")]]
        face = FaceTrack(first, np.stack(columns, axis=1).astype(np.float32))
        tracks.append(CustomTrack(entity, face, labels, int(entity.lines[part[0]])))
    return tracks


def long_tracks(
    entity: CustomEntity, options: CustomOptions, problems: list[TableProblem]
) -> list[CustomTrack]:
    """Return the tracks of an entity that are long enough to be used; report the others."""
    kept = []
    for track in make_tracks(entity, options):
        if len(track.labels) >= options.min_length * FPS:
            kept.append(track)
            continue
        found = f"{entity.name!r} for {len(track.labels) / FPS:g} s"
        expected = f"at least {options.min_length:g} s without a gap above {options.max_gap:g} s"
        problems.append(TableProblem(entity.file, track.line, "short", found, expected))
    return kept
