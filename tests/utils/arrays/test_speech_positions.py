"""Localised speech is written as published, read back, and found by time."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.parity import filled
from utils.arrays.speech_positions import Heard, num_frames, read_heard, write_heard

SCHEDULE = Path(filled.__file__).with_name("tragic_schedule.json")


def some(count: int) -> Heard:
    values = np.linspace(0, 1, count, dtype=np.float32)
    return Heard(values, values[::-1].copy())


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    views = {"conversation1_t3-cam01": some(1045), "malemonologue2_t3-cam22": some(3)}
    path = tmp_path / "test_forward.csv"
    write_heard(views, path)
    lines = path.read_text().splitlines()
    assert lines[0] == "name,time,predicted x,confidence"
    assert lines[2].startswith("conversation1_t3-cam01,0.03,")
    assert lines[1045].startswith("conversation1_t3-cam01,34.8,")
    found = read_heard(path)
    assert list(found) == list(views)
    for name, heard in views.items():
        np.testing.assert_array_equal(found[name].positions, heard.positions)
        np.testing.assert_array_equal(found[name].confidences, heard.confidences)


def test_views_have_as_many_frames_as_published() -> None:
    for known in json.loads(SCHEDULE.read_text())["forward_rows"].values():
        assert num_frames(float(known["length"])) == known["num_frames"] == known["total"]


def test_nothing_is_heard_outside() -> None:
    heard = Heard(np.array([0.2, 0.3], np.float32), np.array([0.9, 0.8], np.float32))
    found = heard.at(np.array([-0.1, 0, 0.03, 1 / 30, 0.066, 0.07]))
    np.testing.assert_allclose(found.confidences, [0, 0.9, 0.9, 0.8, 0.8, 0])
    nothing = Heard(np.zeros(0, np.float32), np.zeros(0, np.float32)).at(np.array([0.0, 1.0]))
    assert nothing.confidences.tolist() == [0, 0]


HEAD = "name,time,predicted x,confidence\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,b\n", "expected columns"),
        (HEAD + "v,0.0,x,1\n", "line 2: expected a view"),
        (HEAD + "v,0.0,0.5\n", "line 2: expected a view"),
        (HEAD + "v,0.0,0.5,1\nv,0.5,0.5,1\n", r"line 3: expected frame 1 of v at 0\.03 s"),
    ],
    ids=["header", "no number", "short row", "gap"],
)
def test_wrong_tables_are_errors(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=problem):
        read_heard(path)


def test_no_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.csv"):
        read_heard(tmp_path / "gone.csv")
