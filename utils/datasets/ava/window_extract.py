"""Prepare AVA-ActiveSpeaker for ava_asd: the faces and the sound of its windows, in one folder.

FOLDER/faces           a store with one entity for each thinned-out track, see `track_name`
FOLDER/sounds/V.npy    the normalised MFCC of video V, (L, 13), a hundred a second
FOLDER/journal.jsonl   how it was made, and a line for each video that is done
"""

import logging
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from utils.datasets.ava.tables import LabelledFace, LoaderRow
from utils.datasets.ava.video import cut_video
from utils.datasets.ava.windows import VideoRows, WindowOptions, thinned_tracks
from utils.datasets.entities import NOT_SPEAKING, SPEAKING
from utils.datasets.storage.entity_store import EntityStoreWriter
from utils.datasets.storage.entity_writer import DiskFullError
from utils.datasets.storage.job_journal import JobJournal
from utils.datasets.storage.parallel import run_parallel
from utils.errors import ResourceError, UserError
from utils.features.ava_asd_mfcc import NUM_FEATURES, measure, vectors
from utils.files import check_folder, replacing
from utils.media.audio import read_sound
from utils.media.audio_streams.choice import choose_sound
from utils.media.container import ReadOptions, VideoInfo, open_media, probe, sound_stream
from utils.structures import SAMPLE_RATE

logger = logging.getLogger(__name__)

JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class ExtractionWork:
    """Who does a job, and who is told of it."""

    num_processes: int = 0  # 0 is one for each core
    progress: Callable[[int, int], None] | None = None  # told videos done, and to be done


ALONE = ExtractionWork(1)


@dataclass(frozen=True)
class ExtractOptions:
    """What is kept of the videos."""

    size: Annotated[int, "height and width of the pictures"] = 100
    colour: Annotated[bool, "keep colour"] = False
    margin_s: Annotated[float, "sound kept before the first label and after the last, s"] = 3.0
    own_rates: Annotated[
        bool, "keep each file's own sampling rate, as published, not 16 kHz as the demo hears it"
    ] = False
    late_pictures: Annotated[
        bool, "take each picture 0.1 to 0.2 s before its row, as published"
    ] = False

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 1024:
            raise UserError(f"size must be within 8 and 1024, got {self.size}")
        if self.margin_s < 0.5:
            raise UserError(
                f"margin_s must be 0.5 or more, for windows read sound before them; "
                f"got {self.margin_s}"
            )


@dataclass(frozen=True, eq=False)
class _ExtractionJob:
    """A video that is not done yet."""

    folder: Path
    rows: VideoRows
    path: Path
    options: ExtractOptions
    windows: WindowOptions


@dataclass(frozen=True)
class ExtractedVideo:
    """What the journal says of a video."""

    width: int
    height: int
    rate: int  # of the sound, samples/s
    start_s: float  # of the sound, on the video's clock
    lost: Mapping[str, str]  # tracks that gave no pictures: why
    rows: int  # checksum of its labelled rows


def extract(
    folder: Path,
    rows: Sequence[VideoRows],
    videos: Mapping[str, Path],
    options: ExtractOptions,
    windows: WindowOptions,
    work: ExtractionWork = ALONE,
) -> list[str]:
    """Extract the videos that are not done yet; return what could not be had, in words.

    Started again with the same options, it does what is left, and videos whose rows have changed.

    Args:
        folder: Where to.
        rows: The labels.
        videos: Files by name of the video.
        options: What is kept.
        windows: How tracks are cut; a store is good for windows of these tracks only.
        work: Who does it.

    Raises:
        DiskFullError: What was written before is kept; so it is with the next.
        RuntimeError: A process was killed.
    """
    check_folder(folder / "sounds")
    journal = open_journal(folder, options, windows)
    writer = EntityStoreWriter(folder / "faces", options.size, options.colour)
    writer.remove_leftovers()
    todo = [one for one in rows if not _is_done(one, journal)]
    failed = {one.video: f"no video {one.video}.* is there" for one in todo}
    jobs = [
        _ExtractionJob(folder, one, videos[one.video], options, windows)
        for one in sorted(todo, key=lambda one: -len(one.faces))  # no long one is left to the end
        if one.video in videos
    ]
    for number, (job, outcome) in enumerate(run_parallel(_do, jobs, work.num_processes), start=1):
        if isinstance(outcome, str):
            failed[job.rows.video] = outcome
        else:
            del failed[job.rows.video]
            journal.add(job.rows.video, asdict(outcome))
        if work.progress:
            work.progress(number, len(jobs))
    if jobs:
        writer.write_index()
    problems = [f"video {name}: {why}" for name, why in failed.items()]
    for one in rows:
        lost = journal.done[one.video]["lost"] if one.video in journal.done else {}
        problems += [f"track {name}: {why}" for name, why in lost.items()]
    return problems


def _is_done(rows: VideoRows, journal: JobJournal) -> bool:
    """Tell whether a video was extracted by these rows; older journals do not say by which."""
    outcome = journal.done.get(rows.video)
    return outcome is not None and outcome.get("rows", _checksum(rows)) == _checksum(rows)


def _checksum(rows: VideoRows) -> int:
    """Return a number that changes with the faces, times and labels of a video."""
    names = "\n".join(rows.names[face] for face in rows.faces.tolist())
    columns = (rows.timestamps.tobytes(), rows.labels.tobytes())
    return zlib.crc32(columns[1], zlib.crc32(columns[0], zlib.crc32(names.encode())))


def _do(job: _ExtractionJob) -> ExtractedVideo | str:
    """Extract one video; a string says why it could not be read."""
    try:
        return _extract_video(job)
    except DiskFullError:
        raise
    except (UserError, ResourceError, FileNotFoundError) as error:
        return str(error)


def open_journal(folder: Path, options: ExtractOptions, windows: WindowOptions) -> JobJournal:
    """Open the journal of a folder; UserError where it was made with other options."""
    cutting = {"fps": windows.fps, "length": windows.length, "lose_rows": windows.lose_rows}
    return JobJournal(
        folder / JOURNAL,
        {**asdict(options), **cutting},
        "set them back, or choose another --windowPath",
    )


def sound_path(folder: Path, video: str) -> Path:
    """Return where the vectors of a video lie."""
    return folder / "sounds" / f"{video}.npy"


def track_name(rows: VideoRows, track: NDArray[np.int64]) -> str:
    """Return the name of a track's entity: video, face, and the time of its first row."""
    return f"{rows.video}/{rows.names[rows.faces[track[0]]]}@{rows.timestamps[track[0]]:.3f}"


def _extract_video(job: _ExtractionJob) -> ExtractedVideo:
    """Write pictures and sound of one video."""
    rows, options, windows = job.rows, job.options, job.windows
    video = probe(job.path)
    first_s, last_s = float(rows.timestamps.min()), float(rows.timestamps.max())
    start_s = max(0.0, first_s - options.margin_s)
    rate = _own_rate(video) if options.own_rates else SAMPLE_RATE
    span = ReadOptions(start_s, last_s + options.margin_s - start_s, threads=1)
    _write_sound(sound_path(job.folder, rows.video), video, span, rate)
    faces = []
    for track in thinned_tracks(rows, windows):
        times = rows.timestamps[track]
        if options.late_pictures:
            # Kept: pictures are numbered from 1, but looked up as if it were from 0.
            times = start_s + (np.trunc((times - start_s) * windows.fps) - 1) / windows.fps
        labels = np.where(rows.speaking[track], SPEAKING, NOT_SPEAKING).astype(np.int8)
        name = track_name(rows, track)
        face = LabelledFace(name, rows.video, times, rows.boxes[track], labels)
        faces.append((face, LoaderRow(name, Fraction(windows.fps), labels)))
    writer = EntityStoreWriter(job.folder / "faces", options.size, options.colour)
    cut = cut_video(job.path, faces, writer)
    return ExtractedVideo(video.width, video.height, rate, start_s, cut.lost, _checksum(rows))


def _write_sound(path: Path, video: VideoInfo, span: ReadOptions, rate: int) -> None:
    """Write the normalised vectors of a span of the sound; without sound they are silence's."""

    def pieces() -> Iterable[NDArray[np.int16]]:
        return read_sound(video, span, rate)

    found = [*vectors(pieces(), measure(pieces, rate), rate)]
    with replacing(path) as temporary:
        np.save(temporary, np.concatenate(found).reshape(-1, NUM_FEATURES))


def _own_rate(video: VideoInfo) -> int:
    """Return the rate of a video's own sound; the working rate where it has none."""
    sources = choose_sound(video).sources
    with open_media(video.path) as container:
        stream = sound_stream(container, sources[0].index) if sources else None
        found: Any = stream.rate if stream is not None else None
        return int(found or SAMPLE_RATE)
