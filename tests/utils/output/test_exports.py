"""Tables can be read by ordinary parsers, for any name of the video."""

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from utils.output.exports import (
    video_id,
    write_rttm,
    write_scores_csv,
    write_speech_csv,
    write_vtt,
)
from utils.output.results import ModelRecord, Result, VideoFacts
from utils.structures import Person, ScoredTrack, Segment, Shot

NAMES = {
    "clip": "clip",
    "two words": "two_words",
    "a\nb\tc": "a_b_c",
    'quotes " and , comma; --> <i>&': 'quotes_"_and_,_comma;_-->_<i>&',
    "日本 é": "日本_é",
    "bad \udcff": "bad__",
}
TIMES = re.compile(r"(\d\d+):(\d\d):(\d\d)\.(\d{3}) --> (\d\d+):(\d\d):(\d\d)\.(\d{3})")


def scored(number: int, start: int, scores: list[float]) -> ScoredTrack:
    boxes = np.tile(np.array([-64, 36, 320, 400], np.float32), (len(scores), 1))
    values = np.array(scores, np.float32)
    return ScoredTrack(number, 0, start, boxes, values, values, np.zeros((112, 112), np.uint8))


def result_of(name: str = "clip") -> Result:
    """Return two faces that speak at the same time, an hour into the video."""
    return Result(
        VideoFacts(f"videos/{name}.mp4", 640, 360, Fraction(25), 4000.0),
        ModelRecord("lr_asd"),
        ModelRecord("yunet"),
        [Shot(0, 100_000)],
        [scored(0, 90_000, [-2.5] * 10 + [2.5] * 30), scored(12, 90_020, [1.25] * 10)],
    )


@pytest.mark.parametrize(("name", "expected"), NAMES.items(), ids=ascii)
def test_video_id(name: str, expected: str) -> None:
    assert video_id(result_of(name)) == expected


@pytest.mark.parametrize(("name", "expected"), NAMES.items(), ids=ascii)
def test_scores_csv(tmp_path: Path, name: str, expected: str) -> None:
    write_scores_csv(result_of(name), tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == [
        *("video_id", "frame_timestamp", "entity_box_x1", "entity_box_y1", "entity_box_x2"),
        *("entity_box_y2", "label", "entity_id", "score"),
    ]
    assert len(rows) == 1 + 40 + 10
    box = ["0.000000", "0.100000", "0.500000", "1.000000"]  # cut to the image
    label = "SPEAKING_AUDIBLE"
    assert rows[1] == [expected, "3600.00", *box, label, f"{expected}:0", "-2.5000"]
    assert rows[50] == [expected, "3601.16", *box, label, f"{expected}:12", "1.2500"]


@pytest.mark.parametrize(("name", "expected"), NAMES.items(), ids=ascii)
def test_rttm(tmp_path: Path, name: str, expected: str) -> None:
    write_rttm(result_of(name), tmp_path / "speech.rttm")
    lines = (tmp_path / "speech.rttm").read_text(encoding="utf-8").splitlines()
    empty = ["<NA>", "<NA>"]
    assert [line.split() for line in lines] == [
        ["SPEAKER", expected, "1", "3600.400", "1.200", *empty, "face_0", *empty],
        ["SPEAKER", expected, "1", "3600.800", "0.400", *empty, "face_12", *empty],
    ]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_vtt(tmp_path: Path, name: str) -> None:
    write_vtt(result_of(name), tmp_path / "speech.vtt")
    head, *cues = (tmp_path / "speech.vtt").read_text(encoding="utf-8").split("\n\n")
    assert re.fullmatch(r"WEBVTT( [^\n]*)?", head.removesuffix("\n"))
    assert "-->" not in head
    found = []
    for cue in cues:
        times, text = cue.strip("\n").split("\n")
        match = TIMES.fullmatch(times)
        assert match is not None
        found.append((match.groups(), text))
    assert found == [
        (("01", "00", "00", "400", "01", "00", "01", "600"), "<v Face 0>Face 0"),
        (("01", "00", "00", "800", "01", "00", "01", "200"), "<v Face 12>Face 12"),
    ]


def people_of(tmp_path: Path) -> dict[str, str]:
    """Return the tables of a named and an unnamed person and of somebody off-screen."""
    parts = [
        Segment(3, 1.0, 2.5, 1.5, 0),
        Segment(None, 3.0, 3.2, None, 1),
        Segment(None, 4.0, 4.4, 0.75, None, "offscreen"),
    ]
    people = [Person(0, "Ann <b> & Co, Ltd", (3,)), Person(1, None, (4,))]
    result = replace(result_of(), people=people, embedder=ModelRecord("made"), corrected=parts)
    writers = {"csv": write_speech_csv, "rttm": write_rttm, "vtt": write_vtt}
    for suffix, write in writers.items():
        write(result, tmp_path / f"speech.{suffix}")
    return {suffix: (tmp_path / f"speech.{suffix}").read_text() for suffix in writers}


def test_people_are_the_speakers(tmp_path: Path) -> None:
    assert people_of(tmp_path) == {
        "csv": "speaker,start_s,stop_s,duration_s,person,track,score\n"
        '"Ann <b> & Co, Ltd",1.000,2.500,1.500,0,3,1.5000\n'
        "Person 1,3.000,3.200,0.200,1,,\n"
        "Off-screen,4.000,4.400,0.400,,,0.7500\n",
        "rttm": "SPEAKER clip 1 1.000 1.500 <NA> <NA> Ann_<b>_&_Co,_Ltd <NA> <NA>\n"
        "SPEAKER clip 1 3.000 0.200 <NA> <NA> person_1 <NA> <NA>\n"
        "SPEAKER clip 1 4.000 0.400 <NA> <NA> offscreen <NA> <NA>\n",
        "vtt": "WEBVTT - clip\n"
        "\n00:00:01.000 --> 00:00:02.500\n"
        "<v Ann &lt;b&gt; &amp; Co, Ltd>Ann &lt;b&gt; &amp; Co, Ltd\n"
        "\n00:00:03.000 --> 00:00:03.200\n<v Person 1>Person 1\n"
        "\n00:00:04.000 --> 00:00:04.400\n<v Off-screen>Off-screen\n",
    }


@pytest.mark.parametrize("write", [write_scores_csv, write_speech_csv, write_rttm, write_vtt])
def test_nothing_but_the_file_is_left(
    tmp_path: Path, write: Callable[[Result, Path], None]
) -> None:
    write(result_of(), tmp_path / "table")
    write(result_of(), tmp_path / "table")
    assert [path.name for path in tmp_path.iterdir()] == ["table"]
