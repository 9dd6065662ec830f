"""Prepare custom data: crop the faces of the videos as the demo does, and store them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from utils.datasets.custom.check import duplicate_problem, keep_inside, open_video
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

IMAGE_SIDE = 256  # pixels, longer side of the images in which cuts are detected
LOST_S = 0.5  # a longer part missing at the end of a video is reported

Progress = Callable[[float, float], None]  # videos done, total


@dataclass(frozen=True)
class CustomPrepareOptions:
    """How custom data is prepared."""

    own: CustomOptions = CustomOptions()
    crops: CropOptions = CropOptions()
    shots: ShotOptions = ShotOptions()
    num_processes: Annotated[int, "videos prepared in parallel; 0: one per core"] = 1


@dataclass
class CustomPrepareReport:
    """Result of a preparation."""

    problems: list[TableProblem] = field(default_factory=list)
    videos: int = 0  # done, in this run or earlier
    skipped: int = 0  # missing or broken videos
    entities: int = 0
    frames: int = 0
    removed: int = 0  # stored entities that are no longer in the tables


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
    """Write a split of custom data to a store; invalid rows and videos are reported and skipped.

    When run again, it continues with videos that are not done or whose rows have changed, and
    removes entities that are no longer in the tables. Nothing is removed if a table has no rows of
    the split, and no entity that may be among the unreadable rows of a table.
    Tracks longer than 60 s and tracks across cuts become several entities.

    Args:
        path: A table, or a folder of tables.
        split: Prepare only the rows of this split; None for all.
        folder: Folder of the store.
        videos: Folder of the videos; None if they are beside each table.
        options: How the data is prepared.
        progress: Called with the number of videos done and the number to do.

    Raises:
        UserError: A table cannot be read; the store is unchanged.
    """
    options = options or CustomPrepareOptions()
    report = CustomPrepareReport()
    jobs = list(_jobs((path, split, videos), folder, options, report.problems))
    _check_readable(report.problems, folder)
    if not jobs:
        return report
    writer = EntityStoreWriter(folder)
    writer.remove_leftovers()
    settings: dict[str, Any] = {"split": split}
    for part in (options.own, options.crops, options.shots):
        settings |= {f"--{flag_name(name)}": value for name, value in asdict(part).items()}
    prepared = PreparedVideos(folder, settings)
    undone = [job for job in jobs if not prepared.is_done(job.entities)]
    remaining = {key_of(job.entities) for job in undone}
    unread = {
        Path(problem.file).name: problem.file
        for problem in report.problems
        if problem.kind in UNREAD
    }
    for key in (key_of(job.entities) for job in jobs):
        if key not in remaining:
            _add(report, prepared.outcome(key))
    _report_kept(prepared.remove_outdated([job.entities for job in jobs], unread), unread, report)
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


def _check_readable(problems: Sequence[TableProblem], folder: Path) -> None:
    """Raise UserError if a table could not be read."""
    unread = [str(problem) for problem in problems if problem.kind == TABLE]
    if unread:
        raise UserError(f"{'; '.join(unread)}. Nothing was changed in {folder}")


def _report_kept(
    names: Sequence[str], unread: Mapping[str, str], report: CustomPrepareReport
) -> None:
    """Report entities that are kept because some rows cannot be read."""
    if names:
        found = f"{len(names)} stored faces without readable rows, for example {names[0]!r}"
        expected = "rows for them, or no unreadable rows; until then they are kept"
        report.problems.append(TableProblem(min(unread.values()), 0, "kept", found, expected))


def _jobs(
    source: tuple[Path, str | None, Path | None],
    folder: Path,
    options: CustomPrepareOptions,
    problems: list[TableProblem],
) -> Iterator[PrepareJob]:
    """Yield a job per video; an entity in two tables is read from the first.

    Args:
        source: Path, split and folder of videos.
        folder: Folder of the store.
        options: How the data is prepared.
        problems: Problems of the tables are appended to it.
    """
    path, split, videos = source
    files: dict[tuple[str, str], str] = {}
    for table, entities in read_tables(path, split, problems):
        unique = []
        for entity in entities:
            first_file = files.setdefault((entity.video, entity.name), entity.file)
            if first_file == entity.file:
                unique.append(entity)
            else:
                problems.append(duplicate_problem(entity, first_file))
        for name, group in groupby(unique, key=lambda entity: entity.video):
            yield PrepareJob(find_video(table, name, videos), list(group), folder, options)


def _add(report: CustomPrepareReport, outcome: Mapping[str, Any]) -> None:
    """Add the outcome of a video to the report."""
    report.problems += [TableProblem(**problem) for problem in outcome["problems"]]
    report.videos += outcome["read"]
    report.skipped += not outcome["read"]
    report.entities += len(outcome["names"])
    report.frames += outcome["frames"]


def prepare_video(job: PrepareJob) -> dict[str, Any]:
    """Write the entities of one video; return the outcome as JSON values."""
    problems: list[TableProblem] = []
    names: list[str] = []
    num_frames = 0
    video = open_video(job.path, job.entities[0], problems)
    if video is not None:
        tracks = _tracks(job, video, problems)
        audio = Sound(video, ReadOptions())
        writer = EntityStoreWriter(job.folder)
        finder = _TrackFinder(tracks)
        for piece in _pieces(job, video, tracks, problems):
            if len(piece.crops) >= job.options.own.min_length * FPS:
                name = _write(writer, finder.find(piece), piece, audio)
                names += [name] if name else []
                num_frames += len(piece.crops) if name else 0
        audio.close()
    return {
        "read": video is not None,
        "rows": checksum(job.entities),
        "names": names,
        "frames": num_frames,
        "problems": [problem.as_dict() for problem in problems],
    }


def _tracks(job: PrepareJob, video: VideoInfo, problems: list[TableProblem]) -> list[CustomTrack]:
    """Return the tracks of a video that are long enough; report those that are not."""
    options = job.options.own
    kept: list[CustomTrack] = []
    for entity in job.entities:
        kept += long_tracks(keep_inside(entity, video, problems), options, problems)
    return kept


def _pieces(
    job: PrepareJob, video: VideoInfo, tracks: Sequence[CustomTrack], problems: list[TableProblem]
) -> Iterator[CropPiece]:
    """Yield the crops of the tracks; report if the video is damaged or truncated."""
    report = ReadReport()
    scale = min(1.0, IMAGE_SIDE / max(video.width, video.height))
    size = (max(1, round(video.width * scale)), max(1, round(video.height * scale)))
    frames = mark_shots(read_frames(video, size, ReadOptions(), report), job.options.shots)
    tracker = GivenTracks([track.face for track in tracks])
    for item in crop_faces(frames, tracker, job.options.crops):
        if isinstance(item, CropPiece):
            yield item
    lost_s = report.lost_s(video, ReadOptions())
    if report.errors or lost_s > LOST_S:
        entity = job.entities[0]
        found = f"{report.errors} damaged parts, {lost_s:.1f} s missing at its end"
        expected = f"{video.path} to be decodable completely; the rest of it was used"
        problems.append(
            TableProblem(entity.file, int(entity.lines[0]), "video broken", found, expected)
        )


class _TrackFinder:
    """Finds the track from which a piece was cropped."""

    def __init__(self, tracks: Sequence[CustomTrack]) -> None:
        self._tracks = tracks
        self._found: set[tuple[int, int]] = set()

    def find(self, piece: CropPiece) -> CustomTrack:
        """Return the track with the boxes of the piece; of identical ones, each only once."""
        for number, track in enumerate(self._tracks):
            offset = piece.start - track.face.start
            inside = offset >= 0 and piece.start + len(piece.crops) <= track.face.stop
            if inside and (number, piece.start) not in self._found:
                boxes = track.face.boxes[offset : offset + len(piece.crops)]
                if np.array_equal(boxes, piece.boxes):
                    self._found.add((number, piece.start))
                    return track
        raise AssertionError("no track has the boxes of the piece")


def _write(writer: EntityStoreWriter, track: CustomTrack, piece: CropPiece, audio: Sound) -> str:
    """Write a piece as an entity and return its name; unlabelled ones are skipped, return ""."""
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
    waveform = audio.read(piece.start * SAMPLES_PER_FRAME, stop * SAMPLES_PER_FRAME)
    writer.add(info, piece.crops, waveform, labels, np.arange(piece.start, stop) / FPS)
    return info.name
