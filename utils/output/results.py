"""The result of one video; writes and reads result.json."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError
from utils.files import replacing
from utils.scores import smooth_scores
from utils.structures import FPS, AudioFacts, ScoredTrack, Segment, Shot

VERSION = 1  # of the format
JOIN_FRAMES = 5  # a pause shorter than this (0.2 s) does not end a segment
MIN_FRAMES = 3  # speech shorter than this (0.12 s) is no segment


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

    @cached_property
    def segments(self) -> list[Segment]:
        """Stretches of speech of all tracks, in order of their start."""
        found = [segment for track in self.tracks for segment in find_segments(track)]
        return sorted(found, key=lambda segment: (segment.start_s, segment.track))

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


def find_segments(track: ScoredTrack) -> list[Segment]:
    """Return the stretches of speech of a track: where its smoothed score is at least 0.

    Pauses below 0.2 s are closed first, then speech below 0.12 s is dropped, except in tracks that
    are shorter than that.
    """
    smoothed = smooth_scores(track.scores)
    speaking = np.concatenate(([False], smoothed >= 0, [False]))
    edges = np.flatnonzero(speaking[1:] != speaking[:-1]).reshape(-1, 2)
    runs: list[list[int]] = []
    for start, stop in edges.tolist():
        if runs and start - runs[-1][1] < JOIN_FRAMES:
            runs[-1][1] = stop
        else:
            runs.append([start, stop])
    shortest = min(MIN_FRAMES, len(smoothed))
    return [
        Segment(
            track.id,
            (track.start + start) / FPS,
            (track.start + stop) / FPS,
            float(smoothed[start:stop].mean()),
        )
        for start, stop in runs
        if stop - start >= shortest
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
        "settings": dict(result.settings),
        "warnings": list(result.warnings),
    }
    file.write("{\n")
    for name, part in head.items():
        file.write(f"{json.dumps(name)}: {_text(part)},\n")
    shots = ({"start_s": shot.start / FPS, "stop_s": shot.stop / FPS} for shot in result.shots)
    _write_list(file, "shots", shots, ",\n")
    _write_list(file, "tracks", (_track_part(track) for track in result.tracks), ",\n")
    segments = (
        {**vars(part), "start_s": round(part.start_s, 4), "stop_s": round(part.stop_s, 4)}
        | {"score": round(part.score, 4)}
        for part in result.segments
    )
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


def _rounded(values: NDArray[np.float32], decimals: int) -> list[Any]:
    """Return nested lists of rounded floats."""
    return list(np.round(values.astype(np.float64), decimals).tolist())


def _track_part(track: ScoredTrack) -> dict[str, Any]:
    """Return the entry of a track in result.json."""
    for name in ("boxes", "scores", "probabilities"):
        if not np.isfinite(getattr(track, name)).all():
            raise ValueError(f"expected finite {name} in track {track.id}, found NaN or infinity")
    done, thumbnail = cv2.imencode(".jpg", track.thumbnail, (cv2.IMWRITE_JPEG_QUALITY, 90))
    assert done, "OpenCV encodes any grey image"
    return {
        "id": track.id,
        "shot": track.shot,
        "start_frame": track.start,
        "start_s": track.start / FPS,
        "stop_s": track.stop / FPS,
        "boxes": _rounded(track.boxes, 2),
        "scores": _rounded(track.scores, 4),
        "probabilities": _rounded(track.probabilities, 4),
        "thumbnail": base64.b64encode(thumbnail.tobytes()).decode("ascii"),
    }


def _parse(content: Mapping[str, Any]) -> Result:
    """Return the result of a parsed result.json."""
    video = content["video"]
    facts = _entries_of(VideoFacts, video) | {"fps": Fraction(video["fps_exact"])}
    if audio := video.get("audio"):  # missing in older files
        numbers = {"tracks": tuple(audio["tracks"])}
        facts["audio"] = AudioFacts(**_entries_of(AudioFacts, audio) | numbers)
    return Result(
        video=VideoFacts(**facts),
        network=_read_record(content["network"]),
        detector=_read_record(content["detector"]),
        shots=[Shot(_frame(shot["start_s"]), _frame(shot["stop_s"])) for shot in content["shots"]],
        tracks=[_parse_track(part) for part in content["tracks"]],
        settings=content["settings"],
        warnings=tuple(content["warnings"]),
    )


def _read_record(part: Mapping[str, Any]) -> ModelRecord:
    """Return a model record from its entry in result.json; older files have no encoder."""
    encoder = part.get("encoder")
    entries = _entries_of(ModelRecord, part)
    return ModelRecord(**entries | {"encoder": _read_record(encoder) if encoder else None})


def _entries_of(
    facts: type[VideoFacts | AudioFacts | ModelRecord], part: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the entries that are fields of `facts`; newer versions may write more."""
    return {entry.name: part[entry.name] for entry in fields(facts) if entry.name in part}


def _frame(time_s: float) -> int:
    """Return the frame that begins at a time."""
    return round(time_s * FPS)


def _parse_track(part: Mapping[str, Any]) -> ScoredTrack:
    """Return a track from its entry in result.json."""
    encoded = np.frombuffer(base64.b64decode(part["thumbnail"]), np.uint8)
    thumbnail = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
    if thumbnail is None:
        raise TypeError(f"the thumbnail of track {part['id']} is not an image")
    return ScoredTrack(
        id=part["id"],
        shot=part["shot"],
        start=part["start_frame"],
        boxes=np.array(part["boxes"], np.float32).reshape(-1, 4),
        scores=np.array(part["scores"], np.float32),
        probabilities=np.array(part["probabilities"], np.float32),
        thumbnail=np.asarray(thumbnail, np.uint8),
    )
