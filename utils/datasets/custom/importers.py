"""Convert other labels to the format of custom data: AVA's, Columbia's, and labelled clips."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utils.boxes import iou
from utils.datasets import columbia
from utils.datasets.custom.tables import TableProblem
from utils.datasets.entities import NOT_SPEAKING, SPEAKING, UNLABELLED
from utils.errors import ResourceError, UserError
from utils.files import reading_table, replacing
from utils.media.container import VideoInfo, probe
from utils.media.video_files import find_videos
from utils.metrics.average_precision import COLUMNS, LABELS
from utils.metrics.columbia import LABEL_FPS, LABEL_HEIGHT
from utils.structures import FPS

EDGE_S = 0.2  # around the start and end of speech, the labels of clips are uncertain
SAME_FACE = 0.3  # IoU; spans whose boxes overlap less are not joined
Box = tuple[float, float, float, float]


class ImportedRow(NamedTuple):
    """A row of the written table."""

    video: str
    entity: str
    time_s: float
    x1: float
    y1: float
    x2: float
    y2: float
    label: int
    person: str = ""


@dataclass
class ImportReport:
    """What was written and what was skipped."""

    rows: int = 0
    entities: int = 0
    problems: list[TableProblem] = field(default_factory=list)


def import_ava(labels: Path, videos: Path, target: Path) -> ImportReport:
    """Write AVA's labels as custom data; inaudible speech becomes not speaking.

    Args:
        labels: A table, with or without header, or a folder of tables (one per video).
        videos: Folder of the videos; their sizes are required because boxes are relative.
        target: The table to write.
    """
    tables = sorted(labels.glob("*.csv")) if labels.is_dir() else [labels]
    if not tables:
        raise FileNotFoundError(f"{labels}: expected AVA's tables, found no .csv file")
    report = ImportReport()
    reader = _AvaReader(videos, report.problems)
    return _write(target, (row for table in tables for row in reader.rows(table)), report)


class _AvaReader:
    """Reads AVA's tables, whose boxes are relative to the size of the video."""

    def __init__(self, videos: Path, problems: list[TableProblem]) -> None:
        self._folder = videos
        self._paths = find_videos(videos)
        self._videos: dict[str, VideoInfo | None] = {}
        self._problems = problems

    def rows(self, table: Path) -> Iterator[ImportedRow]:
        """Yield the rows of one table; invalid ones are reported."""
        columns = {name: number for number, name in enumerate(COLUMNS)}
        with reading_table(table) as file:
            lines = csv.reader(file)
            for values in lines:
                location = (str(table), lines.line_num)
                if lines.line_num == 1 and COLUMNS[0] in values:
                    columns = {name: values.index(name) for name in COLUMNS if name in values}
                    if len(columns) < len(COLUMNS):
                        self._report(location, "columns", ",".join(values), ",".join(COLUMNS))
                        return
                    continue
                row = {name: values[i] for name, i in columns.items() if i < len(values)}
                converted = self._row(row, location)
                if converted is not None:
                    yield converted

    def _row(self, row: dict[str, str], location: tuple[str, int]) -> ImportedRow | None:
        """Return a converted row, or None if it is invalid."""
        if len(row) < len(COLUMNS):
            self._report(location, "columns", f"{len(row)} values", f"at least {len(COLUMNS)}")
            return None
        try:
            time_s, x1, y1, x2, y2 = (float(row[name]) for name in COLUMNS[1:6])
        except ValueError as error:
            self._report(location, "value", str(error), "numbers for time and box")
            return None
        if row["label"] not in LABELS:
            self._report(location, "label", repr(row["label"]), ", ".join(LABELS))
            return None
        video = self._video(row["video_id"], location)
        if video is None:
            return None
        label = SPEAKING if LABELS[row["label"]] else NOT_SPEAKING
        width, height = video.width, video.height
        box = (x1 * width, y1 * height, x2 * width, y2 * height)
        return ImportedRow(video.path.name, row["entity_id"], time_s, *box, label)

    def _video(self, name: str, location: tuple[str, int]) -> VideoInfo | None:
        """Return the metadata of a video, or None if missing, which is reported once."""
        if name not in self._videos:
            self._videos[name] = None
            try:
                if name in self._paths:
                    self._videos[name] = probe(self._paths[name])
                else:
                    self._report(location, "video missing", f"no file {name}.*", str(self._folder))
            except (UserError, ResourceError) as error:
                self._report(location, "video broken", str(error), "a readable video")
        return self._videos[name]

    def _report(self, location: tuple[str, int], kind: str, found: str, expected: str) -> None:
        self._problems.append(TableProblem(*location, kind, found[:120], expected))


def import_columbia(folder: Path, target: Path) -> ImportReport:
    """Write the Columbia labels as custom data; the video must be in the same folder.

    The squares of the labels enclose the whole head, so crops made of them show more than crops
    of detected faces.
    """
    video = probe(columbia.find_video(folder))
    scale = video.height / LABEL_HEIGHT

    def rows() -> Iterator[ImportedRow]:
        for name, labels in columbia.read_labels(folder).items():
            columns = (labels.frames.tolist(), labels.squares.tolist(), labels.speaking.tolist())
            for frame, (x, y, side), speaking in zip(*columns, strict=True):
                box = (x * scale, y * scale, (x + side) * scale, (y + side) * scale)
                yield ImportedRow(
                    video.path.name, name, frame / LABEL_FPS, *box, int(speaking), name
                )

    return _write(target, rows(), ImportReport())


def import_clips(labels: Sequence[Path], target: Path) -> ImportReport:
    """Write labelled clips (a JSON file beside each video, see docs/data.md) as custom data.

    Each span in which a face is continuously visible becomes an entity. Spans marked `unsure` and
    the 0.2 s before and after each start and end of speech are unlabelled.
    """
    report = ImportReport()

    def rows() -> Iterator[ImportedRow]:
        for path in labels:
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                found = list(_clip_rows(content))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                expected = "file, persons, speaking and unsure as in docs/data.md"
                report.problems.append(TableProblem(str(path), 0, "value", repr(error), expected))
                continue
            yield from found

    return _write(target, rows(), report)


def _clip_rows(content: dict[str, Any]) -> Iterator[ImportedRow]:
    """Yield the rows of one clip, 25 per second."""
    edges = [edge for start_s, stop_s, *_ in content["speaking"] for edge in (start_s, stop_s)]
    cuts = content.get("cuts", [])
    for person, facts in content["persons"].items():
        speech = [(a, b) for a, b, name, *_ in content["speaking"] if name == person]
        unsure = [(a, b) for a, b, name in content["unsure"] if name in (person, "*")]
        unsure += [(edge - EDGE_S, edge + EDGE_S) for edge in edges]
        for number, spans in enumerate(_runs(facts["faces"], cuts)):
            entity = f"{person}_{number}"
            for time_s, box in _interpolated(spans):
                label = SPEAKING if _within(time_s, speech) else NOT_SPEAKING
                label = UNLABELLED if _within(time_s, unsure) else label
                name = f"{Path(content['file']).stem}:{person}"
                yield ImportedRow(content["file"], entity, time_s, *box, label, name)


def _within(time_s: float, spans: Iterable[tuple[float, float]]) -> bool:
    return any(start_s <= time_s < stop_s for start_s, stop_s in spans)


def _runs(spans: Sequence[Sequence[float]], cuts: Sequence[float]) -> list[list[Sequence[float]]]:
    """Group spans (t0, t1, x1, y1, x2, y2) that are adjacent in time and overlap in position."""
    runs: list[list[Sequence[float]]] = []
    for span in sorted(spans, key=lambda item: item[0]):
        previous = runs[-1][-1] if runs else None
        at_cut = any(abs(span[0] - cut) < 1 / FPS for cut in cuts)
        if previous is not None and not at_cut and _follows(span, previous):
            runs[-1].append(span)
        else:
            runs.append([span])
    return runs


def _follows(span: Sequence[float], previous: Sequence[float]) -> bool:
    """Return whether a span continues the previous one in time and position."""
    before, box = (np.array(item[2:6], np.float64) for item in (previous, span))
    return abs(span[0] - previous[1]) < 1 / FPS and bool(iou(before, box) > SAME_FACE)


def _interpolated(spans: Sequence[Sequence[float]]) -> Iterator[tuple[float, Box]]:
    """Yield time and box of every frame of a run, interpolated between the spans' centres."""
    centres = [(span[0] + span[1]) / 2 for span in spans]
    corners = np.array([span[2:6] for span in spans], np.float64)
    first, last = int(np.ceil(spans[0][0] * FPS - 1e-6)), int(np.ceil(spans[-1][1] * FPS - 1e-6))
    for frame in range(first, last):
        x1, y1, x2, y2 = (float(np.interp(frame / FPS, centres, corners[:, i])) for i in range(4))
        yield frame / FPS, (x1, y1, x2, y2)


def _write(target: Path, rows: Iterable[ImportedRow], report: ImportReport) -> ImportReport:
    """Write the table and count its rows; without rows, an existing file is kept."""
    entities: set[tuple[str, str]] = set()
    with replacing(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(ImportedRow._fields)
        for row in rows:
            numbers = [f"{value:.6f}".rstrip("0").rstrip(".") for value in row[2:7]]
            writer.writerow((row.video, row.entity, *numbers, row.label, row.person))
            report.rows += 1
            entities.add(row[:2])
        if not report.rows:
            reason = f"; the first problem: {report.problems[0]}" if report.problems else ""
            raise UserError(f"{target}: expected rows to import, found none{reason}")
    report.entities = len(entities)
    return report
