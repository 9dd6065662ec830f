"""People and speech off-screen are measured against labels."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from benchmarks.people import main, time_hour
from tests.made_faces import made_track
from utils.output.results import ModelRecord, Result, VideoFacts
from utils.structures import Person, Segment, Shot

LABELS = {
    "duration": 8.0,
    "persons": {
        "ann": {"faces": [[0, 2, 10, 10, 60, 60], [4, 6, 10, 10, 60, 60]]},
        "bo": {"faces": [[2, 4, 10, 10, 60, 60]]},
    },
    "speaking": [[0.5, 1.5, "ann", 1.0], [4.5, 5.5, "ann", 1.0]],
    "unsure": [[7.5, 8.0, "*"]],
    "offscreen_voice": [[6.0, 7.0, "nobody"]],
}


def write(folder: Path, people: list[tuple[int, ...]]) -> None:
    """Write labels, and the result of three tracks of these people."""
    tracks = [made_track(number, 50 * number) for number in range(3)]
    tracks[0].scores[12:38] = 3
    tracks[2].scores[12:38] = 3
    result = Result(
        VideoFacts("a.mp4", 320, 240, Fraction(25), 8.0),
        ModelRecord("lr_asd"),
        ModelRecord("yunet"),
        [Shot(0, 50), Shot(50, 100), Shot(100, 200)],
        tracks,
        embedder=ModelRecord("face_reid"),
        offscreen=[Segment(None, 6.5, 7.25, 1.0, None, "offscreen")],
    )
    found = result.with_people([Person(i, None, one) for i, one in enumerate(people)])
    (folder / "a").mkdir()
    found.write_json(folder / "a" / "result.json")
    (folder / "a.json").write_text(json.dumps(LABELS))


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        ([(0, 2), (1,)], [1.0, 1.0, 0.0]),
        ([(0,), (1,), (2,)], [None, 0.0, 0.5]),
        ([(0, 1, 2)], [1 / 3, 1.0, 0.0]),
    ],
    ids=["right", "nobody is found again", "all are one"],
)
def test_measures(
    people: list[tuple[int, ...]],
    expected: list[float | None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path, people)
    assert main([str(tmp_path), str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[1:] == lines[2].split()[1:]  # of one clip and of all
    values = [None if cell == "-" else float(cell) for cell in lines[2].split()[1:]]
    assert values[:2] == [3, 1]
    assert values[2:5] == pytest.approx(expected, abs=1e-3)
    assert values[5:] == pytest.approx([0.5, 1.0, 0.5, 1 / 3], abs=1e-3)


def test_an_hour_is_grouped() -> None:
    assert np.isfinite(time_hour())
