"""The sources of TalkSet's clips: the faces of videos, and when they talk or are still."""

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import UNLABELLED, EntityInfo
from utils.datasets.spreadsheets import TableError, read_cells
from utils.datasets.storage.entity_store import EntityStoreWriter
from utils.datasets.talkset.voice_activity import (
    Runs,
    audio_levels,
    find_runs,
    find_voice,
    mouth_motion,
)
from utils.errors import UserError
from utils.media.audio import Sound
from utils.media.container import ReadOptions, VideoInfo
from utils.structures import FPS, SAMPLES_PER_FRAME, STEPS_PER_FRAME, CropPiece, Shot

logger = logging.getLogger(__name__)

STILL = 2.0  # grey levels per frame; a mouth that moves less is still
PHOTOGRAPH = 0.5  # grey levels per frame; a face that moves less during speech is a photograph
MIN_STILL = 8  # frames; shorter still parts are ignored
ALONE = 0.25  # a face that is visible with others for a larger share may not be the speaker
SPEAKER_FOLDER = re.compile(r"id\d{5}")  # of VoxCeleb
PEOPLE_NAMES = ("file", "identity", "kind")
PEOPLE_COLUMNS = "file, identity (several separated by ;) and optionally kind (speech or negative)"

FindFaces = Callable[[VideoInfo], Iterable[CropPiece | Shot]]


@dataclass(frozen=True)
class VideoPerson:
    """The person visible in a video, and whether the audio may be that person's voice."""

    name: str
    talks: bool = True


@dataclass(frozen=True)
class SourceFace:
    """Up to 60 s of a face in the store of sources."""

    name: str  # of the entity in the store
    video: str  # path, as given
    person: str
    start: int  # video frame of the first crop
    num_frames: int
    talks: bool  # whether the video's voice is certainly that of this face
    voice: Runs  # voice activity, in steps of 10 ms from the first frame
    still: Runs  # still mouth, in frames from the first frame

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "SourceFace":
        """Return the source of a journal's record."""
        source = cls(**record)
        voice = [(start, stop) for start, stop in source.voice]
        return replace(source, voice=voice, still=[(start, stop) for start, stop in source.still])

    @property
    def num_steps(self) -> int:
        """Number of steps of 10 ms."""
        return self.num_frames * STEPS_PER_FRAME


def names_below(videos: Sequence[Path]) -> dict[Path, PurePath]:
    """Return the path of each video relative to their common folder."""
    if not videos:
        return {}
    root = os.path.commonpath([path.absolute().parent for path in videos])
    return {path: path.absolute().relative_to(root) for path in videos}


def name_people(videos: Sequence[Path], table: Path | None) -> dict[Path, VideoPerson]:
    """Return the person in each video.

    A table of files and identities has priority; if a file has several identities, the talking one
    is unknown. Without an entry, the person is the folder named like a VoxCeleb speaker, else the
    first folder below the common folder of all videos, else the file's name.

    Raises:
        UserError: The table cannot be read, or a name in it is that of several videos.
    """
    listed = _read_people(table) if table else {}
    relative = names_below(videos)
    all_paths = {name.as_posix() for name in relative.values()}
    num_named = Counter(path.name for path in relative)
    people, used = {}, set()
    for path, name in relative.items():
        key = name.as_posix()
        if key not in listed and path.name in listed and path.name not in all_paths:
            key = path.name
            if num_named[key] > 1:
                raise UserError(
                    f"{table}: {key!r} is the name of {num_named[key]} videos; list their paths "
                    f"relative to the common folder of all videos, such as {name.as_posix()!r}"
                )
        used.add(key)
        speaker = next((part for part in name.parts if SPEAKER_FOLDER.fullmatch(part)), None)
        default = speaker or (name.parts[0] if len(name.parts) > 1 else path.stem)
        people[path] = listed.get(key) or VideoPerson(default)
    unused = sorted(set(listed) - used)
    if unused:
        message = "%s: %d files are not among the videos, for example %s"
        logger.warning(message, table, len(unused), unused[0])
    return people


def _read_people(table: Path) -> dict[str, VideoPerson]:
    """Read a table of the person in each file."""
    people: dict[str, VideoPerson] = {}
    try:
        lines = read_cells(table, PEOPLE_NAMES)
        first, header = next(lines, (1, []))
        names = [name.strip() for name in header]
        if not set(PEOPLE_NAMES[:2]) <= set(names):
            found = ",".join(names) or "an empty file"
            raise UserError(
                f"{table}, line {first}: expected columns {PEOPLE_COLUMNS}; found {found}"
            )
        for line, cells in lines:
            row = dict(zip(names, (cell.strip() for cell in cells), strict=False))
            file, identity = row["file"], row.get("identity", "")
            kind = row.get("kind") or "speech"
            if not file or not identity or kind not in ("speech", "negative"):
                raise UserError(
                    f"{table}, line {line}: expected {PEOPLE_COLUMNS}; found file "
                    f"{file!r}, identity {identity!r}, kind {kind!r}"
                )
            person = VideoPerson(identity, kind == "speech" and ";" not in identity)
            if people.setdefault(file, person) != person:
                raise UserError(f"{table}, line {line}: {file!r} has another person in a row above")
    except TableError as error:
        raise UserError(f"{table}, {error}") from error
    return people


def find_sources(
    video: VideoInfo,
    key: str,
    person: VideoPerson,
    find_faces: FindFaces,
    writer: EntityStoreWriter,
) -> list[dict[str, Any]]:
    """Write the faces of a video to the store; return its sources as JSON values.

    Entities of an earlier run are replaced, as they may have another person.

    Args:
        video: The result of `probe`.
        key: The video's name in the store and the lists.
        person: The person in the video.
        find_faces: Yields the crops of a video.
        writer: Writer of the store of sources.
    """
    whole = Sound(video, ReadOptions())
    voice = find_voice(audio_levels(whole, video.duration_s + 1 if video.duration_s else 0))
    audio = Sound(video, ReadOptions())
    found: list[tuple[SourceFace, float]] = []
    for piece in find_faces(video):
        if isinstance(piece, CropPiece) and piece.kept and len(piece.crops) >= 2:
            motion = mouth_motion(piece.crops)
            source = _describe(piece, str(video.path), person, voice, motion)
            source = replace(source, name=f"{key}:{piece.start}:{piece.track}")
            _write(writer, source, key, piece, audio)
            found.append((source, _motion_in(voice, source, motion)))
    audio.close()
    sources = [source for source, _ in found]
    records = []
    for source, motion_level in found:
        talks = source.talks and motion_level > PHOTOGRAPH and _is_alone(source, sources)
        records.append(asdict(replace(source, talks=talks)))
    return records


def _describe(
    piece: CropPiece,
    path: str,
    person: VideoPerson,
    voice: NDArray[np.bool_],
    motion: NDArray[np.float32],
) -> SourceFace:
    """Return the source of a piece, without its name."""
    first = piece.start * STEPS_PER_FRAME
    active = voice[first : first + len(piece.crops) * STEPS_PER_FRAME]
    still = [(a, b) for a, b in find_runs(motion < STILL, 3) if b - a >= MIN_STILL]
    return SourceFace(
        name="",
        video=path,
        person=person.name,
        start=piece.start,
        num_frames=len(piece.crops),
        talks=person.talks and bool(active.any()),
        voice=find_runs(active),
        still=still,
    )


def _motion_in(voice: NDArray[np.bool_], source: SourceFace, motion: NDArray[np.float32]) -> float:
    """Return the mean motion of the mouth during voice activity; 0 without any."""
    first = source.start * STEPS_PER_FRAME
    active = np.zeros(source.num_steps, np.bool_)
    part = voice[first : first + source.num_steps]
    active[: len(part)] = part
    frames = active.reshape(-1, STEPS_PER_FRAME).any(axis=1)
    return float(motion[frames].mean()) if frames.any() else 0.0


def _is_alone(source: SourceFace, others: Sequence[SourceFace]) -> bool:
    """Return whether a face is the only visible one for most of its time."""
    shared = np.zeros(source.num_frames, np.bool_)
    for other in others:
        if other is not source:
            start = max(0, other.start - source.start)
            shared[start : max(start, other.start + other.num_frames - source.start)] = True
    return bool(shared.mean() <= ALONE)


def _write(
    writer: EntityStoreWriter, source: SourceFace, key: str, piece: CropPiece, audio: Sound
) -> None:
    """Write a source with the audio of its video, unlabelled; clips of it get labels later."""
    stop = piece.start + len(piece.crops)
    info = EntityInfo(source.name, key, source.num_frames, Fraction(FPS), 0, source.person)
    waveform = audio.read(piece.start * SAMPLES_PER_FRAME, stop * SAMPLES_PER_FRAME)
    labels = np.full(source.num_frames, UNLABELLED, np.int8)
    writer.add(info, piece.crops, waveform, labels, np.arange(piece.start, stop) / FPS)
