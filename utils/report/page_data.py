"""What report.html knows of a result, as compact JSON."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.output.exports import video_id
from utils.output.results import Result
from utils.output.speech_rule import SCORE_UNITS, stored_scores
from utils.output.thumbnails import to_text
from utils.report.edits import Edits, fingerprint
from utils.report.page_video import PageVideo
from utils.structures import FPS, Person

BOX_UNITS = 4  # boxes are stored in quarters of a pixel
THUMBNAIL = 96  # height and width, pixels
QUALITY = 82  # of its JPEG


def page_head(result: Result, video: PageVideo, folder: Path, edits: Edits) -> dict[str, Any]:
    """Return everything but the tracks."""
    faces = "given" if result.detector.name == "none" else result.detector.name
    edges = [(shot.start, shot.stop) for shot in result.shots]
    edges += [(track.start, track.stop) for track in result.tracks]
    stop = max((stop for _, stop in edges), default=round(result.video.duration_s * FPS))
    return {
        "version": 1,
        "result": fingerprint(result),
        "fps": FPS,
        "box_units": BOX_UNITS,
        "score_units": SCORE_UNITS,
        "start_s": min((start for start, _ in edges), default=0) / FPS,
        "stop_s": max(stop, 1) / FPS,
        "video": _video_part(result, video, folder),
        "models": f"{result.network.name} on {faces} faces",
        "formed": result.embedder is not None,
        "shots": [[shot.start, shot.stop] for shot in result.shots],
        "people": [_person_part(one) for one in result.people],
        "offscreen": [
            {"start_s": one.start_s, "stop_s": one.stop_s, "score": one.score}
            for one in result.offscreen
        ],
        "warnings": list(result.warnings),
        "threshold": edits.threshold,
        "edits": edits.as_json()["edits"],
    }


def _person_part(person: Person) -> dict[str, Any]:
    """Return what the page knows of a person."""
    names = ("id", "name", "tracks", "uncertain")
    part = {name: getattr(person, name) for name in names}
    thumbnail = None if person.thumbnail is None else _small(person.thumbnail)
    return {**part, "thumbnail": thumbnail}


def _video_part(result: Result, video: PageVideo, folder: Path) -> dict[str, Any]:
    """Return what the page knows of the video, both the source and the file that it plays."""
    facts = result.video
    return {
        "name": Path(facts.path).name,
        "id": video_id(result),
        "width": facts.width,
        "height": facts.height,
        "fps": float(facts.fps),
        "has_sound": facts.has_sound,
        "kind": video.kind,
        "address": video.address(folder),
        "mime": video.mime,
        "start_s": video.start_s,
        "playable": video.playable,
    }


def page_tracks(result: Result) -> Iterator[dict[str, Any]]:
    """Yield what the page knows of each track; boxes and scores as differences of neighbours."""
    for track in result.tracks:
        boxes = np.rint(track.boxes.astype(np.float64) * BOX_UNITS).astype(np.int64)
        yield {
            "id": track.id,
            "shot": track.shot,
            "start": track.start,
            "length": len(track.scores),
            "boxes": [_differences(column) for column in boxes.T],
            "scores": _differences(stored_scores(track.scores)),
            "thumbnail": _small(track.thumbnail),
        }


def _differences(values: NDArray[np.int64]) -> list[int]:
    """Return the first value and what each other adds to the one before."""
    return list(np.diff(values, prepend=0).tolist())


def _small(face: NDArray[np.uint8]) -> str:
    """Return an image of a face, grey or RGB, in the size of the page: JPEG in base64."""
    small = cv2.resize(face, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return to_text(np.asarray(small, np.uint8), QUALITY)
