"""Check own data: name every row that is wrong, and sum up what is there."""

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

SAME_FACE = 0.8  # boxes of two entities that overlap more than this are one face
LATE_S = 0.5  # so far after a video's end a row may lie: durations are rounded
LOST_S = 0.5  # a video that ends so much before its time is broken

Progress = Callable[[float, float], None]  # videos done, videos in all


@dataclass
class SplitSummary:
    """What a data set, or one split of it, holds."""

    videos: int = 0
    entities: int = 0
    tracks: int = 0
    persons: int = 0
    frames: int = 0  # at 25 frames/s
    labelled: int = 0
    speaking: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the fields with the hours and the share of labelled frames that speak."""
        share = self.speaking / self.labelled if self.labelled else 0.0
        hours = self.frames / FPS / 3600
        return {**asdict(self), "hours": round(hours, 6), "share_speaking": round(share, 6)}


@dataclass
class CheckReport:
    """What a check found."""

    problems: list[TableProblem] = field(default_factory=list)  # in the order they were found
    splits: dict[str, SplitSummary] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Return how many problems of each kind there are."""
        return dict(sorted(Counter(problem.kind for problem in self.problems).items()))

    def as_dict(self) -> dict[str, Any]:
        """Return everything as it goes into a JSON file."""
        return {
            "version": 1,
            "splits": {name: summary.as_dict() for name, summary in self.splits.items()},
            "counts": self.counts(),
            "problems": [problem.as_dict() for problem in self.problems],
        }

    def lines(self) -> Iterator[str]:
        """Yield the report as text: the problems, then a line for each split and the counts."""
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
    """Read a data set, its tables and its videos, and return what is wrong and what is there.

    Args:
        path: A table, or the folder the tables lie in.
        videos: The folder of the videos; None looks beside each table.
        options: How rows become tracks.
        decode: Decode every video from front to back: finds damage inside, takes long.
        progress: Told the videos done so far.
    """
    report = CheckReport()
    options = options or CustomOptions()
    people: dict[str, set[str]] = {}
    places: dict[tuple[str, str], str] = {}
    done = 0
    tables = list(read_tables(path, None, report.problems))
    num_videos = sum(len({entity.video for entity in entities}) for _, entities in tables)
    for table, entities in tables:
        _note_leaks(entities, places, people, report)
        for name, group in groupby(entities, key=lambda entity: entity.video):
            own = list(group)
            video = open_video(find_video(table, name, videos), own[0], report.problems)
            if video is not None:
                if decode:
                    _decode(video, own[0], report.problems)
                inside = [keep_inside(entity, video, report.problems) for entity in own]
                _count(inside, options, report)
            done += 1
            if progress:
                progress(done, num_videos)
    for split, names in people.items():
        if split in report.splits:
            report.splits[split].persons = len(names - {""})
    return report


def open_video(path: Path, entity: CustomEntity, problems: list[TableProblem]) -> VideoInfo | None:
    """Return what a video holds; where it is missing or no video, note that and return None."""
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
    """Return the entity with those rows that lie within the video's time and touch its picture."""
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
            expected = f"pixels of the {video.width}x{video.height} picture of {entity.video}"
            problems.append(TableProblem(entity.file, line, "box", found, expected))
    return entity.only(~(late | outside))


def _decode(video: VideoInfo, entity: CustomEntity, problems: list[TableProblem]) -> None:
    """Note it where a video holds damage or breaks off."""
    seen = ReadReport()
    for _ in read_source_frames(video, ReadOptions(), seen):
        pass
    lost_s = seen.lost_s(video, ReadOptions())
    if seen.errors or lost_s > LOST_S:
        found = f"{seen.errors} damaged pieces, {lost_s:.1f} s missing at the end of {video.path}"
        expected = "a video that decodes whole"
        problems.append(
            TableProblem(entity.file, int(entity.lines[0]), "video broken", found, expected)
        )


def _count(entities: Sequence[CustomEntity], options: CustomOptions, report: CheckReport) -> None:
    """Add the entities of one video to the summaries, and note what is wrong with their tracks."""
    tracks: list[CustomTrack] = []
    for entity in entities:
        kept = long_tracks(entity, options, report.problems)
        if kept and all((track.labels == UNLABELLED).all() for track in kept):
            expected = "some row with label 1 or 0"
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
    _note_overlaps(tracks, report.problems)


def _note_overlaps(tracks: Sequence[CustomTrack], problems: list[TableProblem]) -> None:
    """Note tracks of different entities that follow the same face."""
    for one, other in combinations(tracks, 2):
        start = max(one.face.start, other.face.start)
        stop = min(one.face.stop, other.face.stop)
        if stop <= start or one.entity is other.entity:
            continue
        a = one.face.boxes[start - one.face.start : stop - one.face.start]
        b = other.face.boxes[start - other.face.start : stop - other.face.start]
        if (iou(a, b) > SAME_FACE).mean() > 0.5:
            found = f"{other.entity.name!r} in the place of {one.entity.name!r}"
            problems.append(
                TableProblem(
                    other.entity.file, other.line, "overlap", found, "one entity for one face"
                )
            )


def _note_leaks(
    entities: Sequence[CustomEntity],
    places: dict[tuple[str, str], str],
    people: dict[str, set[str]],
    report: CheckReport,
) -> None:
    """Note entities that come twice and persons who are in more than one split."""
    for entity in entities:
        line, key = int(entity.lines[0]), (entity.video, entity.name)
        if key in places:
            report.problems.append(twice_problem(entity, places[key]))
        places.setdefault(key, entity.file)
        known = [split for split, names in people.items() if entity.person in names]
        first = entity.person not in people.setdefault(entity.split, set())
        if entity.person and first and known:
            found = f"person {entity.person!r} in {entity.split} and in {known[0]}"
            report.problems.append(
                TableProblem(entity.file, line, "leak", found, "a person in one split")
            )
        people[entity.split].add(entity.person)


def twice_problem(entity: CustomEntity, before: str) -> TableProblem:
    """Return what is noted of an entity that another table has too."""
    found = f"{entity.name!r} of {entity.video}, in {before} before"
    return TableProblem(
        entity.file, int(entity.lines[0]), "duplicate", found, "an entity in one table only"
    )
