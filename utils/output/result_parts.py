"""The entries of result.json: of tracks, people and segments."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from utils.output.thumbnails import from_text, to_text
from utils.structures import FPS, Person, ScoredTrack, Segment


def entries_of(facts: type[Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that are fields of `facts`; newer versions may write more."""
    return {entry.name: part[entry.name] for entry in fields(facts) if entry.name in part}


def _rounded(values: NDArray[np.float32], decimals: int) -> list[Any]:
    """Return nested lists of rounded floats."""
    return list(np.round(values.astype(np.float64), decimals).tolist())


def track_part(track: ScoredTrack, embeddings: Mapping[int, NDArray[np.float32]]) -> dict[str, Any]:
    """Return the entry of a track in result.json."""
    for name in ("boxes", "scores", "probabilities"):
        if not np.isfinite(getattr(track, name)).all():
            raise ValueError(f"expected finite {name} in track {track.id}, found NaN or infinity")
    part = {
        "id": track.id,
        **({} if track.person is None else {"person": track.person}),
        "shot": track.shot,
        "start_frame": track.start,
        "start_s": track.start / FPS,
        "stop_s": track.stop / FPS,
        "boxes": _rounded(track.boxes, 2),
        "scores": _rounded(track.scores, 4),
        "probabilities": _rounded(track.probabilities, 4),
        "thumbnail": to_text(track.thumbnail),
    }
    if track.id in embeddings:
        part["embeddings"] = _rounded(embeddings[track.id], 5)
    return part


def person_part(person: Person) -> dict[str, Any]:
    """Return the entry of a person in result.json."""
    names = ("id", "name", "tracks", "speaking_s", "uncertain")
    part = {name: getattr(person, name) for name in names}
    if person.similarity is not None:
        part["similarity"] = round(person.similarity, 4)
    if person.thumbnail is not None:
        part["thumbnail"] = to_text(person.thumbnail)
    return part


def segment_part(segment: Segment) -> dict[str, Any]:
    """Return what result.json says of a segment; what it has no word for is left out."""
    part: dict[str, Any] = {
        "track": segment.track,
        "start_s": round(segment.start_s, 4),
        "stop_s": round(segment.stop_s, 4),
        "score": None if segment.score is None else round(segment.score, 4),
    }
    if segment.person is not None:
        part["person"] = segment.person
    if segment.kind != "speech":
        part["kind"] = segment.kind
    return part


def parse_person(part: Mapping[str, Any]) -> Person:
    """Return a person from what result.json says of them."""
    entries = entries_of(Person, part) | {"tracks": tuple(part["tracks"])}
    if "thumbnail" in part:
        entries["thumbnail"] = from_text(part["thumbnail"], f"person {part['id']}", colour=True)
    return Person(**entries)


def parse_track(part: Mapping[str, Any]) -> ScoredTrack:
    """Return a track from its entry in result.json."""
    return ScoredTrack(
        id=part["id"],
        shot=part["shot"],
        start=part["start_frame"],
        boxes=np.array(part["boxes"], np.float32).reshape(-1, 4),
        scores=np.array(part["scores"], np.float32),
        probabilities=np.array(part["probabilities"], np.float32),
        thumbnail=from_text(part["thumbnail"], f"track {part['id']}"),
        person=part.get("person"),
    )
