"""Make the compact store of AVA-ActiveSpeaker out of its movies and labels, on all cores."""

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

Progress = Callable[[float, float], None]  # faces so far, faces in all


@dataclass(frozen=True)
class AvaPrepareOptions:
    """How the store is made."""

    num_processes: Annotated[int, "processes that cut videos; 0 is one for each core"] = 0
    crop_size: Annotated[int, "height and width of the face crops, pixels"] = 112
    colour: Annotated[bool, "keep colour; networks that read grey convert it"] = False

    def __post_init__(self) -> None:
        if self.num_processes < 0:
            raise UserError(f"--numProcesses must be 0 or more, got {self.num_processes}")
        if not 8 <= self.crop_size <= 1024:
            raise UserError(f"--cropSize must be within 8 and 1024, got {self.crop_size}")


@dataclass
class AvaPrepareReport:
    """What a preparation did."""

    split: str
    entities: int = 0  # that the labels have
    already: int = 0  # of them written before
    written: int = 0
    frames: int = 0  # of those written now
    padded: dict[str, tuple[int, int]] = field(default_factory=dict)  # name: frames, samples
    lost: dict[str, str] = field(default_factory=dict)  # entity: why
    videos: dict[str, str] = field(default_factory=dict)  # videos that gave nothing: why

    def summary(self) -> str:
        """Return how many entities there are of each kind."""
        return (
            f"{self.split}: {self.entities} entities, {self.already} were there, "
            f"{self.written} written ({self.frames} faces), {len(self.padded)} of them padded, "
            f"{len(self.lost)} lost"
        )

    def text(self) -> str:
        """Return the report in words."""
        lines = [self.summary()]
        lines += [f"  video {name}: {why}" for name, why in sorted(self.videos.items())]
        lines += [
            f"  padded {name}: {frames} pictures, {samples} samples of sound"
            for name, (frames, samples) in sorted(self.padded.items())
        ]
        alone = {name: why for name, why in self.lost.items() if why not in self.videos.values()}
        lines += [f"  lost {name}: {why}" for name, why in sorted(alone.items())]
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
    """Cut all entities of a split that the store lacks; write index, loader table and report.

    Entities whose labels have changed since they were cut are cut anew. A video that is missing
    or broken is reported and the rest goes on. Started again, it does what is left.

    Raises:
        DiskFullError: What was written before is kept; so it is with the next.
        RuntimeError: A process was killed.
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
    todo = _sort_out(faces, rows, videos, writer, report)
    jobs = [_CutJob(videos[name], of, writer.folder, options) for name, of in todo.items()]
    jobs.sort(key=lambda job: job.num_faces, reverse=True)  # no long one is left to the end
    total = sum(job.num_faces for job in jobs)
    done = 0
    for job, result in run_parallel(_do, jobs, options.num_processes):
        done += job.num_faces
        _note(report, job, result)
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
    """Return the rows of the loader table by entity; the table is built where there is none."""
    path = folder.loader(split)
    if not path.is_file():

        def rate(name: str) -> Fraction | None:
            if name not in videos:
                return None  # the time stamps must do
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
                f"{found} in {path}; remove {path.name} to have it made again"
            )
    return rows


def _sort_out(
    faces: Sequence[LabelledFace],
    rows: dict[str, LoaderRow],
    videos: dict[str, Path],
    writer: EntityStoreWriter,
    report: AvaPrepareReport,
) -> dict[str, list[tuple[LabelledFace, LoaderRow]]]:
    """Return what is left to do by video; note what is done and what cannot be."""
    by_video: dict[str, list[tuple[LabelledFace, LoaderRow]]] = {}
    for face in faces:
        if writer.holds(face.name, face.labels, face.timestamps):
            report.already += 1
        elif face.video in videos:
            by_video.setdefault(face.video, []).append((face, rows[face.name]))
        else:
            report.videos[face.video] = why = f"no video {face.video}.* is there"
            report.lost[face.name] = why
    return by_video


def _do(job: _CutJob) -> CutReport | str:
    """Cut one video; a string says why it could not be read."""
    try:
        options = job.options
        to = EntityStoreWriter(job.store, options.crop_size, options.colour)
        return cut_video(job.video, job.faces, to)
    except DiskFullError:
        raise
    except (UserError, ResourceError, FileNotFoundError) as error:
        return str(error)


def _note(report: AvaPrepareReport, job: _CutJob, result: CutReport | str) -> None:
    """Add what became of a video to the report."""
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
