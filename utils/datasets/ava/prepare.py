"""Create the compact store of AVA-ActiveSpeaker from its movies and labels, on all cores."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Annotated

from utils.datasets.ava.dataset import AvaFolder
from utils.datasets.ava.tables import (
    LabelledFace,
    LoaderRow,
    make_loader_rows,
    read_labels,
    read_loader,
    write_loader,
)
from utils.datasets.ava.video import CutReport, cut_video
from utils.datasets.storage.entity_store import EntityStoreWriter
from utils.datasets.storage.entity_writer import DiskFullError
from utils.datasets.storage.parallel import run_parallel
from utils.errors import ResourceError, UserError
from utils.files import check_folder, replacing
from utils.media.container import probe
from utils.media.video_files import find_videos

logger = logging.getLogger(__name__)

REPORT = "prepare_report"

Progress = Callable[[float, float], None]  # faces done, total


@dataclass(frozen=True)
class AvaPrepareOptions:
    """How the store is created."""

    num_processes: Annotated[int, "videos prepared in parallel; 0: one per core"] = 0
    crop_size: Annotated[int, "height and width of the face crops, pixels"] = 112
    colour: Annotated[bool, "store colour; networks that read grey convert it"] = False

    def __post_init__(self) -> None:
        if self.num_processes < 0:
            raise UserError(f"--numProcesses must be 0 or more, got {self.num_processes}")
        if not 8 <= self.crop_size <= 1024:
            raise UserError(f"--cropSize must be between 8 and 1024, got {self.crop_size}")


@dataclass
class AvaPrepareReport:
    """Result of a preparation."""

    split: str
    entities: int = 0  # in the labels
    already: int = 0  # written in earlier runs
    written: int = 0  # in this run
    frames: int = 0  # of the entities written in this run
    padded: dict[str, tuple[int, int]] = field(default_factory=dict)  # name: frames, samples
    lost: dict[str, str] = field(default_factory=dict)  # reason by entity
    videos: dict[str, str] = field(default_factory=dict)  # reason by video that cannot be used

    def summary(self) -> str:
        """Return the number of entities by outcome."""
        return (
            f"{self.split}: {self.entities} entities, {self.already} existed, "
            f"{self.written} written ({self.frames} faces), {len(self.padded)} of them padded, "
            f"{len(self.lost)} lost"
        )

    def text(self) -> str:
        """Return the report as text."""
        lines = [self.summary()]
        lines += [f"  video {name}: {reason}" for name, reason in sorted(self.videos.items())]
        lines += [
            f"  padded {name}: {frames} images, {samples} audio samples"
            for name, (frames, samples) in sorted(self.padded.items())
        ]
        video_reasons = self.videos.values()
        lines += [
            f"  lost {name}: {reason}"
            for name, reason in sorted(self.lost.items())
            if reason not in video_reasons
        ]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, eq=False)
class _CutJob:
    """The entities of one video."""

    video: Path
    faces: Sequence[tuple[LabelledFace, LoaderRow]]
    store: Path
    options: AvaPrepareOptions

    @property
    def num_faces(self) -> int:
        return sum(len(face.labels) for face, _ in self.faces)


def prepare(
    root: Path, split: str, options: AvaPrepareOptions, progress: Progress | None = None
) -> AvaPrepareReport:
    """Store all missing entities of a split; write index, loader table and report.

    Entities whose labels have changed are stored again. Missing and broken videos are reported and
    skipped. When run again, it continues with the remaining entities.

    Raises:
        DiskFullError: The disk is full; finished entities are kept.
        ResourceError: A process was killed; finished entities are kept.
    """
    folder = AvaFolder(root)
    if not folder.labels(split).is_file():
        raise FileNotFoundError(
            f"expected the labels of {split} in {folder.labels(split)}, found none; "
            f"run python trainTalkNet.py --download --dataPathAVA {root}"
        )
    check_folder(root)
    faces = read_labels([folder.labels(split)], has_labels=split != "test")
    videos = find_videos(folder.videos(split))
    rows = _loader_rows(folder, split, faces, videos)
    writer = EntityStoreWriter(folder.store(split), options.crop_size, options.colour)
    writer.remove_leftovers()
    report = AvaPrepareReport(split, entities=len(faces))
    todo = _remaining(faces, rows, videos, writer, report)
    jobs = [_CutJob(videos[name], pairs, writer.folder, options) for name, pairs in todo.items()]
    jobs.sort(key=lambda job: job.num_faces, reverse=True)  # long ones first, for even load
    total = sum(job.num_faces for job in jobs)
    done = 0
    for job, result in run_parallel(_do, jobs, options.num_processes):
        done += job.num_faces
        _add(report, job, result)
        if progress:
            progress(done, total)
    writer.write_index()
    write_report(root / f"{REPORT}_{split}", report)
    return report


def write_report(stem: Path, report: AvaPrepareReport) -> None:
    """Write a report as JSON and as text."""
    contents = {".json": json.dumps(asdict(report), indent=1) + "\n", ".txt": report.text()}
    for suffix, text in contents.items():
        with replacing(stem.with_name(stem.name + suffix)) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _loader_rows(
    folder: AvaFolder, split: str, faces: Sequence[LabelledFace], videos: dict[str, Path]
) -> dict[str, LoaderRow]:
    """Return the rows of the loader table by entity; the table is created if missing."""
    path = folder.loader(split)
    if not path.is_file():

        def rate(name: str) -> Fraction | None:
            if name not in videos:
                return None  # the rate is derived from the time stamps
            try:
                return probe(videos[name]).fps
            except (UserError, ResourceError, FileNotFoundError):
                return None  # the video is broken

        write_loader(path, make_loader_rows(faces, rate))
    rows = {row.name: row for row in read_loader(path, has_labels=split != "test")}
    for face in faces:
        row = rows.get(face.name)
        if row is None or len(row.labels) != len(face.labels):
            found = "none" if row is None else f"{len(row.labels)}"
            raise UserError(
                f"entity {face.name} has {len(face.labels)} frames in {folder.labels(split)} and "
                f"{found} in {path}; remove {path.name} to have it created again"
            )
    return rows


def _remaining(
    faces: Sequence[LabelledFace],
    rows: dict[str, LoaderRow],
    videos: dict[str, Path],
    writer: EntityStoreWriter,
    report: AvaPrepareReport,
) -> dict[str, list[tuple[LabelledFace, LoaderRow]]]:
    """Return the entities to prepare by video; add the others to the report."""
    by_video: dict[str, list[tuple[LabelledFace, LoaderRow]]] = {}
    for face in faces:
        if writer.holds(face.name, face.labels, face.timestamps):
            report.already += 1
        elif face.video in videos:
            by_video.setdefault(face.video, []).append((face, rows[face.name]))
        else:
            report.videos[face.video] = reason = f"found no video {face.video}.*"
            report.lost[face.name] = reason
    return by_video


def _do(job: _CutJob) -> CutReport | str:
    """Store the entities of one video; return the reason if the video cannot be read."""
    try:
        options = job.options
        writer = EntityStoreWriter(job.store, options.crop_size, options.colour)
        return cut_video(job.video, job.faces, writer)
    except DiskFullError:
        raise
    except (UserError, ResourceError, FileNotFoundError) as error:
        return str(error)


def _add(report: AvaPrepareReport, job: _CutJob, result: CutReport | str) -> None:
    """Add the outcome of a video to the report."""
    name = job.faces[0][0].video
    if isinstance(result, str):
        logger.warning("%s: %s", name, result)
        report.videos[name] = result
        report.lost |= {face.name: result for face, _ in job.faces}
        return
    report.written += result.written
    report.frames += result.frames
    report.padded |= result.padded
    report.lost |= result.lost
