"""Where TalkSet's clips are cut from: the faces of any video, and when they talk or keep still."""

import csv
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from utils.audio import Sound
from utils.datasets.entities import UNLABELLED, EntityInfo
from utils.datasets.store import StoreWriter
from utils.datasets.voice_activity import Runs, find_runs, find_voice, mouth_motion, sound_levels
from utils.errors import UserError
from utils.files import reading_table
from utils.media import ReadOptions, VideoInfo
from utils.structures import FPS, SAMPLE_RATE, STEPS_PER_FRAME, CropPiece, Shot

SAMPLES_PER_FRAME = SAMPLE_RATE // FPS
STILL = 2.0  # grey levels a frame: mouths that move less keep still
PHOTOGRAPH = 0.5  # and those that move less than this while a voice is heard are pictures
MIN_STILL = 8  # frames; shorter moments are not looked at
ALONE = 0.25  # a face that shares more of its time with others may not be the one that talks
SPEAKER_FOLDER = re.compile(r"id\d{5}")  # of VoxCeleb
PEOPLE_COLUMNS = "file, identity (several divided by ;) and, if wanted, kind (speech or negative)"

FindFaces = Callable[[VideoInfo], Iterable[CropPiece | Shot]]


@dataclass(frozen=True)
class Person:
    """Who is seen in a video, and whether that person's voice may be the one heard."""

    name: str
    talks: bool = True


@dataclass(frozen=True)
class Source:
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
    def from_json(cls, record: Mapping[str, Any]) -> "Source":
        """Build a source from what a journal holds."""
        source = cls(**record)
        voice = [(start, stop) for start, stop in source.voice]
        return replace(source, voice=voice, still=[(start, stop) for start, stop in source.still])

    @property
    def num_steps(self) -> int:
        """Steps of 10 ms."""
        return self.num_frames * STEPS_PER_FRAME


def name_people(videos: Sequence[Path], table: Path | None) -> dict[Path, Person]:
    """Return who is seen in each video.

    With a table of files and identities, those count, and several identities mean that nobody
    is known to be the one who talks. Without, or for a file it lacks: a folder named as VoxCeleb
    names its speakers; else the first folder below the one that all videos share; else the file.
    """
    known = _read_people(table) if table else {}
    root = Path(os.path.commonpath([path.parent for path in videos])) if videos else Path()
    people = {}
    for path in videos:
        parts = path.relative_to(root).parts
        speaker = next((part for part in parts if SPEAKER_FOLDER.fullmatch(part)), None)
        name = speaker or (parts[0] if len(parts) > 1 else path.stem)
        people[path] = known.get("/".join(parts)) or known.get(path.name) or Person(name)
    return people


def _read_people(table: Path) -> dict[str, Person]:
    """Read a CSV table of files and who is in them."""
    with reading_table(table) as file:
        reader = csv.DictReader(file)
        names = set(reader.fieldnames or [])
        if not {"file", "identity"} <= names:
            found = ",".join(sorted(names)) or "an empty file"
            raise UserError(f"{table}, line 1: expected columns {PEOPLE_COLUMNS}; found {found}")
        people = {}
        for row in reader:
            kind = row.get("kind") or "speech"
            if not row["file"] or not row["identity"] or kind not in ("speech", "negative"):
                raise UserError(
                    f"{table}, line {reader.line_num}: expected {PEOPLE_COLUMNS}; found file "
                    f"{row['file']!r}, identity {row['identity']!r}, kind {kind!r}"
                )
            talks = kind == "speech" and ";" not in row["identity"]
            people[row["file"]] = Person(row["identity"], talks)
    return people


def find_sources(
    video: VideoInfo, key: str, person: Person, find_faces: FindFaces, writer: StoreWriter
) -> list[dict[str, Any]]:
    """Write the faces of a video to the store; return its sources as JSON values.

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
    found: list[tuple[Source, float]] = []
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
    person: Person,
    voice: NDArray[np.bool_],
    motion: NDArray[np.float32],
) -> Source:
    """Return the source of a piece, without its name."""
    first = piece.start * STEPS_PER_FRAME
    heard = voice[first : first + len(piece.crops) * STEPS_PER_FRAME]
    still = [(a, b) for a, b in find_runs(motion < STILL, 3) if b - a >= MIN_STILL]
    return Source(
        name="",
        video=path,
        person=person.name,
        start=piece.start,
        num_frames=len(piece.crops),
        talks=person.talks and bool(heard.any()),
        voice=find_runs(heard),
        still=still,
    )


def _motion_in(voice: NDArray[np.bool_], source: Source, motion: NDArray[np.float32]) -> float:
    """Return how much the mouth moves while a voice is heard; 0 where none is."""
    first = source.start * STEPS_PER_FRAME
    heard = np.zeros(source.num_steps, np.bool_)
    there = voice[first : first + source.num_steps]
    heard[: len(there)] = there
    frames = heard.reshape(-1, STEPS_PER_FRAME).any(axis=1)
    return float(motion[frames].mean()) if frames.any() else 0.0


def _is_alone(source: Source, others: Sequence[Source]) -> bool:
    """Tell whether a face is the only one in the picture, most of its time."""
    shared = np.zeros(source.num_frames, np.bool_)
    for other in others:
        if other is not source:
            start = max(0, other.start - source.start)
            shared[start : max(start, other.start + other.num_frames - source.start)] = True
    return bool(shared.mean() <= ALONE)


def _write(writer: StoreWriter, source: Source, key: str, piece: CropPiece, sound: Sound) -> None:
    """Write a source with the sound of its own video; the lists say later what it is."""
    if writer.has(source.name):
        return
    stop = piece.start + len(piece.crops)
    info = EntityInfo(source.name, key, source.num_frames, Fraction(FPS), 0, source.person)
    waveform = sound.read(piece.start * SAMPLES_PER_FRAME, stop * SAMPLES_PER_FRAME)
    labels = np.full(source.num_frames, UNLABELLED, np.int8)
    writer.add(info, piece.crops, waveform, labels, np.arange(piece.start, stop) / FPS)
