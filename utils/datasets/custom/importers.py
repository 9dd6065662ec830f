"""Turn other labels into the format of own data: AVA's tables, Columbia's, labelled clips."""

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

EDGE_S = 0.2  # round the ends of speech the labels of clips are not certain
SAME_FACE = 0.3  # spans whose boxes overlap less are not followed from one to the next
Box = tuple[float, float, float, float]


class ImportedRow(NamedTuple):
    """A row of the table that is written."""

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
    """What was written, and what was left out."""

    rows: int = 0
    entities: int = 0
    problems: list[TableProblem] = field(default_factory=list)


def import_ava(labels: Path, videos: Path, target: Path) -> ImportReport:
    """Write AVA's labels as own data; speaking that cannot be heard becomes not speaking.

    Args:
        labels: A table, with or without header, or a folder of them (one for each video).
        videos: The folder of the videos, whose sizes are needed: the boxes are relative.
        target: The table to write.
    """
    tables = sorted(labels.glob("*.csv")) if labels.is_dir() else [labels]
    if not tables:
        raise FileNotFoundError(f"{labels}: expected AVA's tables, found no .csv file")
    report = ImportReport()
    reader = _AvaReader(videos, report.problems)
    return _write(target, (row for table in tables for row in reader.rows(table)), report)


class _AvaReader:
    """Reads AVA's tables, whose boxes are relative to the pictures of the videos."""

    def __init__(self, videos: Path, problems: list[TableProblem]) -> None:
        self._folder = videos
        self._paths = find_videos(videos)
        self._videos: dict[str, VideoInfo | None] = {}
        self._problems = problems

    def rows(self, table: Path) -> Iterator[ImportedRow]:
        """Yield the rows of one table; those that are wrong are noted."""
        at = {name: number for number, name in enumerate(COLUMNS)}
        with reading_table(table) as file:
            lines = csv.reader(file)
            for values in lines:
                place = (str(table), lines.line_num)
                if lines.line_num == 1 and COLUMNS[0] in values:
                    at = {name: values.index(name) for name in COLUMNS if name in values}
                    if len(at) < len(COLUMNS):
                        self._note(place, "columns", ",".join(values), ",".join(COLUMNS))
                        return
                    continue
                row = {name: values[i] for name, i in at.items() if i < len(values)}
                made = self._row(row, place)
                if made is not None:
                    yield made

    def _row(self, row: dict[str, str], place: tuple[str, int]) -> ImportedRow | None:
        """Return a row as own data has it, None where something is wrong."""
        if len(row) < len(COLUMNS):
            self._note(place, "columns", f"{len(row)} values", f"at least {len(COLUMNS)}")
            return None
        try:
            time_s, x1, y1, x2, y2 = (float(row[name]) for name in COLUMNS[1:6])
        except ValueError as error:
            self._note(place, "value", str(error), "numbers for time and box")
            return None
        if row["label"] not in LABELS:
            self._note(place, "label", repr(row["label"]), ", ".join(LABELS))
            return None
        video = self._video(row["video_id"], place)
        if video is None:
            return None
        label = SPEAKING if LABELS[row["label"]] else NOT_SPEAKING
        width, height = video.width, video.height
        box = (x1 * width, y1 * height, x2 * width, y2 * height)
        return ImportedRow(video.path.name, row["entity_id"], time_s, *box, label)

    def _video(self, name: str, place: tuple[str, int]) -> VideoInfo | None:
        """Return what the video holds; that there is none is noted once."""
        if name not in self._videos:
            self._videos[name] = None
            try:
                if name in self._paths:
                    self._videos[name] = probe(self._paths[name])
                else:
                    self._note(place, "video missing", f"no file {name}.*", str(self._folder))
            except (UserError, ResourceError) as error:
                self._note(place, "video broken", str(error), "a video that opens")
        return self._videos[name]

    def _note(self, place: tuple[str, int], kind: str, found: str, expected: str) -> None:
        self._problems.append(TableProblem(*place, kind, found[:120], expected))


def import_columbia(folder: Path, target: Path) -> ImportReport:
    """Write the Columbia labels as own data; the video is looked for in the folder.

    The squares of the labels enclose the whole head: crops made of them show more than those of
    detected faces.
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
    """Write labelled clips (a JSON beside each video, see docs/data.md) as own data.

    Each stretch in which a face can be followed becomes an entity. Unlabelled are the spans
    called unsure and what lies within 0.2 s of the beginning or end of speech.
    """
    report = ImportReport()

    def rows() -> Iterator[ImportedRow]:
        for path in labels:
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                found = list(_clip_rows(content))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                expected = "file, persons, speaking and unsure as docs/data.md has them"
                report.problems.append(TableProblem(str(path), 0, "value", repr(error), expected))
                continue
            yield from found

    return _write(target, rows(), report)


def _clip_rows(content: dict[str, Any]) -> Iterator[ImportedRow]:
    """Yield the rows of one clip, 25 a second."""
    edges = [edge for start_s, stop_s, *_ in content["speaking"] for edge in (start_s, stop_s)]
    cuts = content.get("cuts", [])
    for person, facts in content["persons"].items():
        speech = [(a, b) for a, b, who, *_ in content["speaking"] if who == person]
        unsure = [(a, b) for a, b, who in content["unsure"] if who in (person, "*")]
        unsure += [(edge - EDGE_S, edge + EDGE_S) for edge in edges]
        for number, spans in enumerate(_runs(facts["faces"], cuts)):
            entity = f"{person}_{number}"
            for time_s, box in _followed(spans):
                label = SPEAKING if _within(time_s, speech) else NOT_SPEAKING
                label = UNLABELLED if _within(time_s, unsure) else label
                name = f"{Path(content['file']).stem}:{person}"
                yield ImportedRow(content["file"], entity, time_s, *box, label, name)


def _within(time_s: float, spans: Iterable[tuple[float, float]]) -> bool:
    return any(start_s <= time_s < stop_s for start_s, stop_s in spans)


def _runs(spans: Sequence[Sequence[float]], cuts: Sequence[float]) -> list[list[Sequence[float]]]:
    """Group spans (t0, t1, x1, y1, x2, y2) that touch each other in time and place."""
    runs: list[list[Sequence[float]]] = []
    for span in sorted(spans, key=lambda one: one[0]):
        previous = runs[-1][-1] if runs else None
        at_cut = any(abs(span[0] - cut) < 1 / FPS for cut in cuts)
        if previous is not None and not at_cut and _follows(span, previous):
            runs[-1].append(span)
        else:
            runs.append([span])
    return runs


def _follows(span: Sequence[float], previous: Sequence[float]) -> bool:
    """Return whether a span continues the one before it, in time and place."""
    before, box = (np.array(one[2:6], np.float64) for one in (previous, span))
    return abs(span[0] - previous[1]) < 1 / FPS and bool(iou(before, box) > SAME_FACE)


def _followed(spans: Sequence[Sequence[float]]) -> Iterator[tuple[float, Box]]:
    """Yield time and box of every frame of a run: its boxes stand in the middle of their spans."""
    middles = [(span[0] + span[1]) / 2 for span in spans]
    corners = np.array([span[2:6] for span in spans], np.float64)
    first, last = int(np.ceil(spans[0][0] * FPS - 1e-6)), int(np.ceil(spans[-1][1] * FPS - 1e-6))
    for frame in range(first, last):
        x1, y1, x2, y2 = (float(np.interp(frame / FPS, middles, corners[:, i])) for i in range(4))
        yield frame / FPS, (x1, y1, x2, y2)


def _write(target: Path, rows: Iterable[ImportedRow], report: ImportReport) -> ImportReport:
    """Write the table and count what is in it; an empty one is refused, the file stays."""
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
            why = f"; first of all {report.problems[0]}" if report.problems else ""
            raise UserError(f"{target}: nothing to write: not one row could be imported{why}")
    report.entities = len(entities)
    return report
