"""Collect the results of many videos in one table: CSV, JSON lines or Parquet."""

import base64
import csv
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from utils.batch.options import BatchOptions
from utils.errors import ResourceError, UserError
from utils.files import replacing
from utils.structures import FPS

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 10_000  # rows of a Parquet group; nothing else is held
SUFFIXES = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class TableRow:
    """One face track, or all tracks of one person, in a collected table."""

    video: str  # path of the source
    person: int | None  # in that video; None if people were not formed
    name: str | None  # of the person
    uncertain: bool | None  # too little was seen of the person to compare it; None like `person`
    track: int | None  # None in a table of people
    num_tracks: int
    shot: int | None
    start_s: float
    stop_s: float
    duration_s: float  # that the face is visible
    speaking_s: float
    mean_probability: float  # of speaking, over all frames
    mean_score: float
    face_width: float  # median, pixels
    face_height: float
    sharpness: float  # variance of the thumbnail's Laplacian, grey levels
    overlap_s: float  # of its speech, while others speak
    video_width: int
    video_height: int
    video_duration_s: float
    has_sound: bool
    warnings: int
    network: str
    result: str  # path of its result.json


def collect(options: BatchOptions) -> int:
    """Write one table of all results below a folder; return the exit status.

    Results that cannot be read are named and left out.
    """
    assert options.collect is not None and options.output is not None
    folder, output = options.collect, options.output
    if output.suffix not in SUFFIXES:
        raise UserError(f"--output must end in {', '.join(SUFFIXES)}; got {output}")
    if not folder.is_dir():
        raise FileNotFoundError(f"expected a folder of results, found no folder {folder}")
    paths = sorted(folder.rglob("result.json"))
    if not paths:
        raise UserError(f"expected results in {folder}, found no result.json")
    unread: list[Path] = []
    num_rows = write_table(output, _all_rows(paths, options.rows == "people", unread))
    logger.info("%d rows of %d videos", num_rows, len(paths) - len(unread))
    print(output)
    return int(bool(unread))


def _all_rows(paths: Sequence[Path], people: bool, unread: list[Path]) -> Iterator[TableRow]:
    """Yield the rows of all results; add those that cannot be read to `unread`."""
    for path in paths:
        try:
            yield from rows_of(path, people)
        except UserError as error:
            unread.append(path)
            logger.error("error: %s", error)


def rows_of(path: Path, people: bool) -> list[TableRow]:
    """Return the rows of one result.

    Args:
        path: Of result.json.
        people: One row for each person; a track without person is a row of its own.

    Raises:
        UserError: It is no result, or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        groups: dict[object, list[Mapping[str, Any]]] = {}
        for track in content["tracks"]:
            person = track.get("person") if people else None
            groups.setdefault(("track", track["id"]) if person is None else person, []).append(
                track
            )
        return [_row(path, content, tracks, people) for tracks in groups.values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: expected a result, found: {error!r}; run the video again"
        ) from None


def _row(
    path: Path, content: Mapping[str, Any], tracks: Sequence[Mapping[str, Any]], people: bool
) -> TableRow:
    """Return the row of some tracks of a result."""
    video, first = content["video"], tracks[0]
    own = {track["id"] for track in tracks}
    speech = [part for part in content["segments"] if part.get("track") in own]
    others = [part for part in content["segments"] if part.get("track") not in own]
    boxes = np.concatenate([np.array(track["boxes"], np.float64) for track in tracks])
    scores = np.concatenate([np.array(track["scores"], np.float64) for track in tracks])
    probabilities = np.concatenate([np.array(one["probabilities"], np.float64) for one in tracks])
    sizes = np.median(boxes[:, 2:] - boxes[:, :2], axis=0)
    people_of = {one["id"]: one for one in content.get("people", [])}
    person = people_of.get(first.get("person"), {})
    return TableRow(
        video=video["path"],
        person=first.get("person"),
        name=person.get("name"),
        uncertain=person.get("uncertain", False) if person else None,
        track=None if people else first["id"],
        num_tracks=len(tracks),
        shot=None if people else first["shot"],
        start_s=min(track["start_s"] for track in tracks),
        stop_s=max(track["stop_s"] for track in tracks),
        duration_s=round(len(boxes) / FPS, 2),
        speaking_s=_length_s(speech),
        mean_probability=round(float(probabilities.mean()), 4),
        mean_score=round(float(scores.mean()), 4),
        face_width=round(float(sizes[0]), 1),
        face_height=round(float(sizes[1]), 1),
        sharpness=round(float(np.median([_sharpness(track) for track in tracks])), 1),
        overlap_s=_overlap_s(speech, others),
        video_width=video["width"],
        video_height=video["height"],
        video_duration_s=video["duration_s"],
        has_sound=video["has_sound"],
        warnings=len(content["warnings"]),
        network=content["network"]["name"],
        result=str(path),
    )


def _frames(parts: Iterable[Mapping[str, Any]]) -> set[int]:
    """Return the frames of some segments."""
    return {
        frame
        for part in parts
        for frame in range(round(part["start_s"] * FPS), round(part["stop_s"] * FPS))
    }


def _length_s(parts: Iterable[Mapping[str, Any]]) -> float:
    """Return how long some segments last together, s."""
    return round(len(_frames(parts)) / FPS, 2)


def _overlap_s(own: Iterable[Mapping[str, Any]], others: Iterable[Mapping[str, Any]]) -> float:
    """Return how long some segments last while others do, s."""
    return round(len(_frames(own) & _frames(others)) / FPS, 2)


def _sharpness(track: Mapping[str, Any]) -> float:
    """Return the variance of the Laplacian of a track's thumbnail; low is blurred or enlarged."""
    encoded = np.frombuffer(base64.b64decode(track["thumbnail"]), np.uint8)
    thumbnail = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
    if thumbnail is None:
        raise ValueError(f"the thumbnail of track {track['id']} is no image")
    return float(cv2.Laplacian(thumbnail, cv2.CV_64F).var())


def write_table(path: Path, rows: Iterator[TableRow]) -> int:
    """Write rows as they come; the suffix of `path` gives the format. Return their number."""
    write = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}[path.suffix]
    with replacing(path) as temporary:
        return write(temporary, rows)


def _write_csv(path: Path, rows: Iterator[TableRow]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(one.name for one in fields(TableRow))
        for row in rows:
            table.writerow(asdict(row).values())
            count += 1
    return count


def _write_jsonl(path: Path, rows: Iterator[TableRow]) -> int:
    count = 0
    with path.open("w", encoding="ascii") as file:
        for row in rows:
            file.write(json.dumps(asdict(row)) + "\n")
            count += 1
    return count


def _write_parquet(path: Path, rows: Iterator[TableRow]) -> int:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise ResourceError(
            "a .parquet file needs pyarrow: python -m pip install -r requirements-cluster.txt; "
            ".csv and .jsonl do without"
        ) from None
    kinds = {int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}
    kinds |= {bool: pyarrow.bool_(), bool | None: pyarrow.bool_()}  # type: ignore[dict-item]
    kinds |= {int | None: kinds[int], str | None: kinds[str]}  # type: ignore[dict-item]
    schema = pyarrow.schema([(one.name, kinds[one.type]) for one in fields(TableRow)])  # type: ignore[index]
    count = 0
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        while some := [asdict(row) for row in islice(rows, ROWS_AT_ONCE)]:
            writer.write_table(pyarrow.Table.from_pylist(some, schema))
            count += len(some)
    return count
