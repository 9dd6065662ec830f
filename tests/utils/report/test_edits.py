"""Edits are read, checked and applied as documented."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.made_report import made_result, made_track
from utils.output.results import ModelRecord, Result
from utils.report.corrections import apply_edits
from utils.report.edits import (
    Draw,
    Edit,
    Edits,
    Merge,
    Move,
    Rename,
    SplitOff,
    Trim,
    fingerprint,
)
from utils.structures import Person, Segment

SILENT, SPEAKS = [-2.0], [2.0]
ALL = (
    Rename(0, "Ann"),
    Merge(2, 1),
    SplitOff(4, 7),
    Move(1, 20, 40, 0),
    Move(0, 1, 2, "offscreen"),
    Draw("offscreen", 3, 4.5),
    Trim(0, 20, 40, 22, 38),
)


def small_result() -> Result:
    """Return person 0 with tracks 0 and 2, and person 1 with track 1.

    Speech: 12 to 28 of track 0, 52 to 58 of track 1, 102 to 118 of track 2.
    """

    def scores(length: int, start: int, stop: int) -> list[float]:
        return SILENT * start + SPEAKS * (stop - start) + SILENT * (length - stop)

    tracks = [
        made_track(0, 0, scores(80, 12, 28), 0),
        made_track(1, 40, scores(40, 12, 18), 1),
        made_track(2, 90, scores(40, 12, 28), 0),
    ]
    people = [Person(0, None, (0, 2)), Person(1, "Bob", (1,))]
    result = replace(made_result(), tracks=tracks, people=people, offscreen=[])
    return replace(result, embedder=ModelRecord("made"))


def speech(result: Result) -> list[tuple[int | None, int, int, int | None]]:
    """Return person, start, stop and track of all segments."""
    return [
        (one.person, round(one.start_s * 25), round(one.stop_s * 25), one.track)
        for one in result.segments
    ]


FOUND = [(0, 12, 28, 0), (1, 52, 58, 1), (0, 102, 118, 2)]


def test_the_small_result() -> None:
    assert speech(small_result()) == FOUND


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([Rename(0, "Ann")], FOUND),
        ([Merge(1, 0)], [(0, 12, 28, 0), (0, 52, 58, 1), (0, 102, 118, 2)]),
        ([SplitOff(2, 5)], [(0, 12, 28, 0), (1, 52, 58, 1), (5, 102, 118, 2)]),
        ([Move(0, 12, 28, 1)], [(1, 12, 28, None), (1, 52, 58, 1), (0, 102, 118, 2)]),
        ([Move(0, 12, 28, "nobody")], FOUND[1:]),
        ([Move(0, 12, 28, "offscreen")], [(None, 12, 28, None), *FOUND[1:]]),
        ([Move(0, 20, 40, "nobody")], [(0, 12, 20, 0), *FOUND[1:]]),
        ([Move(0, 15, 20, 1)], [(0, 12, 15, 0), (1, 15, 20, None), (0, 20, 28, 0), *FOUND[1:]]),
        ([Draw(1, 45, 48)], [FOUND[0], (1, 45, 48, 1), *FOUND[1:]]),
        ([Draw(1, 45, 53)], [FOUND[0], (1, 45, 58, 1), FOUND[2]]),
        ([Draw(0, 70, 110)], [*FOUND[:2], (0, 70, 118, 2)]),
        ([Draw(1, 200, 210)], [*FOUND, (1, 200, 210, None)]),
        ([Draw("offscreen", 30, 40)], [FOUND[0], (None, 30, 40, None), *FOUND[1:]]),
        ([Trim(1, 52, 58, 53, 70)], [FOUND[0], (1, 53, 70, 1), FOUND[2]]),
        ([Draw(0, 30.5, 31.4)], [FOUND[0], (0, 31, 32, 0), *FOUND[1:]]),
        ([Merge(1, 0), SplitOff(1, 1), Move(1, 52, 58, 0)], [FOUND[0], (0, 52, 58, 0), FOUND[2]]),
    ],
    ids=str,
)
def test_apply(edits: list[Edit], expected: list[tuple[int | None, int, int, int | None]]) -> None:
    assert speech(apply_edits(small_result(), Edits(tuple(edits)))) == expected


def test_people_after_edits() -> None:
    edits = (Rename(0, "Ann"), SplitOff(2, 5), Merge(1, 5), Draw(0, 60, 70))
    result = apply_edits(small_result(), Edits(edits))
    assert result.people == [
        Person(0, "Ann", (0,), (16 + 10) / 25),
        Person(5, "Bob", (1, 2), (6 + 16) / 25),
    ]
    assert [track.person for track in result.tracks] == [0, 5, 5]


def test_faces_and_similarity_after_edits() -> None:
    """A face may be that of the track that is split off; a name by hand has no similarity."""
    face = np.full((128, 128, 3), (200, 120, 40), np.uint8)
    before = small_result()
    people = [replace(one, similarity=0.75, thumbnail=face) for one in before.people]
    edits = (Rename(0, "Ann"), SplitOff(2, 5))
    ann, bob, other = apply_edits(replace(before, people=people), Edits(edits)).people
    assert (ann.similarity, bob.similarity, other.similarity) == (None, 0.75, None)
    grey = np.repeat(before.tracks[0].thumbnail[..., None], 3, axis=2)
    np.testing.assert_array_equal(ann.thumbnail, grey)
    np.testing.assert_array_equal(other.thumbnail, grey)
    assert bob.thumbnail is face


def test_scores_are_those_of_the_speech_that_is_left() -> None:
    result = apply_edits(small_result(), Edits((Move(0, 12, 14, "nobody"), Draw(1, 200, 210))))
    assert [one.score for one in result.segments] == [1.8286, 1.2, 1.7, None]


def test_threshold_and_edits_work_together() -> None:
    edits = Edits((Move(0, 14, 26, 1),), threshold=1.9)
    assert speech(apply_edits(small_result(), edits)) == [
        (1, 14, 26, None),
        (0, 104, 116, 2),
    ]


def test_without_edits_nothing_changes() -> None:
    result = made_result(formed=False)
    assert apply_edits(result, Edits()) is result


def test_tracks_are_people_if_none_were_formed() -> None:
    result = apply_edits(made_result(formed=False), Edits((Rename(2, "Ann"),)))
    assert [(one.id, one.name, one.tracks) for one in result.people] == [
        (number, "Ann" if number == 2 else None, (number,)) for number in range(6)
    ]
    assert all(one.person == one.track for one in result.segments)


def test_edits_come_back(tmp_path: Path) -> None:
    written = Edits(ALL, 0.25, "0" * 16)
    written.write_json(tmp_path / "edits.json")
    assert Edits.read_json(tmp_path / "edits.json") == written
    content = json.loads((tmp_path / "edits.json").read_text())
    assert content["edits"][0] == {"edit": "rename", "person": 0, "name": "Ann"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("  Ann\n Lee ", "Ann Lee"), ("", None), (" \t", None), ("x" * 200, "x" * 100), (None, None)],
)
def test_names_are_cleaned(tmp_path: Path, name: str | None, expected: str | None) -> None:
    edit = {"edit": "rename", "person": 0, "name": name, "of_the_future": 1}
    path = tmp_path / "edits.json"
    path.write_text(json.dumps({"version": 1, "edits": [edit]}))
    assert Edits.read_json(path) == Edits((Rename(0, expected),))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"edit": "paint"}, r'edits\[0\]: expected "edit" to be one of rename, .* found \'paint\''),
        ({}, "found None"),
        ("rename", r"edits\[0\]: expected"),
        ({"edit": "rename", "person": "Ann", "name": "A"}, "found 'Ann' as person"),
        ({"edit": "rename", "person": -1, "name": "A"}, "found -1 as person"),
        ({"edit": "rename", "person": 0, "name": 3}, "found 3 as name"),
        ({"edit": "merge", "person": 0}, "found None as into"),
        ({"edit": "draw", "person": 0, "start": 5, "stop": 5}, "start from 0 below stop"),
        ({"edit": "draw", "person": 0, "start": -1, "stop": 5}, "start from 0 below stop"),
        ({"edit": "draw", "person": 0, "start": True, "stop": 5}, "found True as start"),
        ({"edit": "move", "person": 0, "start": 1, "stop": 5, "to": "x"}, "found 'x' as to"),
    ],
    ids=str,
)
def test_wrong_edits_are_named(tmp_path: Path, part: Any, message: str) -> None:
    path = tmp_path / "edits.json"
    path.write_text(json.dumps({"version": 1, "edits": [part]}))
    with pytest.raises(ValueError, match=message):
        Edits.read_json(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "expected JSON in"),
        ('{"version": 2}', "expected edits of version 1"),
        ("[]", "found version None"),
        ('{"version": 1, "edits": {}}', "a list of edits"),
        ('{"version": 1, "threshold": "high"}', "a number as threshold"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "edits.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        Edits.read_json(tmp_path / "edits.json")


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([Rename(9, "Ann")], r"edits\[0\] \(rename\): there is no person 9"),
        ([Merge(1, 0), Rename(1, "Ann")], r"edits\[1\] \(rename\): there is no person 1"),
        ([Merge(0, 0)], "found 0 twice"),
        ([SplitOff(1, 5)], "found track 1 and id 5"),
        ([SplitOff(2, 1)], "found track 2 and id 1"),
        ([Draw(4, 0, 5)], "there is no person 4"),
        ([Move("offscreen", 0, 5, 4)], "there is no person 4"),
    ],
    ids=str,
)
def test_edits_of_what_is_not_there(edits: list[Edit], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        apply_edits(small_result(), Edits(tuple(edits)))


def test_edits_belong_to_one_result() -> None:
    result, other = made_result(0), made_result(1)
    assert fingerprint(result) == fingerprint(made_result(0)) != fingerprint(other)
    Edits(result=fingerprint(result)).check(result, Path("edits.json"))
    Edits().check(result, Path("edits.json"))
    with pytest.raises(ValueError, match=r"edits.json corrects another result"):
        Edits(result=fingerprint(other)).check(result, Path("edits.json"))


def test_off_screen_speech_keeps_its_score_until_it_is_changed() -> None:
    result = made_result()
    edits = (Rename(0, "Eve"), Move("offscreen", 1500, 1510, "nobody"))
    found = [one for one in apply_edits(result, Edits(edits)).segments if one.kind == "offscreen"]
    assert found == [
        Segment(None, 19.6, 20.0, 0.5, None, "offscreen"),
        Segment(None, 60.4, 61.2, None, None, "offscreen"),
    ]
