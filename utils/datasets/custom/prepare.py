"""Prepare own data: cut the faces out of the videos into a store, just as the demo cuts them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from utils.datasets.custom.check import keep_inside, open_video, twice_problem
from utils.datasets.custom.prepared import PreparedVideos, checksum, key_of
from utils.datasets.custom.tables import (
    TABLE,
    UNREAD,
    CustomEntity,
    CustomOptions,
    CustomTrack,
    TableProblem,
    find_video,
    long_tracks,
    read_tables,
)
from utils.datasets.entities import SPEAKING, UNLABELLED, EntityInfo
from utils.datasets.storage.entity_store import EntityStoreWriter
from utils.datasets.storage.parallel import run_parallel
from utils.errors import UserError
from utils.flags import flag_name
from utils.media.audio import Sound
from utils.media.container import ReadOptions, ReadReport, VideoInfo
from utils.media.video import read_frames
from utils.structures import FPS, SAMPLES_PER_FRAME, CropPiece
from utils.tracking.crops import CropOptions, crop_faces
from utils.tracking.shots import ShotOptions, mark_shots
from utils.tracking.tracks import GivenTracks

PICTURE = 256  # pixels of the longer side of what cuts are looked for in
LOST_S = 0.5  # missing from the end of a video, this much is noted

Progress = Callable[[float, float], None]  # videos done, videos to be done


@dataclass(frozen=True)
class CustomPrepareOptions:
    """How own data becomes a store."""

    own: CustomOptions = CustomOptions()
    crops: CropOptions = CropOptions()
    shots: ShotOptions = ShotOptions()
    num_processes: Annotated[int, "videos prepared at once; 0 is one for each core"] = 1


@dataclass
class CustomPrepareReport:
    """What became of a data set."""

    problems: list[TableProblem] = field(default_factory=list)
    videos: int = 0  # done, in this run or before
    skipped: int = 0  # missing or broken ones
    entities: int = 0
    frames: int = 0
    removed: int = 0  # stored entities that the tables do not have any more


@dataclass(frozen=True, eq=False)
class PrepareJob:
    """The entities of one video."""

    path: Path
    entities: Sequence[CustomEntity]
    folder: Path
    options: CustomPrepareOptions


def prepare(
    path: Path,
    split: str | None,
    folder: Path,
    videos: Path | None = None,
    options: CustomPrepareOptions | None = None,
    progress: Progress | None = None,
) -> CustomPrepareReport:
    """Write a split of own data into a store; wrong rows and videos are noted and left out.

    Begun again, it goes on with the videos that were not done or whose rows have changed; what
    the tables do not have any more is removed. Nothing is removed for what cannot be read: not
    where a table has no rows of the split, nor what a table with unreadable rows may still have.
    Stretches longer than 60 s become several entities, and so do those that cross a cut.

    Args:
        path: A table, or the folder the tables lie in.
        split: Which rows; None takes all.
        folder: Of the store.
        videos: The folder of the videos; None looks beside each table.
        options: How.
        progress: Told how many videos are done of those that have to be.

    Raises:
        UserError: A table cannot be read; the store is as it was.
    """
    options = options or CustomPrepareOptions()
    report = CustomPrepareReport()
    jobs = list(_jobs((path, split, videos), folder, options, report.problems))
    _refuse_unread(report.problems, folder)
    if not jobs:
        return report
    writer = EntityStoreWriter(folder)
    writer.remove_leftovers()
    settings: dict[str, Any] = {"split": split}
    for part in (options.own, options.crops, options.shots):
        settings |= {f"--{flag_name(name)}": value for name, value in asdict(part).items()}
    prepared = PreparedVideos(folder, settings)
    undone = [job for job in jobs if not prepared.is_done(job.entities)]
    left = {key_of(job.entities) for job in undone}
    unread = {Path(one.file).name: one.file for one in report.problems if one.kind in UNREAD}
    for key in (key_of(job.entities) for job in jobs):
        if key not in left:
            _add(report, prepared.outcome(key))
    _note_kept(prepared.remove_outdated([job.entities for job in jobs], unread), unread, report)
    done = run_parallel(prepare_video, undone, options.num_processes)
    for number, (job, outcome) in enumerate(done, start=1):
        if outcome["read"]:
            prepared.add(key_of(job.entities), outcome)
        _add(report, outcome)
        if progress:
            progress(number, len(undone))
    report.removed = prepared.count_removed()
    report.problems.sort(key=lambda problem: (problem.file, problem.line))
    writer.write_index()
    return report


def _refuse_unread(problems: Sequence[TableProblem], folder: Path) -> None:
    """Raise UserError if a table could not be read."""
    unread = [str(problem) for problem in problems if problem.kind == TABLE]
    if unread:
        raise UserError(f"{'; '.join(unread)}. Nothing was changed in {folder}")


def _note_kept(
    names: Sequence[str], unread: Mapping[str, str], report: CustomPrepareReport
) -> None:
    """Note it where entities are kept because of rows that cannot be read."""
    if names:
        found = f"{len(names)} stored faces without rows that can be read, for example {names[0]!r}"
        expected = "rows for them, or no unreadable rows; they are kept until then"
        report.problems.append(TableProblem(min(unread.values()), 0, "kept", found, expected))


def _jobs(
    source: tuple[Path, str | None, Path | None],
    folder: Path,
    options: CustomPrepareOptions,
    problems: list[TableProblem],
) -> Iterator[PrepareJob]:
    """Yield what is to be done, video by video; an entity in two tables is taken from the first.

    Args:
        source: Path, split and folder of videos.
        folder: Of the store.
        options: How.
        problems: Gets what is wrong with the tables.
    """
    path, split, videos = source
    places: dict[tuple[str, str], str] = {}
    for table, entities in read_tables(path, split, problems):
        once = []
        for entity in entities:
            before = places.setdefault((entity.video, entity.name), entity.file)
            if before == entity.file:
                once.append(entity)
            else:
                problems.append(twice_problem(entity, before))
        for name, group in groupby(once, key=lambda entity: entity.video):
            yield PrepareJob(find_video(table, name, videos), list(group), folder, options)


def _add(report: CustomPrepareReport, outcome: Mapping[str, Any]) -> None:
    """Add what became of a video to the report."""
    report.problems += [TableProblem(**problem) for problem in outcome["problems"]]
    report.videos += outcome["read"]
    report.skipped += not outcome["read"]
    report.entities += len(outcome["names"])
    report.frames += outcome["frames"]


def prepare_video(job: PrepareJob) -> dict[str, Any]:
    """Write the entities of one video; return what is noted of it, as JSON values."""
    problems: list[TableProblem] = []
    names: list[str] = []
    num_frames = 0
    video = open_video(job.path, job.entities[0], problems)
    if video is not None:
        tracks = _tracks(job, video, problems)
        sound = Sound(video, ReadOptions())
        writer = EntityStoreWriter(job.folder)
        finder = _TrackFinder(tracks)
        for piece in _pieces(job, video, tracks, problems):
            if len(piece.crops) >= job.options.own.min_length * FPS:
                name = _write(writer, finder.find(piece), piece, sound)
                names += [name] if name else []
                num_frames += len(piece.crops) if name else 0
        sound.close()
    return {
        "read": video is not None,
        "rows": checksum(job.entities),
        "names": names,
        "frames": num_frames,
        "problems": [problem.as_dict() for problem in problems],
    }


def _tracks(job: PrepareJob, video: VideoInfo, problems: list[TableProblem]) -> list[CustomTrack]:
    """Return the tracks of a video that are long enough; what is left out is noted."""
    options = job.options.own
    kept: list[CustomTrack] = []
    for entity in job.entities:
        kept += long_tracks(keep_inside(entity, video, problems), options, problems)
    return kept


def _pieces(
    job: PrepareJob, video: VideoInfo, tracks: Sequence[CustomTrack], problems: list[TableProblem]
) -> Iterator[CropPiece]:
    """Yield the crops of the tracks; note what the video lost."""
    seen = ReadReport()
    scale = min(1.0, PICTURE / max(video.width, video.height))
    size = (max(1, round(video.width * scale)), max(1, round(video.height * scale)))
    frames = mark_shots(read_frames(video, size, ReadOptions(), seen), job.options.shots)
    tracker = GivenTracks([track.face for track in tracks])
    for item in crop_faces(frames, tracker, job.options.crops):
        if isinstance(item, CropPiece):
            yield item
    lost_s = seen.lost_s(video, ReadOptions())
    if seen.errors or lost_s > LOST_S:
        entity = job.entities[0]
        found = f"{seen.errors} damaged pieces, {lost_s:.1f} s missing at its end"
        expected = f"{video.path} to decode whole; the rest of it was used"
        problems.append(
            TableProblem(entity.file, int(entity.lines[0]), "video broken", found, expected)
        )


class _TrackFinder:
    """Says which track a piece was cut from."""

    def __init__(self, tracks: Sequence[CustomTrack]) -> None:
        self._tracks = tracks
        self._taken: set[tuple[int, int]] = set()

    def find(self, piece: CropPiece) -> CustomTrack:
        """Return the track whose boxes the piece has; of two alike, another one each time."""
        for number, track in enumerate(self._tracks):
            at = piece.start - track.face.start
            inside = at >= 0 and piece.start + len(piece.crops) <= track.face.stop
            if inside and (number, piece.start) not in self._taken:
                boxes = track.face.boxes[at : at + len(piece.crops)]
                if np.array_equal(boxes, piece.boxes):
                    self._taken.add((number, piece.start))
                    return track
        raise AssertionError("a piece of no track")


def _write(writer: EntityStoreWriter, track: CustomTrack, piece: CropPiece, sound: Sound) -> str:
    """Write a piece as an entity and return its name; nothing where it has no labels."""
    stop = piece.start + len(piece.crops)
    labels = track.labels[piece.start - track.face.start : stop - track.face.start]
    if (labels == UNLABELLED).all():
        return ""
    entity = track.entity
    info = EntityInfo(
        name=f"{entity.video}:{entity.name}:{piece.start}",
        video=entity.video,
        num_frames=len(labels),
        fps=Fraction(FPS),
        num_speaking=int((labels == SPEAKING).sum()),
        person=entity.person,
    )
    waveform = sound.read(piece.start * SAMPLES_PER_FRAME, stop * SAMPLES_PER_FRAME)
    writer.add(info, piece.crops, waveform, labels, np.arange(piece.start, stop) / FPS)
    return info.name
