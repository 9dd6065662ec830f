"""Prepare AVA-ActiveSpeaker for ava_asd: the faces and the sound of its windows, in one folder.

FOLDER/faces           a store with one entity for each thinned-out track, see `track_name`
FOLDER/sounds/V.npy    the normalised MFCC of video V, (L, 13), a hundred a second
FOLDER/journal.jsonl   how it was made, and a line for each video that is done
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from utils.datasets.ava_asd_windows import VideoRows, WindowOptions, thinned_tracks
from utils.datasets.ava_tables import LabelledFace, LoaderRow
from utils.datasets.ava_video import cut_video
from utils.datasets.entities import NOT_SPEAKING, SPEAKING
from utils.datasets.journal import Journal
from utils.datasets.store import StoreWriter
from utils.features.ava_asd_mfcc import NUM_FEATURES, measure, vectors
from utils.files import check_folder, replacing
from utils.media import ReadOptions, ReadReport, VideoInfo, open_media, probe, sound_stream
from utils.resample import SoundFormat, read_pieces
from utils.structures import SAMPLE_RATE

logger = logging.getLogger(__name__)

JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class ExtractOptions:
    """What is kept of the videos."""

    size: Annotated[int, "height and width of the pictures"] = 100
    colour: Annotated[bool, "keep colour"] = False
    margin_s: Annotated[float, "sound kept before the first label and after the last, s"] = 3.0
    sound_rate: Annotated[
        int, "samples/s of all sound, as the demo hears it; 0 keeps each file's own, as published"
    ] = SAMPLE_RATE
    late_pictures: Annotated[
        bool, "take each picture 0.1 to 0.2 s before its row, as published"
    ] = False

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 1024:
            raise ValueError(f"size must be within 8 and 1024, got {self.size}")
        if self.margin_s < 0.5:
            raise ValueError(
                f"margin_s must be 0.5 or more, for windows read sound before them; "
                f"got {self.margin_s}"
            )
        if self.sound_rate and self.sound_rate < 8000:
            raise ValueError(f"sound_rate must be 0, or 8000 and more, got {self.sound_rate}")


@dataclass(frozen=True)
class Extracted:
    """What the journal says of a video."""

    width: int
    height: int
    rate: int  # of the sound, samples/s
    start_s: float  # of the sound, on the video's clock
    lost: Mapping[str, str]  # tracks that gave no pictures: why


def extract(
    folder: Path,
    rows: Sequence[VideoRows],
    videos: Mapping[str, Path],
    options: ExtractOptions,
    windows: WindowOptions,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Extract the videos that are not done yet; return what could not be had, in words.

    Started again with the same options, it does what is left.

    Args:
        folder: Where to.
        rows: The labels.
        videos: Files by name of the video.
        options: What is kept.
        windows: How tracks are cut; a store is good for windows of these tracks only.
        progress: Told how many videos are done, and how many there are.
    """
    check_folder(folder / "sounds")
    journal = open_journal(folder, options, windows)
    writer = StoreWriter(folder / "faces", options.size, options.colour)
    writer.remove_leftovers()
    problems = []
    for number, one in enumerate(rows):
        if progress:
            progress(number, len(rows))
        if one.video not in journal.done:
            try:
                if one.video not in videos:
                    raise FileNotFoundError(f"no video {one.video}.* is there")
                extracted = _extract_video(folder, one, videos[one.video], options, windows)
            except (FileNotFoundError, ValueError) as error:
                logger.warning("%s: %s", one.video, error)
                problems.append(f"video {one.video}: {error}")
                continue
            journal.add(one.video, asdict(extracted))
        lost = journal.done[one.video]["lost"]
        problems += [f"track {name}: {why}" for name, why in lost.items()]
    writer.write_index()
    if progress:
        progress(len(rows), len(rows))
    return problems


def open_journal(folder: Path, options: ExtractOptions, windows: WindowOptions) -> Journal:
    """Open the journal of a folder; ValueError where it was made with other options."""
    cutting = {"fps": windows.fps, "length": windows.length, "lose_rows": windows.lose_rows}
    return Journal(
        folder / JOURNAL, {**asdict(options), **cutting}, "extract with other options elsewhere"
    )


def sound_path(folder: Path, video: str) -> Path:
    """Return where the vectors of a video lie."""
    return folder / "sounds" / f"{video}.npy"


def track_name(rows: VideoRows, track: NDArray[np.int64]) -> str:
    """Return the name of a track's entity: video, face, and the time of its first row."""
    return f"{rows.video}/{rows.names[rows.faces[track[0]]]}@{rows.timestamps[track[0]]:.3f}"


def _extract_video(
    folder: Path, rows: VideoRows, path: Path, options: ExtractOptions, windows: WindowOptions
) -> Extracted:
    """Write pictures and sound of one video."""
    video = probe(path)
    first_s, last_s = float(rows.timestamps.min()), float(rows.timestamps.max())
    start_s = max(0.0, first_s - options.margin_s)
    rate = options.sound_rate or _own_rate(video)
    span = ReadOptions(start_s, last_s + options.margin_s - start_s, threads=1)
    _write_sound(sound_path(folder, rows.video), video, span, rate)
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
    writer = StoreWriter(folder / "faces", options.size, options.colour)
    cut = cut_video(path, faces, writer)
    return Extracted(video.width, video.height, rate, start_s, cut.lost)


def _write_sound(path: Path, video: VideoInfo, span: ReadOptions, rate: int) -> None:
    """Write the normalised vectors of a span of the sound; without sound they are silence's."""

    def pieces() -> Iterable[NDArray[np.int16]]:
        return _pieces(video, span, rate)

    found = [*vectors(pieces(), measure(pieces, rate), rate)]
    with replacing(path) as temporary:
        np.save(temporary, np.concatenate(found).reshape(-1, NUM_FEATURES))


def _pieces(video: VideoInfo, span: ReadOptions, rate: int) -> Iterator[NDArray[np.int16]]:
    """Yield all samples of a span in order, zeros where there is no sound."""
    reached, stop = 0, round(span.duration_s * rate)
    if video.has_sound:
        for position, samples in read_pieces(video, span, SoundFormat(rate), ReadReport()):
            yield from _silence(position - reached, rate)
            yield samples[:, 0]
            reached = position + len(samples)
    yield from _silence(stop - reached, rate)


def _silence(count: int, rate: int) -> Iterator[NDArray[np.int16]]:
    """Yield so many zeros, a minute at a time."""
    for first in range(0, count, 60 * rate):
        yield np.zeros(min(60 * rate, count - first), np.int16)


def _own_rate(video: VideoInfo) -> int:
    """Return the rate of a video's own sound; the working rate where it has none."""
    with open_media(video.path) as container:
        stream = sound_stream(container)
        found: Any = stream.rate if stream is not None else None
        return int(found or SAMPLE_RATE)
