"""Tables of ground truth and labels: reading, writing, and error messages."""

from pathlib import Path

import numpy as np
import pytest

from utils.datasets.tragic_talkers.labels import (
    ViewLabels,
    ViewTruth,
    frame_times,
    labels_of_truth,
    read_labels,
    read_truth,
    write_labels,
    write_truth,
)
from utils.datasets.tragic_talkers.layout import CameraView

TRUTH = ViewTruth(
    np.array([[10.0, 20, 30, 40], [1000, 1100, 1200, -5]]),
    np.array([[True, False, False, True], [False, True, False, True]]),
)


def test_published_truth(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_truth(TRUTH, path)
    lines = path.read_text().splitlines()
    assert lines[0] == "0,10,0,1,SPEAKING"
    assert lines[7] == "3,-5,0,2,SPEAKING"
    found = read_truth(path)
    np.testing.assert_array_equal(found.positions, TRUTH.positions)
    np.testing.assert_array_equal(found.speaking, TRUTH.speaking)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0,1,2,1,SPEAKING\n0,1,2,1,LOUD\n", "line 2: expected frame, x, y"),
        ("0,1,2,1,SPEAKING\n2,1,2,1,SPEAKING\n", "line 2: expected frame 1 of person 1, found 2"),
        ("0,1,2,1\n", "line 1: expected 5 columns, found 4"),
        ("0,1,2,1,SPEAKING\n1,1,2,1,SPEAKING\n0,1,2,2,SPEAKING\n", r"per person, found \[1, 2\]"),
        ("", "found none"),
    ],
    ids=["state", "gap", "columns", "lengths", "empty"],
)
def test_invalid_truth(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=problem):
        read_truth(path)
    with pytest.raises(FileNotFoundError, match="ground truth"):
        read_truth(tmp_path / "gone.csv")


def test_labels_of_truth_are_those_of_the_first_speaker() -> None:
    found = labels_of_truth(TRUTH, 2000)
    assert found.speaking.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(found.located, found.speaking)
    np.testing.assert_allclose(found.positions, [0.005, 0.55, 0.6, 0.02])
    np.testing.assert_allclose(found.times, [0, 0.03, 0.07, 0.1])


def test_labels_round_trip(tmp_path: Path) -> None:
    yes = np.array([True, False, True])
    labels = {
        CameraView("b", 3): ViewLabels(
            frame_times(3), np.array([0.1, 0.2, 0.3], np.float32), yes, ~yes
        ),
        CameraView("a", 12): ViewLabels(frame_times(3), np.ones(3, np.float32), ~yes, yes),
    }
    path = tmp_path / "l.csv"
    write_labels(labels, path)
    assert path.read_text().splitlines()[1] == "b-cam03,0.00,0.100000,SPEAKING,NOT_SPEAKING"
    found = read_labels(path)
    assert list(found) == list(labels)
    for view, view_labels in labels.items():
        for name, values in vars(view_labels).items():
            np.testing.assert_allclose(getattr(found[view], name), values, atol=1e-6)


HEAD = "name,time,x,location,activity\n"
GOOD = "a-cam01,0.00,0.5,SPEAKING,SPEAKING\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD, "a row for each frame, found none"),
        (HEAD + "a-cam01,x,0.5,SPEAKING,SPEAKING\n", "line 2: expected view, time"),
        (HEAD + "a-cam99,0.00,0.5,SPEAKING,SPEAKING\n", "a-cam99"),
        (HEAD + GOOD + GOOD, "sorted by time, found 0.0 s after 0.0 s"),
    ],
    ids=["empty", "no time", "no view", "order"],
)
def test_invalid_labels(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "l.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=problem):
        read_labels(path)
    with pytest.raises(FileNotFoundError, match="training labels"):
        read_labels(tmp_path / "gone.csv")
