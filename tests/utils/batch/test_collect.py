"""One table of all results, with a row for each track or person, in three formats."""

import csv
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from utils.batch.collect import TableRow, collect, rows_of
from utils.batch.options import BatchOptions
from utils.errors import UserError
from utils.output.results import ModelRecord, Result, VideoFacts
from utils.structures import ScoredTrack, Shot

PEOPLE: list[dict[str, Any]] = [
    {"id": 0, "name": "Ann", "tracks": [0, 2], "speaking_s": 2.0, "uncertain": False},
    {"id": 1, "name": None, "tracks": [1], "speaking_s": 1.0, "uncertain": True},
]


def track(number: int, start: int, scores: list[float], blurred: bool = False) -> ScoredTrack:
    """Return a track of 60 x 80 pixels; every other column of its thumbnail is dark or none is."""
    thumbnail = np.full((112, 112), 200, np.uint8)
    thumbnail[:, :: 1 if blurred else 2] = 40
    boxes = np.tile(np.array([20, 10, 80, 90], np.float32), (len(scores), 1))
    values = np.array(scores, np.float32)
    probabilities = (1 / (1 + np.exp(-values))).astype(np.float32)
    return ScoredTrack(number, 0, start, boxes, values, probabilities, thumbnail)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make results of two videos: three tracks in one, none in the other."""
    tracks = [
        track(0, 0, [2.0] * 50),
        track(1, 25, [2.0] * 25 + [-2.0] * 25, blurred=True),
        track(2, 100, [2.0] * 25 + [-2.0] * 25),
    ]
    for name, found in (("x/a", tracks), ("b", [])):
        (tmp_path / "results" / name).mkdir(parents=True)
        facts = VideoFacts(f"/in/{name}.mp4", 640, 360, Fraction(25), 8.0)
        result = Result(
            *(facts, ModelRecord("lr_asd"), ModelRecord("yunet"), [Shot(0, 200)], found),
            warnings=["one"],
        )
        result.write_json(tmp_path / "results" / name / "result.json")
    return tmp_path / "results"


def add_people(path: Path) -> None:
    """Say who the tracks of a result are, as a result that knows people does."""
    content = json.loads(path.read_text())
    content["people"] = PEOPLE
    for person in PEOPLE:
        for number in person["tracks"]:
            content["tracks"][number]["person"] = person["id"]
    content["segments"].append({"kind": "offscreen", "track": None, "start_s": 0.5, "stop_s": 0.92})
    path.write_text(json.dumps(content))


def test_rows_of_tracks(folder: Path) -> None:
    path = folder / "x" / "a" / "result.json"
    first, second, third = rows_of(path, people=False)
    assert second.sharpness == 0 < first.sharpness
    assert first == TableRow(
        video="/in/x/a.mp4",
        person=None,
        name=None,
        uncertain=None,
        track=0,
        num_tracks=1,
        shot=0,
        start_s=0.0,
        stop_s=2.0,
        duration_s=2.0,
        speaking_s=2.0,
        mean_probability=0.8808,
        mean_score=2.0,
        face_width=60.0,
        face_height=80.0,
        sharpness=first.sharpness,
        overlap_s=1.0,
        video_width=640,
        video_height=360,
        video_duration_s=8.0,
        has_sound=True,
        warnings=1,
        network="lr_asd",
        result=str(path),
    )
    assert (third.track, third.start_s, third.stop_s) == (2, 4.0, 6.0)
    assert third.speaking_s == pytest.approx(1.0, abs=0.05) and third.overlap_s == 0


def test_rows_of_people(folder: Path) -> None:
    path = folder / "x" / "a" / "result.json"
    assert [row.num_tracks for row in rows_of(path, people=True)] == [1, 1, 1]
    add_people(path)
    ann, other = rows_of(path, people=True)
    assert (ann.person, ann.name, ann.track, ann.shot, ann.num_tracks) == (0, "Ann", None, None, 2)
    assert (ann.start_s, ann.stop_s, ann.duration_s) == (0.0, 6.0, 4.0)
    assert ann.overlap_s == 1.44  # with the other face, then with a voice off screen
    assert (other.person, other.name, other.num_tracks) == (1, None, 1)
    assert (ann.uncertain, other.uncertain) == (False, True)
    assert [row.uncertain for row in rows_of(path, people=False)] == [False, True, False]


def read_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: value or None for key, value in row.items()} for row in csv.DictReader(file)]


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def read_parquet(path: Path) -> list[dict[str, Any]]:
    parquet = pytest.importorskip("pyarrow.parquet")
    found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return found


@pytest.mark.parametrize(
    ("suffix", "read"),
    [(".csv", read_csv), (".jsonl", read_jsonl), (".parquet", read_parquet)],
    ids=["csv", "jsonl", "parquet"],
)
def test_formats(
    folder: Path, suffix: str, read: Callable[[Path], list[dict[str, Any]]], tmp_path: Path
) -> None:
    output = tmp_path / f"tracks{suffix}"
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    add_people(folder / "x" / "a" / "result.json")
    assert collect(BatchOptions(collect=folder, output=output)) == 0
    expected = [vars(row) for row in rows_of(folder / "x" / "a" / "result.json", people=False)]
    found = read(output)
    if suffix == ".csv":
        expected = [
            {key: None if value is None else str(value) for key, value in row.items()}
            for row in expected
        ]
    assert found == expected


def test_damaged_results_are_named(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "b" / "result.json").write_text('{"tracks": [{}]}')
    output = tmp_path / "tracks.csv"
    assert collect(BatchOptions(collect=folder, output=output)) == 1
    assert len(read_csv(output)) == 3
    assert str(folder / "b" / "result.json") in caplog.text


@pytest.mark.parametrize(
    ("name", "output", "message"),
    [(".", "a.xls", "--output must end in"), ("empty", "a.csv", "found no result.json")],
)
def test_wrong_usage(tmp_path: Path, name: str, output: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        collect(BatchOptions(collect=tmp_path / name, output=tmp_path / output))
    with pytest.raises(FileNotFoundError, match="expected a folder of results"):
        collect(BatchOptions(collect=tmp_path / "gone", output=tmp_path / "a.csv"))
