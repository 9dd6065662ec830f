"""Importers keep the faces, times and labels of other data sets."""

import csv
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.made_video import write_video
from utils.datasets.custom.importers import import_ava, import_clips, import_columbia
from utils.datasets.custom.tables import read_table
from utils.errors import UserError
from utils.metrics.columbia import SPEAKERS

AVA_HEADER = (
    "video_id,frame_timestamp,entity_box_x1,entity_box_y1,entity_box_x2,entity_box_y2,"
    "label,entity_id,label_id,instance_id"
)


def write_small_video(path: Path) -> None:
    """Five frames of 200 x 100 with audio."""
    frames = (np.full((100, 200, 3), 90, np.uint8) for _ in range(5))
    write_video(path, frames, Fraction(25), np.zeros(3200, np.int16))


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("header", [True, False], ids=["header", "no header"])
def test_ava(tmp_path: Path, header: bool) -> None:
    write_small_video(tmp_path / "abc.mkv")
    rows = [
        "abc,900.04,0.1,0.2,0.5,0.9,SPEAKING_AUDIBLE,abc_0:1,1,0",
        "abc,900.08,0.1,0.2,0.5,0.9,SPEAKING_NOT_AUDIBLE,abc_0:1,2,0",
        "abc,900.12,0.1,0.2,0.5,0.9,NOT_SPEAKING,abc_0:1,0,0",
        "abc,900.16,0.1,0.2,0.5,0.9,SHOUTING,abc_0:1,0,0",
        "abc,900.20,left,0.2,0.5,0.9,NOT_SPEAKING,abc_0:1,0,0",
        "gone,900.04,0.1,0.2,0.5,0.9,NOT_SPEAKING,gone_0:1,0,0",
        "gone,900.08,0.1,0.2,0.5,0.9,NOT_SPEAKING,gone_0:1,0,0",
        "abc,900.24",
    ]
    table = tmp_path / "labels" / "train_orig.csv"
    table.parent.mkdir()
    table.write_text("\n".join([AVA_HEADER] * header + rows))
    report = import_ava(table.parent, tmp_path, tmp_path / "train.csv")
    assert read(tmp_path / "train.csv")[1:] == [
        ["abc.mkv", "abc_0:1", time, "20", "20", "100", "90", label, ""]
        for time, label in (("900.04", "1"), ("900.08", "0"), ("900.12", "0"))
    ]
    assert (report.rows, report.entities) == (3, 1)
    found = [(problem.line - header, problem.kind) for problem in report.problems]
    assert found == [(4, "label"), (5, "value"), (6, "video missing"), (8, "columns")]


def test_without_rows_the_table_is_kept(tmp_path: Path) -> None:
    labels, target = tmp_path / "labels.csv", tmp_path / "train.csv"
    target.write_text("what was there")
    (tmp_path / "gone.srt").write_text("1")  # of the same name, and no video
    labels.write_text("gone,900.04,0.1,0.2,0.5,0.9,NOT_SPEAKING,gone_0:1,0,0\n")
    with pytest.raises(
        UserError, match=r"expected rows .*line 1: video missing: found no file gone"
    ):
        import_ava(labels, tmp_path, target)
    assert target.read_text() == "what was there"


def test_columbia(tmp_path: Path) -> None:
    write_small_video(tmp_path / "col.mp4")
    folder = tmp_path / "col_labels" / "fusion"
    folder.mkdir(parents=True)
    for name in SPEAKERS:
        (folder / f"{name}.txt").write_text("2997\t72\t36\t108\t1\n3000\t72\t36\t108\t0\n")
    report = import_columbia(tmp_path, tmp_path / "col.csv")
    assert (report.rows, report.entities) == (12, 6)
    bell = [row for row in read(tmp_path / "col.csv") if row[1] == "bell"]
    assert bell == [  # labels are given for 360 rows, the video has 100
        ["col.mp4", "bell", "100", "20", "10", "50", "40", "1", "bell"],
        ["col.mp4", "bell", "100.1001", "20", "10", "50", "40", "0", "bell"],
    ]


def test_clips(tmp_path: Path) -> None:
    faces = [
        [0.0, 1.0, 10, 10, 30, 30],
        [1.0, 2.0, 20, 10, 40, 30],  # the same face, followed
        [2.0, 2.4, 120, 10, 140, 30],  # elsewhere
        [4.0, 4.4, 120, 10, 140, 30],  # later
    ]
    content = {
        "file": "a.mp4",
        "cuts": [],
        "persons": {"ann": {"faces": faces}},
        "speaking": [[0.5, 1.5, "ann", 0.9]],
        "unsure": [[2.2, 3.0, "*"], [0.0, 9.0, "bob"]],
    }
    good, bad = tmp_path / "a.json", tmp_path / "bad.json"
    good.write_text(json.dumps(content))
    bad.write_text("{}")
    report = import_clips([bad, good], tmp_path / "clips.csv")
    assert [(problem.file, problem.kind) for problem in report.problems] == [(str(bad), "value")]
    assert (report.rows, report.entities) == (70, 3)
    first, second, third = read_table(tmp_path / "clips.csv", None, [])
    assert {entity.person for entity in (first, second, third)} == {"a:ann"}
    expected = [0] * 8 + [-1] * 10 + [1] * 15 + [-1] * 10 + [0] * 7
    assert first.labels.tolist() == expected
    np.testing.assert_allclose(first.boxes[[0, 12, 25, 49], 0], [10, 10, 15, 20], atol=0.3)
    assert second.labels.tolist() == [0] * 5 + [-1] * 5
    assert third.labels.tolist() == [0] * 10
