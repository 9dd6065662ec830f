"""Boxes are read from CSV and JSON at 25 frames/s; errors name the position."""

import json
from pathlib import Path

import numpy as np
import pytest

from utils.structures import FaceTrack
from utils.tracking.track_files import read_boxes


def read(tmp_path: Path, text: str, name: str = "boxes.csv") -> list[FaceTrack]:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_boxes(path, 640, 360)


def shown(tracks: list[FaceTrack]) -> list[tuple[int, list[list[float]]]]:
    return [(track.start, np.round(track.boxes, 3).tolist()) for track in tracks]


def test_frames_are_taken_as_they_are(tmp_path: Path) -> None:
    text = "\ufefftrack,frame,x1,y1,x2,y2\nann,5,10,20,30,40\n\nann,6,11,20,31,40\n"
    assert shown(read(tmp_path, text)) == [(5, [[10, 20, 30, 40], [11, 20, 31, 40]])]


def test_times_of_any_rate_are_interpolated_and_sorted(tmp_path: Path) -> None:
    text = "x1,y1,x2,y2,track,time_s\n30,0,40,10,7,1.2\n10,0,20,10,7,1.0\n0,0,9,9,1,0.41\n"
    tracks = read(tmp_path, text)
    assert [(track.start, track.stop) for track in tracks] == [(10, 11), (25, 31)]
    np.testing.assert_allclose(tracks[0].boxes, [[0, 0, 9, 9]])
    np.testing.assert_allclose(tracks[1].boxes[:, 0], [10, 14, 18, 22, 26, 30], rtol=1e-6)


def test_a_gap_of_a_second_is_filled_and_a_longer_one_splits(tmp_path: Path) -> None:
    rows = [f"a,{time_s},10,10,50,50" for time_s in (0, 1, 2.04, 2.08)]
    tracks = read(tmp_path, "\n".join(["track,time_s,x1,y1,x2,y2", *rows]))
    assert [(track.start, track.stop) for track in tracks] == [(0, 26), (51, 53)]


def test_json_of_a_result(tmp_path: Path) -> None:
    tracks = [
        {"id": 1, "start_frame": 30, "boxes": [[1, 2, 3, 4]], "scores": [0.5]},
        {"id": 0, "start_frame": 3, "boxes": [[5, 6, 7, 8], [5.5, 6, 7.5, 8]]},
    ]
    expected = [(3, [[5, 6, 7, 8], [5.5, 6, 7.5, 8]]), (30, [[1, 2, 3, 4]])]
    assert shown(read(tmp_path, json.dumps({"version": 1, "tracks": tracks}), "r.json")) == expected
    assert shown(read(tmp_path, json.dumps(tracks), "r.json")) == expected
    assert read(tmp_path, '{"tracks": []}', "r.json") == []


def test_partly_outside_is_fine(tmp_path: Path) -> None:
    text = "track,frame,x1,y1,x2,y2\na,0,-50,-20,5,9\nb,0,600,300,900,500\n"
    assert len(read(tmp_path, text)) == 2


HEADER = "track,frame,x1,y1,x2,y2\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        (HEADER, "line 2: expected at least one box"),
        ("track,frame,x1,y1,w,h\n", "line 1: expected the header track,time_s,x1,y1,x2,y2"),
        ("track,frame,time_s,x1,y1,x2,y2\n", "line 1: expected the header"),
        (HEADER + "a,0,1,2,3\n", "line 2: expected 6 values, found 5"),
        (HEADER + "a,0,1,2,3,4\na,1,1,nan,3,4\n", "line 3: expected finite numbers"),
        (HEADER + "a,0,1,2,inf,4\n", "line 2: expected finite numbers"),
        (HEADER + "a,0,1,2,1e12,4\n", "line 2: expected finite numbers within 1000000"),
        (HEADER + "a,0,1,two,3,4\n", "line 2: expected a number for y1, found 'two'"),
        (HEADER + "a,0,30,2,3,4\n", "line 2: expected x1 < x2 and y1 < y2"),
        (HEADER + "a,0,1,4,3,4\n", "line 2: expected x1 < x2 and y1 < y2"),
        (HEADER + "a,0,640,2,660,4\n", "line 2: expected a box .* 640x360 image"),
        (HEADER + "a,0,1,-9,9,0\n", "line 2: expected a box .* 640x360 image"),
        (HEADER + "a,-1,1,2,3,4\n", "line 2: expected frame 0 or later"),
        (HEADER + "a,nan,1,2,3,4\n", "line 2: expected frame 0 or later"),
        (HEADER + "a,0.5,1,2,3,4\n", "line 2: expected a whole number for frame, found 0.5"),
        (HEADER + "a,0,1,2,3,4\na,0,1,2,3,4\n", "line 3: .* found frame 0 of 'a' twice"),
    ],
)
def test_wrong_csv_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, text)
    assert "boxes.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"tracks": [}', "line 1: expected JSON"),
        ('{"shots": []}', 'expected an object with a list "tracks"'),
        ('[{"boxes": [[1, 2, 3, 4]]}]', r"tracks\[0\]: expected an object with start_frame"),
        ('[{"start_frame": -1, "boxes": [[1, 2, 3, 4]]}]', r"tracks\[0\].start_frame"),
        ('[{"start_frame": 0, "boxes": []}]', r"tracks\[0\].boxes: expected a list of boxes"),
        ('[{"start_frame": 0, "boxes": [[1, 2, 3]]}]', r"tracks\[0\].boxes\[0\]: expected four"),
        ('[{"start_frame": 0, "boxes": [[1, 2, NaN, 4]]}]', r"boxes\[0\]: expected finite"),
        ('[{"start_frame": 0, "boxes": [[1, 2, 9e999, 4]]}]', r"boxes\[0\]: expected finite"),
        (
            '[{"id": 1, "start_frame": 0, "boxes": [[1, 2, 3, 4]]},'
            ' {"id": 1, "start_frame": 9, "boxes": [[1, 2, 3, 4]]}]',
            "a different id for each track, found 1 twice",
        ),
    ],
)
def test_wrong_json_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, text, "own.json")
    assert "own.json" in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a \.csv or \.json file"):
        read(tmp_path, HEADER, "boxes.txt")
    binary = tmp_path / "boxes.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="expected UTF-8 text"):
        read_boxes(binary, 640, 360)
    with pytest.raises(FileNotFoundError):
        read_boxes(tmp_path / "none.csv", 640, 360)
