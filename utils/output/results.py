"""Hold all that is known of a video, and write it to result.json and read it back."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError
from utils.files import replacing
from utils.output.speech import find_segments, join_segments
from utils.output.thumbnails import from_text, to_text
from utils.structures import (
    FPS,
    AudioFacts,
    Person,
    PersonTracks,
    ScoredTrack,
    Segment,
    Shot,
)

VERSION = 1  # of the format


@dataclass(frozen=True)
class VideoFacts:
    """What the source file says of itself."""

    path: str
    width: int  # pixels, upright
    height: int
    fps: Fraction  # mean rate of the source
    duration_s: float
    has_sound: bool = True
    audio: AudioFacts | None = None  # None in older files


@dataclass(frozen=True)
class ModelRecord:
    """Which network, detector or embedder was used."""

    name: str
    weights: str | None = None  # file name
    sha256: str | None = None  # of that file
    reason: str = ""  # why this one
    encoder: "ModelRecord | None" = None  # the clip network that a context network builds on


@dataclass(frozen=True, eq=False)
class Result:
    """All that was found in one video. Frames and seconds are on the video's own clock."""

    video: VideoFacts
    network: ModelRecord
    detector: ModelRecord
    shots: Sequence[Shot]
    tracks: Sequence[ScoredTrack]
    settings: Mapping[str, Any] = field(default_factory=dict)  # every option, by its name
    warnings: Sequence[str] = ()  # what the user was told
    embedder: ModelRecord | None = None  # of faces; None if people were not formed
    groups: Sequence[PersonTracks] = ()  # every track is in one of them, if people were formed
    offscreen: Sequence[Segment] = ()  # speech of nobody who is seen
    embeddings: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    # (K, C) by track; biometric data, kept only if asked for

    @cached_property
    def segments(self) -> list[Segment]:
        """Stretches of speech of all tracks and off screen, in order of their start."""
        people = self.person_of
        found = [
            replace(segment, person=people.get(track.id))
            for track in self.tracks
            for segment in find_segments(track)
        ]
        found += self.offscreen
        return sorted(
            found, key=lambda part: (part.start_s, -1 if part.track is None else part.track)
        )

    @cached_property
    def people(self) -> list[Person]:
        """The people in order of first appearance, with their speech; empty if not formed."""
        speech: dict[int, list[Segment]] = {group.id: [] for group in self.groups}
        for part in self.segments:
            if part.person is not None:
                speech[part.person].append(part)
        return [
            Person(**vars(group), segments=join_segments(speech[group.id], group.id))
            for group in self.groups
        ]

    @cached_property
    def person_of(self) -> dict[int, int]:
        """The number of the person by that of each of their tracks."""
        return {track: group.id for group in self.groups for track in group.tracks}

    def write_json(self, path: Path) -> None:
        """Write the file that docs/outputs.md describes; one line for each track."""
        with replacing(path) as temporary, temporary.open("w", encoding="ascii") as file:
            _write(self, file)

    @staticmethod
    def read_json(path: Path) -> "Result":
        """Read what `write_json` wrote; numbers come back as rounded there."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise UserError(
                f"expected JSON in {path}, found: {error}; run the video again"
            ) from None
        version = content.get("version") if isinstance(content, dict) else None
        if version != VERSION:
            raise UserError(
                f"expected a result of version {VERSION} in {path}, found version {version}; "
                "run the video again"
            )
        try:
            return _parse(content)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} lacks a part of a result, or a part is damaged: {error!r}; run again"
            ) from error


def _write(result: Result, file: IO[str]) -> None:
    """Write the parts one after the other, so that no more than one track is held as text."""
    video = result.video
    head = {
        "version": VERSION,
        "video": {
            "path": video.path,
            "width": video.width,
            "height": video.height,
            "fps": round(float(video.fps), 6),
            "fps_exact": str(video.fps),
            "duration_s": round(video.duration_s, 6),
            "has_sound": video.has_sound,
            "audio": None if video.audio is None else asdict(video.audio),
        },
        "network": asdict(result.network),
        "detector": asdict(result.detector),
        **({"embedder": asdict(result.embedder)} if result.embedder else {}),
        "settings": dict(result.settings),
        "warnings": list(result.warnings),
    }
    file.write("{\n")
    for name, part in head.items():
        file.write(f"{json.dumps(name)}: {_text(part)},\n")
    shots = ({"start_s": shot.start / FPS, "stop_s": shot.stop / FPS} for shot in result.shots)
    _write_list(file, "shots", shots, ",\n")
    _write_list(file, "tracks", (_track_part(track, result) for track in result.tracks), ",\n")
    if result.groups:
        _write_list(file, "people", map(_person_part, result.people), ",\n")
    segments = (_segment_part(part, bool(result.groups)) for part in result.segments)
    _write_list(file, "segments", segments, "\n}\n")


def _write_list(file: IO[str], name: str, parts: Iterable[Mapping[str, Any]], end: str) -> None:
    """Write a list with one line for each part."""
    file.write(f'"{name}": [')
    separator = "\n"
    for part in parts:
        file.write(separator + _text(part))
        separator = ",\n"
    file.write("\n]" + end)


def _text(part: object) -> str:
    """Return strict JSON on one line; paths, fractions and the like become text."""
    return json.dumps(part, allow_nan=False, separators=(",", ":"), default=str)


def _rounded(values: NDArray[np.float32], decimals: int) -> list[Any]:
    """Return nested lists of rounded floats."""
    return list(np.round(values.astype(np.float64), decimals).tolist())


def _track_part(track: ScoredTrack, result: Result) -> dict[str, Any]:
    """Return what result.json says of a track."""
    for name in ("boxes", "scores", "probabilities"):
        if not np.isfinite(getattr(track, name)).all():
            raise ValueError(f"expected finite {name} in track {track.id}, found NaN or infinity")
    part = {
        "id": track.id,
        "shot": track.shot,
        **({"person": result.person_of[track.id]} if result.groups else {}),
        "start_frame": track.start,
        "start_s": track.start / FPS,
        "stop_s": track.stop / FPS,
        "boxes": _rounded(track.boxes, 2),
        "scores": _rounded(track.scores, 4),
        "probabilities": _rounded(track.probabilities, 4),
        "thumbnail": to_text(track.thumbnail),
    }
    if track.id in result.embeddings:
        part["embeddings"] = _rounded(result.embeddings[track.id], 5)
    return part


def _segment_part(segment: Segment, with_person: bool) -> dict[str, Any]:
    """Return what result.json says of a segment."""
    part: dict[str, Any] = {"track": segment.track}
    if with_person:
        part["person"] = segment.person
    for name in ("start_s", "stop_s", "score"):
        part[name] = round(getattr(segment, name), 4)
    return part if segment.kind == "speech" else part | {"kind": segment.kind}


def _person_part(person: Person) -> dict[str, Any]:
    """Return what result.json says of a person."""
    part: dict[str, Any] = {
        "id": person.id,
        "name": person.name,
        "tracks": person.tracks,
        "speaking_s": round(person.speaking_s, 4),
        "uncertain": person.uncertain,
    }
    if person.similarity is not None:
        part["similarity"] = round(person.similarity, 4)
    if person.thumbnail is not None:
        part["thumbnail"] = to_text(person.thumbnail)
    return part


def _parse(content: Mapping[str, Any]) -> Result:
    """Return the result that a parsed file holds."""
    video = content["video"]
    facts = _known(VideoFacts, video) | {"fps": Fraction(video["fps_exact"])}
    if audio := video.get("audio"):  # older files have none
        numbers = {"tracks": tuple(audio["tracks"])}
        facts["audio"] = AudioFacts(**_known(AudioFacts, audio) | numbers)
    return Result(
        video=VideoFacts(**facts),
        network=_read_record(content["network"]),
        detector=_read_record(content["detector"]),
        shots=[Shot(_frame(shot["start_s"]), _frame(shot["stop_s"])) for shot in content["shots"]],
        tracks=[_parse_track(part) for part in content["tracks"]],
        settings=content["settings"],
        warnings=tuple(content["warnings"]),
        embedder=_read_record(content["embedder"]) if content.get("embedder") else None,
        groups=[_parse_person(part) for part in content.get("people", ())],
        offscreen=[
            Segment(**_known(Segment, part))
            for part in content["segments"]
            if part.get("kind") == "offscreen"
        ],
        embeddings={
            part["id"]: np.array(part["embeddings"], np.float32)
            for part in content["tracks"]
            if "embeddings" in part
        },
    )


def _parse_person(part: Mapping[str, Any]) -> PersonTracks:
    """Return a person from what result.json says of them."""
    known = _known(PersonTracks, part) | {"tracks": tuple(part["tracks"])}
    if "thumbnail" in part:
        known["thumbnail"] = from_text(part["thumbnail"], f"person {part['id']}", colour=True)
    return PersonTracks(**known)


def _read_record(part: Mapping[str, Any]) -> ModelRecord:
    """Return a record from what result.json says of it; older files know no encoder."""
    encoder = part.get("encoder")
    known = _known(ModelRecord, part)
    return ModelRecord(**known | {"encoder": _read_record(encoder) if encoder else None})


def _known(
    facts: type[VideoFacts | AudioFacts | ModelRecord | Segment | PersonTracks],
    part: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the entries that `facts` has; newer versions of the project may write more."""
    return {one.name: part[one.name] for one in fields(facts) if one.name in part}


def _frame(time_s: float) -> int:
    """Return the frame that begins at a time."""
    return round(time_s * FPS)


def _parse_track(part: Mapping[str, Any]) -> ScoredTrack:
    """Return a track from what result.json says of it."""
    return ScoredTrack(
        id=part["id"],
        shot=part["shot"],
        start=part["start_frame"],
        boxes=np.array(part["boxes"], np.float32).reshape(-1, 4),
        scores=np.array(part["scores"], np.float32),
        probabilities=np.array(part["probabilities"], np.float32),
        thumbnail=from_text(part["thumbnail"], f"track {part['id']}"),
    )
