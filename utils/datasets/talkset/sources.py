"""Where TalkSet's clips are cut from: the faces of any video, and when they talk or keep still."""

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
    find_runs,
    find_voice,
    mouth_motion,
    sound_levels,
)
from utils.errors import UserError
from utils.media.audio import Sound
from utils.media.container import ReadOptions, VideoInfo
from utils.structures import FPS, SAMPLES_PER_FRAME, STEPS_PER_FRAME, CropPiece, Shot

logger = logging.getLogger(__name__)

STILL = 2.0  # grey levels a frame: mouths that move less keep still
PHOTOGRAPH = 0.5  # and those that move less than this while a voice is heard are pictures
MIN_STILL = 8  # frames; shorter moments are not looked at
ALONE = 0.25  # a face that shares more of its time with others may not be the one that talks
SPEAKER_FOLDER = re.compile(r"id\d{5}")  # of VoxCeleb
PEOPLE_NAMES = ("file", "identity", "kind")
PEOPLE_COLUMNS = "file, identity (several divided by ;) and, if wanted, kind (speech or negative)"

FindFaces = Callable[[VideoInfo], Iterable[CropPiece | Shot]]


@dataclass(frozen=True)
class VideoPerson:
    """Who is seen in a video, and whether that person's voice may be the one heard."""

    name: str
    talks: bool = True


@dataclass(frozen=True)
class SourceFace:
    """Up to 60 s of a face, kept in the store of sources."""

    name: str  # of the entity there
    video: str  # path, as it was given
    person: str
    start: int  # video frame of the first crop
    num_frames: int
    talks: bool  # whether the voice of the video is surely this face's
    voice: Runs  # where a voice is heard, 10 ms steps from the first frame on
    still: Runs  # where the mouth keeps still, frames from the first one on

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "SourceFace":
        """Build a source from what a journal holds."""
        source = cls(**record)
        voice = [(start, stop) for start, stop in source.voice]
        return replace(source, voice=voice, still=[(start, stop) for start, stop in source.still])

    @property
    def num_steps(self) -> int:
        """Steps of 10 ms."""
        return self.num_frames * STEPS_PER_FRAME


def names_below(videos: Sequence[Path]) -> dict[Path, PurePath]:
    """Return the path of each video below the folder that all of them share."""
    if not videos:
        return {}
    root = os.path.commonpath([path.absolute().parent for path in videos])
    return {path: path.absolute().relative_to(root) for path in videos}


def name_people(videos: Sequence[Path], table: Path | None) -> dict[Path, VideoPerson]:
    """Return who is seen in each video.

    With a table of files and identities, those count, and several identities mean that nobody
    is known to be the one who talks. Without, or for a file it lacks: a folder named as VoxCeleb
    names its speakers; else the first folder below the one that all videos share; else the file.

    Raises:
        UserError: The table cannot be read, or a name in it could be that of several videos.
    """
    known = _read_people(table) if table else {}
    below = names_below(videos)
    whole = {name.as_posix() for name in below.values()}
    num_named = Counter(path.name for path in below)
    people, used = {}, set()
    for path, name in below.items():
        key = name.as_posix()
        if key not in known and path.name in known and path.name not in whole:
            key = path.name
            if num_named[key] > 1:
                raise UserError(
                    f"{table}: {key!r} is the name of {num_named[key]} videos; give their paths "
                    f"below the folder that all videos share, such as {name.as_posix()!r}"
                )
        used.add(key)
        speaker = next((part for part in name.parts if SPEAKER_FOLDER.fullmatch(part)), None)
        default = speaker or (name.parts[0] if len(name.parts) > 1 else path.stem)
        people[path] = known.get(key) or VideoPerson(default)
    unused = sorted(set(known) - used)
    if unused:
        what = "files are not among the videos, for example"
        logger.warning("%s: %d %s %s", table, len(unused), what, unused[0])
    return people


def _read_people(table: Path) -> dict[str, VideoPerson]:
    """Read a table of files and who is in them."""
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
                raise UserError(f"{table}, line {line}: {file!r} stands with another person before")
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

    What the store has of an earlier run is replaced: it may name another person.

    Args:
        video: What `probe` found.
        key: What it is called in the store and the lists.
        person: Who is seen.
        find_faces: Gives the crops of a video.
        writer: Of the store of sources.
    """
    levels = Sound(video, ReadOptions())
    voice = find_voice(sound_levels(levels, video.duration_s + 1 if video.duration_s else 0))
    sound = Sound(video, ReadOptions())
    found: list[tuple[SourceFace, float]] = []
    for piece in find_faces(video):
        if isinstance(piece, CropPiece) and piece.kept and len(piece.crops) >= 2:
            motion = mouth_motion(piece.crops)
            source = _describe(piece, str(video.path), person, voice, motion)
            source = replace(source, name=f"{key}:{piece.start}:{piece.track}")
            _write(writer, source, key, piece, sound)
            found.append((source, _motion_in(voice, source, motion)))
    sound.close()
    sources = [source for source, _ in found]
    return [
        asdict(replace(one, talks=one.talks and moved > PHOTOGRAPH and _is_alone(one, sources)))
        for one, moved in found
    ]


def _describe(
    piece: CropPiece,
    path: str,
    person: VideoPerson,
    voice: NDArray[np.bool_],
    motion: NDArray[np.float32],
) -> SourceFace:
    """Return the source of a piece, without its name."""
    first = piece.start * STEPS_PER_FRAME
    heard = voice[first : first + len(piece.crops) * STEPS_PER_FRAME]
    still = [(a, b) for a, b in find_runs(motion < STILL, 3) if b - a >= MIN_STILL]
    return SourceFace(
        name="",
        video=path,
        person=person.name,
        start=piece.start,
        num_frames=len(piece.crops),
        talks=person.talks and bool(heard.any()),
        voice=find_runs(heard),
        still=still,
    )


def _motion_in(voice: NDArray[np.bool_], source: SourceFace, motion: NDArray[np.float32]) -> float:
    """Return how much the mouth moves while a voice is heard; 0 where none is."""
    first = source.start * STEPS_PER_FRAME
    heard = np.zeros(source.num_steps, np.bool_)
    there = voice[first : first + source.num_steps]
    heard[: len(there)] = there
    frames = heard.reshape(-1, STEPS_PER_FRAME).any(axis=1)
    return float(motion[frames].mean()) if frames.any() else 0.0


def _is_alone(source: SourceFace, others: Sequence[SourceFace]) -> bool:
    """Tell whether a face is the only one in the picture, most of its time."""
    shared = np.zeros(source.num_frames, np.bool_)
    for other in others:
        if other is not source:
            start = max(0, other.start - source.start)
            shared[start : max(start, other.start + other.num_frames - source.start)] = True
    return bool(shared.mean() <= ALONE)


def _write(
    writer: EntityStoreWriter, source: SourceFace, key: str, piece: CropPiece, sound: Sound
) -> None:
    """Write a source with the sound of its own video; the lists say later what it is."""
    stop = piece.start + len(piece.crops)
    info = EntityInfo(source.name, key, source.num_frames, Fraction(FPS), 0, source.person)
    waveform = sound.read(piece.start * SAMPLES_PER_FRAME, stop * SAMPLES_PER_FRAME)
    labels = np.full(source.num_frames, UNLABELLED, np.int8)
    writer.add(info, piece.crops, waveform, labels, np.arange(piece.start, stop) / FPS)
