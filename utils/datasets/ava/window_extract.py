"""Prepare AVA-ActiveSpeaker for ava_asd: faces and audio features of its windows, in one folder.

FOLDER/faces           entity store with one entity per subsampled track, see `track_name`
FOLDER/sounds/V.npy    normalised MFCC of video V, (L, 13), 100 per second
FOLDER/journal.jsonl   settings, and a line for each finished video
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
    """How the extraction runs."""

    num_processes: int = 0  # 0: one per core
    progress: Callable[[int, int], None] | None = None  # called with videos done, and total


ALONE = ExtractionWork(1)


@dataclass(frozen=True)
class ExtractOptions:
    """What is stored of the videos."""

    size: Annotated[int, "height and width of the faces, pixels"] = 100
    colour: Annotated[bool, "store colour"] = False
    margin_s: Annotated[float, "audio kept before the first and after the last label, s"] = 3.0
    own_rates: Annotated[
        bool, "keep each file's own sampling rate, as published, not 16 kHz as the demo hears it"
    ] = False
    late_pictures: Annotated[
        bool, "take each picture 0.1 to 0.2 s before its row, as published"
    ] = False

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 1024:
            raise UserError(f"size must be between 8 and 1024, got {self.size}")
        if self.margin_s < 0.5:
            raise UserError(
                f"margin_s must be 0.5 or more, as windows read earlier audio; got {self.margin_s}"
            )


@dataclass(frozen=True, eq=False)
class _ExtractionJob:
    """A video to extract."""

    folder: Path
    rows: VideoRows
    path: Path
    options: ExtractOptions
    windows: WindowOptions


@dataclass(frozen=True)
class ExtractedVideo:
    """The journal's record of a video."""

    width: int
    height: int
    rate: int  # of the audio, samples/s
    start_s: float  # of the audio, on the video's clock
    lost: Mapping[str, str]  # reason by track without images
    rows: int  # checksum of its labelled rows


def extract(
    folder: Path,
    rows: Sequence[VideoRows],
    videos: Mapping[str, Path],
    options: ExtractOptions,
    windows: WindowOptions,
    work: ExtractionWork = ALONE,
) -> list[str]:
    """Extract the videos that are not done yet; return a list of what failed.

    When run again with the same options, it extracts the remaining videos and those whose rows
    have changed.

    Args:
        folder: Target folder.
        rows: The labels.
        videos: Files by name of the video.
        options: What is stored.
        windows: How tracks are cut; a store can only be used for windows of these tracks.
        work: How the extraction runs.

    Raises:
        DiskFullError: The disk is full; finished entities are kept.
        ResourceError: A process was killed; finished entities are kept.
    """
    check_folder(folder / "sounds")
    journal = open_journal(folder, options, windows)
    writer = EntityStoreWriter(folder / "faces", options.size, options.colour)
    writer.remove_leftovers()
    todo = [video for video in rows if not _is_done(video, journal)]
    todo.sort(key=lambda video: -len(video.faces))  # long ones first, for even load
    failed = {video.video: f"found no video {video.video}.*" for video in todo}
    jobs = [
        _ExtractionJob(folder, video, videos[video.video], options, windows)
        for video in todo
        if video.video in videos
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
    problems = [f"video {name}: {reason}" for name, reason in failed.items()]
    for video in rows:
        lost = journal.done[video.video]["lost"] if video.video in journal.done else {}
        problems += [f"track {name}: {reason}" for name, reason in lost.items()]
    return problems


def _is_done(rows: VideoRows, journal: JobJournal) -> bool:
    """Return whether a video was extracted with these rows; older journals lack the checksum."""
    outcome = journal.done.get(rows.video)
    return outcome is not None and outcome.get("rows", _checksum(rows)) == _checksum(rows)


def _checksum(rows: VideoRows) -> int:
    """Return a checksum of the faces, times and labels of a video."""
    names = "\n".join(rows.names[face] for face in rows.faces.tolist())
    columns = (rows.timestamps.tobytes(), rows.labels.tobytes())
    return zlib.crc32(columns[1], zlib.crc32(columns[0], zlib.crc32(names.encode())))


def _do(job: _ExtractionJob) -> ExtractedVideo | str:
    """Extract one video; return the reason if it cannot be read."""
    try:
        return _extract_video(job)
    except DiskFullError:
        raise
    except (UserError, ResourceError, FileNotFoundError) as error:
        return str(error)


def open_journal(folder: Path, options: ExtractOptions, windows: WindowOptions) -> JobJournal:
    """Open the journal of a folder; raises UserError if it was created with other options."""
    cutting = {"fps": windows.fps, "length": windows.length, "lose_rows": windows.lose_rows}
    return JobJournal(
        folder / JOURNAL,
        {**asdict(options), **cutting},
        "change them back, or use another --windowPath",
    )


def audio_path(folder: Path, video: str) -> Path:
    """Return the path of a video's MFCC vectors."""
    return folder / "sounds" / f"{video}.npy"


def track_name(rows: VideoRows, track: NDArray[np.int64]) -> str:
    """Return the name of a track's entity: video, face, and the time of its first row."""
    return f"{rows.video}/{rows.names[rows.faces[track[0]]]}@{rows.timestamps[track[0]]:.3f}"


def _extract_video(job: _ExtractionJob) -> ExtractedVideo:
    """Write faces and audio features of one video."""
    rows, options, windows = job.rows, job.options, job.windows
    video = probe(job.path)
    first_s, last_s = float(rows.timestamps.min()), float(rows.timestamps.max())
    start_s = max(0.0, first_s - options.margin_s)
    rate = _own_rate(video) if options.own_rates else SAMPLE_RATE
    span = ReadOptions(start_s, last_s + options.margin_s - start_s, threads=1)
    _write_audio(audio_path(job.folder, rows.video), video, span, rate)
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


def _write_audio(path: Path, video: VideoInfo, span: ReadOptions, rate: int) -> None:
    """Write the normalised vectors of a span of the audio; of silence if there is no audio."""

    def pieces() -> Iterable[NDArray[np.int16]]:
        return read_sound(video, span, rate)

    chunks = [*vectors(pieces(), measure(pieces, rate), rate)]
    with replacing(path) as temporary:
        np.save(temporary, np.concatenate(chunks).reshape(-1, NUM_FEATURES))


def _own_rate(video: VideoInfo) -> int:
    """Return the sampling rate of a video's audio; 16 kHz if it has none."""
    sources = choose_sound(video).sources
    with open_media(video.path) as container:
        stream = sound_stream(container, sources[0].index) if sources else None
        rate: Any = stream.rate if stream is not None else None
        return int(rate or SAMPLE_RATE)
