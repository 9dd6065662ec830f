"""Read the face boxes of --tracks, a CSV or JSON file."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.structures import FPS, FaceTrack

MAX_GAP_S = 1.0  # rows of one track that are further apart become two tracks
MAX_CORNER = 1_000_000  # pixels; larger values are mistakes
MAX_TIME_S = 10_000_000
CORNERS = ("x1", "y1", "x2", "y2")
HEADER = "track,time_s,x1,y1,x2,y2 (or frame, at 25 frames/s, instead of time_s)"


def read_boxes(path: Path, width: int, height: int) -> list[FaceTrack]:
    """Return the tracks of a CSV or JSON file at 25 frames/s, in order of their first frames.

    docs/usage.md describes both formats. Boxes between two rows are interpolated.

    Args:
        path: The file; its suffix says which format it has.
        width: Of the video, pixels; a box must not lie outside its image.
        height: See width.
    """
    readers = {".csv": _read_csv, ".json": _read_json}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: expected a .csv or .json file of boxes, found {path.suffix!r}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(
            f"{path}: expected UTF-8 text, found other bytes; save the file as UTF-8"
        ) from None
    if not text.strip():
        raise UserError(f"{path}: expected boxes, found an empty file; give at least one box")
    try:
        tracks = reader(text, _BoxFile(path, width, height))
    except csv.Error as error:
        raise UserError(f"{path}: expected comma-separated values, found: {error}") from None
    return sorted(tracks, key=lambda track: track.start)


@dataclass(frozen=True)
class _BoxFile:
    """A file of boxes, and the size of the video that it belongs to."""

    path: Path
    width: int
    height: int

    def error(self, place: str, expected: str, found: object) -> UserError:
        """Return an error that names the place in the file."""
        return UserError(f"{self.path}, {place}: expected {expected}, found {found}")

    def check(self, box: tuple[float, ...], place: str) -> None:
        """Raise if a box is invalid or lies outside the image."""
        x1, y1, x2, y2 = box
        if not all(abs(value) <= MAX_CORNER for value in box):
            raise self.error(place, f"finite numbers within {MAX_CORNER} of 0", box)
        if x2 <= x1 or y2 <= y1:
            raise self.error(place, "x1 < x2 and y1 < y2 (corners, not width and height)", box)
        if x2 <= 0 or y2 <= 0 or x1 >= self.width or y1 >= self.height:
            size = f"{self.width}x{self.height}"
            raise self.error(place, f"a box in source pixels that touches the {size} image", box)


def _read_csv(text: str, file: _BoxFile) -> list[FaceTrack]:
    rows = csv.reader(text.splitlines())
    names = [name.strip() for name in next(rows)]
    clock = "frame" if "frame" in names else "time_s"
    if sorted(names) != sorted(("track", clock, *CORNERS)):
        raise file.error("line 1", f"the header {HEADER}", ",".join(names)[:100])
    tracks: dict[str, dict[float, tuple[float, ...]]] = {}  # boxes by time, by track
    for row in rows:
        place = f"line {rows.line_num}"
        if not any(row):
            continue
        if len(row) != len(names):
            raise file.error(place, f"{len(names)} values", f"{len(row)}: {','.join(row)[:100]}")
        values = dict(zip(names, row, strict=True))
        time_s = _time(values[clock], clock, place, file)
        box = tuple(_number(values[name], name, place, file) for name in CORNERS)
        file.check(box, place)
        boxes = tracks.setdefault(values["track"].strip(), {})
        if time_s in boxes:
            again = f"{clock} {values[clock].strip()} of {values['track'].strip()!r} twice"
            raise file.error(place, "one row for each track and time", again)
        boxes[time_s] = box
    if not tracks:
        raise file.error("line 2", "at least one box below the header", "none")
    return [track for boxes in tracks.values() for track in _resample(boxes)]


def _number(text: str, name: str, place: str, file: _BoxFile) -> float:
    try:
        return float(text)
    except ValueError:
        raise file.error(place, f"a number for {name}", repr(text[:40])) from None


def _time(text: str, clock: str, place: str, file: _BoxFile) -> float:
    """Return the time in seconds of a row that gives a time or a frame."""
    value = _number(text, clock, place, file)
    time_s = value / FPS if clock == "frame" else value
    if not 0 <= time_s <= MAX_TIME_S:
        raise file.error(place, f"{clock} 0 or later, at most {MAX_TIME_S} s", text.strip())
    if clock == "frame" and value != int(value):
        raise file.error(place, "a whole number for frame", text.strip())
    return time_s


def _resample(boxes: dict[float, tuple[float, ...]]) -> Iterator[FaceTrack]:
    """Yield the boxes of one track at the working rate, split at gaps that are too large."""
    times = np.array(sorted(boxes))
    corners = np.array([boxes[time] for time in times.tolist()])
    breaks = np.flatnonzero(np.diff(times) > MAX_GAP_S + 1e-6) + 1
    for part in np.split(np.arange(len(times)), breaks):
        first, last = np.rint(times[part[[0, -1]]] * FPS).astype(int).tolist()
        frames = np.arange(first, last + 1) / FPS
        columns = [np.interp(frames, times[part], corners[part, i]) for i in range(4)]
        yield FaceTrack(first, np.stack(columns, axis=1).astype(np.float32))


def _read_json(text: str, file: _BoxFile) -> list[FaceTrack]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise file.error(f"line {error.lineno}", "JSON", error.msg) from None
    entries = content.get("tracks") if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise file.error("top level", 'an object with a list "tracks"', text.strip()[:60])
    tracks = [_json_track(entry, f"tracks[{i}]", file) for i, entry in enumerate(entries)]
    ids = [entry["id"] for entry in entries if "id" in entry]
    twice = [name for i, name in enumerate(ids) if name in ids[:i]]
    if twice:
        raise file.error("tracks", "a different id for each track", f"{twice[0]!r} twice")
    return tracks


def _json_track(entry: object, place: str, file: _BoxFile) -> FaceTrack:
    if not isinstance(entry, dict) or not {"start_frame", "boxes"} <= entry.keys():
        raise file.error(place, "an object with start_frame and boxes", str(entry)[:100])
    start, boxes = entry["start_frame"], entry["boxes"]
    if not isinstance(start, int) or isinstance(start, bool) or start < 0:
        raise file.error(f"{place}.start_frame", "a frame number 0 or later", start)
    if not isinstance(boxes, list) or not boxes:
        raise file.error(f"{place}.boxes", "a list of boxes [x1, y1, x2, y2]", str(boxes)[:100])
    for i, box in enumerate(boxes):
        spot = f"{place}.boxes[{i}]"
        if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
            raise file.error(spot, "four numbers x1, y1, x2, y2", str(box)[:100])
        file.check(tuple(box), spot)
    return FaceTrack(start, np.array(boxes, np.float32))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
