"""Check custom data: report every invalid row, and summarise each split."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

import numpy as np

from utils.boxes import iou
from utils.datasets.custom.tables import (
    CustomEntity,
    CustomOptions,
    CustomTrack,
    TableProblem,
    find_video,
    long_tracks,
    read_tables,
)
from utils.datasets.entities import SPEAKING, UNLABELLED
from utils.errors import ResourceError, UserError
from utils.media.container import ReadOptions, ReadReport, VideoInfo, probe
from utils.media.source_frames import read_source_frames
from utils.structures import FPS

SAME_FACE = 0.8  # IoU; entities whose boxes overlap more than this are one face
LATE_S = 0.5  # a row may be this far after the end of a video: durations are rounded
LOST_S = 0.5  # a video that ends this long before its stated duration is broken

Progress = Callable[[float, float], None]  # videos done, total


@dataclass
class SplitSummary:
    """Contents of a split."""

    videos: int = 0
    entities: int = 0
    tracks: int = 0
    persons: int = 0
    frames: int = 0  # at 25 frames/s
    labelled: int = 0
    speaking: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, the hours and the share of labelled frames that are speaking."""
        share = self.speaking / self.labelled if self.labelled else 0.0
        hours = self.frames / FPS / 3600
        return {**asdict(self), "hours": round(hours, 6), "share_speaking": round(share, 6)}


@dataclass
class CheckReport:
    """Result of a check."""

    problems: list[TableProblem] = field(default_factory=list)  # in the order of detection
    splits: dict[str, SplitSummary] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Return the number of problems of each kind."""
        return dict(sorted(Counter(problem.kind for problem in self.problems).items()))

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "version": 1,
            "splits": {name: summary.as_dict() for name, summary in self.splits.items()},
            "counts": self.counts(),
            "problems": [problem.as_dict() for problem in self.problems],
        }

    def lines(self) -> Iterator[str]:
        """Yield the report as text: the problems, a line for each split, and the counts."""
        yield from map(str, self.problems)
        for name, summary in self.splits.items():
            facts = summary.as_dict()
            yield (
                f"{name}: {summary.videos} videos, {summary.entities} entities, "
                f"{summary.persons} persons, {facts['hours']:.3f} hours, "
                f"{100 * facts['share_speaking']:.1f} % of the labelled frames speaking"
            )
        counted = ", ".join(f"{count} x {kind}" for kind, count in self.counts().items())
        yield f"{len(self.problems)} problems: {counted}" if counted else "no problems"


def check(
    path: Path,
    videos: Path | None = None,
    options: CustomOptions | None = None,
    decode: bool = False,
    progress: Progress | None = None,
) -> CheckReport:
    """Check the tables and videos of a data set; return problems and a summary.

    Args:
        path: A table, or a folder of tables.
        videos: Folder of the videos; None if they are beside each table.
        options: How rows become tracks.
        decode: Decode every video completely, which finds damage inside but is slow.
        progress: Called with the number of videos done.
    """
    report = CheckReport()
    options = options or CustomOptions()
    people: dict[str, set[str]] = {}
    tables_of: dict[tuple[str, str], str] = {}
    done = 0
    tables = list(read_tables(path, None, report.problems))
    num_videos = sum(len({entity.video for entity in entities}) for _, entities in tables)
    for table, entities in tables:
        _report_leaks(entities, tables_of, people, report)
        for name, group in groupby(entities, key=lambda entity: entity.video):
            of_video = list(group)
            video = open_video(find_video(table, name, videos), of_video[0], report.problems)
            if video is not None:
                if decode:
                    _decode(video, of_video[0], report.problems)
                inside = [keep_inside(entity, video, report.problems) for entity in of_video]
                _count(inside, options, report)
            done += 1
            if progress:
                progress(done, num_videos)
    for split, names in people.items():
        if split in report.splits:
            report.splits[split].persons = len(names - {""})
    return report


def open_video(path: Path, entity: CustomEntity, problems: list[TableProblem]) -> VideoInfo | None:
    """Return the metadata of a video; if it cannot be opened, report that and return None."""
    try:
        return probe(path)
    except FileNotFoundError:
        kind, found = "video missing", f"no file {path}"
    except (UserError, ResourceError) as error:
        kind, found = "video broken", str(error)
    expected = f"the video of entity {entity.name!r}"
    problems.append(TableProblem(entity.file, int(entity.lines[0]), kind, found, expected))
    return None


def keep_inside(
    entity: CustomEntity, video: VideoInfo, problems: list[TableProblem]
) -> CustomEntity:
    """Return the entity without rows that are after the video's end or outside its image."""
    stop_s = video.duration_s + LATE_S if video.duration_s else float("inf")
    late = entity.times >= stop_s
    x1, y1, x2, y2 = entity.boxes.T
    outside = (x2 <= 0) | (y2 <= 0) | (x1 >= video.width) | (y1 >= video.height)
    for row in np.flatnonzero(late | outside).tolist():
        line = int(entity.lines[row])
        if late[row]:
            found, expected = f"time_s {entity.times[row]:g}", f"below {video.duration_s:g} s"
            problems.append(TableProblem(entity.file, line, "time", found, expected))
        else:
            found = ",".join(f"{value:g}" for value in entity.boxes[row])
            expected = f"pixels of the {video.width}x{video.height} image of {entity.video}"
            problems.append(TableProblem(entity.file, line, "box", found, expected))
    return entity.select(~(late | outside))


def _decode(video: VideoInfo, entity: CustomEntity, problems: list[TableProblem]) -> None:
    """Report if a video is damaged or truncated."""
    report = ReadReport()
    for _ in read_source_frames(video, ReadOptions(), report):
        pass
    lost_s = report.lost_s(video, ReadOptions())
    if report.errors or lost_s > LOST_S:
        found = f"{report.errors} damaged parts, {lost_s:.1f} s missing at the end of {video.path}"
        expected = "a video that can be decoded completely"
        problems.append(
            TableProblem(entity.file, int(entity.lines[0]), "video broken", found, expected)
        )


def _count(entities: Sequence[CustomEntity], options: CustomOptions, report: CheckReport) -> None:
    """Add the entities of one video to the summaries, and report problems of their tracks."""
    tracks: list[CustomTrack] = []
    for entity in entities:
        kept = long_tracks(entity, options, report.problems)
        if kept and all((track.labels == UNLABELLED).all() for track in kept):
            expected = "a row with label 1 or 0"
            line = int(entity.lines[0])
            report.problems.append(
                TableProblem(entity.file, line, "unlabelled", repr(entity.name), expected)
            )
        summary = report.splits.setdefault(entity.split, SplitSummary())
        summary.entities += bool(kept)
        for track in kept:
            summary.tracks += 1
            summary.frames += len(track.labels)
            summary.labelled += int((track.labels != UNLABELLED).sum())
            summary.speaking += int((track.labels == SPEAKING).sum())
        tracks += kept
    for split in {track.entity.split for track in tracks}:
        report.splits[split].videos += 1
    _report_overlaps(tracks, report.problems)


def _report_overlaps(tracks: Sequence[CustomTrack], problems: list[TableProblem]) -> None:
    """Report tracks of different entities that follow the same face."""
    for first, second in combinations(tracks, 2):
        start = max(first.face.start, second.face.start)
        stop = min(first.face.stop, second.face.stop)
        if stop <= start or first.entity is second.entity:
            continue
        a = first.face.boxes[start - first.face.start : stop - first.face.start]
        b = second.face.boxes[start - second.face.start : stop - second.face.start]
        if (iou(a, b) > SAME_FACE).mean() > 0.5:
            found = f"{second.entity.name!r} at the position of {first.entity.name!r}"
            problems.append(
                TableProblem(
                    second.entity.file, second.line, "overlap", found, "one entity per face"
                )
            )


def _report_leaks(
    entities: Sequence[CustomEntity],
    tables: dict[tuple[str, str], str],
    people: dict[str, set[str]],
    report: CheckReport,
) -> None:
    """Report entities that occur in two tables and persons who are in more than one split.

    Args:
        entities: Of one table.
        tables: Table of each (video, entity); updated.
        people: Names by split; updated.
        report: Problems are added to it.
    """
    for entity in entities:
        line, key = int(entity.lines[0]), (entity.video, entity.name)
        if key in tables:
            report.problems.append(duplicate_problem(entity, tables[key]))
        tables.setdefault(key, entity.file)
        splits = [split for split, names in people.items() if entity.person in names]
        is_new = entity.person not in people.setdefault(entity.split, set())
        if entity.person and is_new and splits:
            found = f"person {entity.person!r} in {entity.split} and in {splits[0]}"
            report.problems.append(
                TableProblem(entity.file, line, "leak", found, "each person in one split")
            )
        people[entity.split].add(entity.person)


def duplicate_problem(entity: CustomEntity, first_file: str) -> TableProblem:
    """Return the problem to report for an entity that another table contains as well."""
    found = f"{entity.name!r} of {entity.video}, which is also in {first_file}"
    return TableProblem(
        entity.file, int(entity.lines[0]), "duplicate", found, "an entity in one table only"
    )
