"""The result of one video; writes and reads result.json."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError
from utils.files import replacing
from utils.output.result_parts import (
    entries_of,
    parse_person,
    parse_track,
    person_part,
    segment_part,
    track_part,
)
from utils.output.speech_rule import mean_scores, speech_ranges
from utils.structures import FPS, AudioFacts, Person, ScoredTrack, Segment, Shot

VERSION = 1  # of the format


@dataclass(frozen=True)
class VideoFacts:
    """Properties of the source file."""

    path: str
    width: int  # pixels, upright
    height: int
    fps: Fraction  # mean rate of the source
    duration_s: float
    has_sound: bool = True
    audio: AudioFacts | None = None  # None in older files


@dataclass(frozen=True)
class ModelRecord:
    """Which network or detector was used."""

    name: str
    weights: str | None = None  # file name
    sha256: str | None = None  # of that file
    reason: str = ""  # why this one
    encoder: "ModelRecord | None" = None  # the clip network that a context network builds on


@dataclass(frozen=True, eq=False)
class Result:
    """Result of one video. Frames and seconds are on the video's own clock."""

    video: VideoFacts
    network: ModelRecord
    detector: ModelRecord
    shots: Sequence[Shot]
    tracks: Sequence[ScoredTrack]
    settings: Mapping[str, Any] = field(default_factory=dict)  # every option, by its name
    warnings: Sequence[str] = ()  # shown to the user
    people: Sequence[Person] = ()  # empty if they were not formed
    embedder: ModelRecord | None = None  # what people were formed with
    offscreen: Sequence[Segment] = ()  # speech of nobody visible
    embeddings: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    # (N, C) by track; biometric data, kept only if asked for
    corrected: Sequence[Segment] | None = None  # by hand, in place of what the scores say

    @cached_property
    def segments(self) -> list[Segment]:
        """Stretches of speech of all tracks and off-screen, in order of their start."""
        if self.corrected is not None:
            return list(self.corrected)
        found = [segment for track in self.tracks for segment in find_segments(track)]
        return sorted([*found, *self.offscreen], key=segment_order)

    def summary(self) -> str:
        """Return in a few words what was found."""
        if not self.tracks:
            return "no face found"
        parts = [part for part in self.segments if part.kind == "speech"]
        speaking = {part.person if self.people else part.track for part in parts}
        speech_s = sum(part.stop_s - part.start_s for part in parts)
        offscreen_s = sum(part.stop_s - part.start_s for part in self.offscreen)
        people = f", {len(self.people)} people" if self.people else ""
        return (
            f"{len(self.tracks)} face tracks in {len(self.shots)} shots{people}, "
            f"{len(speaking)} of them speak, {speech_s:.1f} s in all"
            + (f"; {offscreen_s:.1f} s of speech off-screen" if offscreen_s else "")
        )

    def without_people(self) -> "Result":
        """Return the result with tracks as the only speakers, as before people were formed."""
        tracks = [replace(track, person=None) for track in self.tracks]
        corrected = self.corrected and [
            replace(part, person=None) for part in self.corrected if part.track is not None
        ]
        nobody: dict[str, Any] = {"people": (), "embedder": None, "offscreen": ()}
        return replace(self, tracks=tracks, corrected=corrected, **nobody)

    def with_people(self, people: Sequence[Person]) -> "Result":
        """Return the result with these people, their tracks and how long they speak."""
        owners = {track: person.id for person in people for track in person.tracks}
        tracks = [replace(track, person=owners.get(track.id)) for track in self.tracks]
        spoken_s = dict.fromkeys(owners.values(), 0.0)
        for part in (part for track in tracks for part in find_segments(track)):
            if part.person is not None:
                spoken_s[part.person] += part.stop_s - part.start_s
        found = [replace(one, speaking_s=round(spoken_s[one.id], 4)) for one in people]
        return replace(self, tracks=tracks, people=found)

    def write_json(self, path: Path) -> None:
        """Write result.json as described in docs/outputs.md; one line per track."""
        with replacing(path) as temporary, temporary.open("w", encoding="ascii") as file:
            _write(self, file)

    @staticmethod
    def read_json(path: Path) -> "Result":
        """Read a file written by `write_json`; numbers have its precision."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise UserError(
                f"expected JSON in {path}, found: {error}; analyse the video again"
            ) from None
        version = content.get("version") if isinstance(content, dict) else None
        if version != VERSION:
            raise UserError(
                f"expected a result of version {VERSION} in {path}, found version {version}; "
                "analyse the video again"
            )
        try:
            return _parse(content)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: a part of the result is missing or damaged: {error!r}; analyse the video "
                "again"
            ) from error


def segment_order(segment: Segment) -> tuple[float, float]:
    """Sort segments by time, then by track; those without a track come last."""
    return segment.start_s, float("inf") if segment.track is None else segment.track


def find_segments(track: ScoredTrack, threshold: float = 0.0) -> list[Segment]:
    """Return the stretches of speech of a track: where its smoothed score reaches `threshold`.

    Pauses below 0.2 s are closed first, then speech below 0.12 s is dropped, except in tracks that
    are shorter than that.
    """
    ranges = speech_ranges(track.scores, threshold)
    return [
        Segment(
            track.id,
            (track.start + start) / FPS,
            (track.start + stop) / FPS,
            score,
            track.person,
        )
        for (start, stop), score in zip(ranges, mean_scores(track.scores, ranges), strict=True)
    ]


def _write(result: Result, file: IO[str]) -> None:
    """Write the parts one by one, so that only one track is held as text."""
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
        **({} if result.embedder is None else {"embedder": asdict(result.embedder)}),
        "settings": dict(result.settings),
        "warnings": list(result.warnings),
    }
    file.write("{\n")
    for name, part in head.items():
        file.write(f"{json.dumps(name)}: {_text(part)},\n")
    shots = ({"start_s": shot.start / FPS, "stop_s": shot.stop / FPS} for shot in result.shots)
    _write_list(file, "shots", shots, ",\n")
    _write_list(
        file, "tracks", (track_part(track, result.embeddings) for track in result.tracks), ",\n"
    )
    if result.people:
        _write_list(file, "people", map(person_part, result.people), ",\n")
    segments = (segment_part(part) for part in result.segments)
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
    """Return strict JSON on one line; paths, fractions and other types become text."""
    return json.dumps(part, allow_nan=False, separators=(",", ":"), default=str)


def _parse(content: Mapping[str, Any]) -> Result:
    """Return the result of a parsed result.json."""
    video = content["video"]
    facts = entries_of(VideoFacts, video) | {"fps": Fraction(video["fps_exact"])}
    if audio := video.get("audio"):  # missing in older files
        numbers = {"tracks": tuple(audio["tracks"])}
        facts["audio"] = AudioFacts(**entries_of(AudioFacts, audio) | numbers)
    return Result(
        video=VideoFacts(**facts),
        network=_read_record(content["network"]),
        detector=_read_record(content["detector"]),
        shots=[Shot(_frame(shot["start_s"]), _frame(shot["stop_s"])) for shot in content["shots"]],
        tracks=[parse_track(part) for part in content["tracks"]],
        settings=content["settings"],
        warnings=tuple(content["warnings"]),
        people=[parse_person(part) for part in content.get("people", ())],
        embedder=_read_record(content["embedder"]) if content.get("embedder") else None,
        offscreen=[
            Segment(None, part["start_s"], part["stop_s"], part.get("score"), None, "offscreen")
            for part in content["segments"]
            if part.get("kind") == "offscreen"
        ],
        embeddings={
            part["id"]: np.array(part["embeddings"], np.float32)
            for part in content["tracks"]
            if "embeddings" in part
        },
    )


def _read_record(part: Mapping[str, Any]) -> ModelRecord:
    """Return a model record from its entry in result.json; older files have no encoder."""
    encoder = part.get("encoder")
    entries = entries_of(ModelRecord, part)
    return ModelRecord(**entries | {"encoder": _read_record(encoder) if encoder else None})


def _frame(time_s: float) -> int:
    """Return the frame that begins at a time."""
    return round(time_s * FPS)
