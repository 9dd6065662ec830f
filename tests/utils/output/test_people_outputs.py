"""People show in result.json, the tables, the timeline and the marked video."""

import csv
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.made_faces import made_track
from tests.made_video import write_video
from utils.media.container import ReadOptions, probe
from utils.output.exports import write_people_csv, write_rttm, write_vtt
from utils.output.render import render_video
from utils.output.results import ModelRecord, Result, VideoFacts
from utils.output.thumbnails import write_thumbnails
from utils.output.timeline import HEARD, PRESENT, SPEAKING, TOP, write_timeline
from utils.structures import Person, ScoredTrack, Segment, Shot

FACE = np.full((128, 128, 3), (200, 120, 40), np.uint8)


def speaking(number: int, start: int, first: int, last: int) -> ScoredTrack:
    """Return a track of 50 frames that speaks in frames [first, last) of it."""
    track = made_track(number, start)
    track.scores[first:last] = 3
    return track


@pytest.fixture
def result() -> Result:
    """Return two people in three tracks, one of whom speaks across a cut, and a third voice."""
    tracks = [speaking(0, 0, 30, 50), speaking(1, 0, 0, 0), speaking(2, 50, 0, 20)]
    formed = Result(
        VideoFacts("a.mp4", 320, 240, Fraction(25), 6.0),
        ModelRecord("lr_asd"),
        ModelRecord("yunet"),
        [Shot(0, 50), Shot(50, 150)],
        tracks,
        embedder=ModelRecord("face_reid", "a.bin", "ab"),
        offscreen=[Segment(None, 4.0, 5.5, 1.25, None, "offscreen")],
    )
    people = [Person(0, "Ann Lee", (0, 2), similarity=0.75, thumbnail=FACE)]
    people.append(Person(1, None, (1,), uncertain=True))
    return formed.with_people(people)


def test_people_have_their_tracks_and_speech(result: Result) -> None:
    assert [track.person for track in result.tracks] == [0, 1, 0]
    assert [one.speaking_s for one in result.people] == pytest.approx([1.68, 0.0])
    assert [one.label for one in result.people] == ["Ann Lee", "P1?"]
    assert [part.person for part in result.segments] == [0, 0, None]
    assert result.summary() == (
        "3 face tracks in 2 shots, 2 people, 1 of them speak, 1.7 s in all; 1.5 s of speech "
        "off-screen"
    )
    alone = result.without_people()
    assert [track.person for track in alone.tracks] == [None] * 3
    assert (alone.people, alone.embedder, len(alone.segments)) == ((), None, 2)


def test_people_survive_json(result: Result, tmp_path: Path) -> None:
    result.write_json(tmp_path / "result.json")
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["people"][1] == {
        "id": 1,
        "name": None,
        "tracks": [1],
        "speaking_s": 0.0,
        "uncertain": True,
    }
    assert content["people"][0]["similarity"] == 0.75
    assert content["segments"][2]["kind"] == "offscreen"
    assert "embeddings" not in (tmp_path / "result.json").read_text()
    back = Result.read_json(tmp_path / "result.json")
    assert back.people == result.people and back.embedder == result.embedder
    assert back.segments == result.segments
    image = back.people[0].thumbnail
    assert image is not None and np.abs(image.astype(int) - FACE).max() < 8


def test_embeddings_are_written_on_request_alone(result: Result, tmp_path: Path) -> None:
    vectors = np.array([[0.6, 0.8], [1, 0]], np.float32)
    kept = Result(**{**vars(result), "embeddings": {2: vectors}})
    kept.write_json(tmp_path / "result.json")
    tracks = json.loads((tmp_path / "result.json").read_text())["tracks"]
    assert [track.get("embeddings") for track in tracks] == [None, None, [[0.6, 0.8], [1.0, 0.0]]]
    back = Result.read_json(tmp_path / "result.json")
    np.testing.assert_allclose(back.embeddings[2], vectors)


def test_tables(result: Result, tmp_path: Path) -> None:
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "7.jpg").touch()  # of an earlier run with more people
    names = write_thumbnails(result.people, tmp_path / "people")
    assert names == {0: "0.jpg"}
    assert [path.name for path in (tmp_path / "people").iterdir()] == ["0.jpg"]
    write_people_csv(result, tmp_path / "people.csv", names)
    with (tmp_path / "people.csv").open(newline="") as file:
        assert list(csv.reader(file))[1:] == [
            ["0", "Ann Lee", "0.750", "0", "1.68", "1", "0.00", "4.00", "0 2", "0.jpg"],
            ["1", "", "", "1", "0.00", "0", "0.00", "2.00", "1", ""],
        ]
    write_rttm(result, tmp_path / "speech.rttm")
    write_vtt(result, tmp_path / "speech.vtt")
    lines = (tmp_path / "speech.rttm").read_text().splitlines()
    assert [line.split()[7] for line in lines] == ["Ann_Lee", "Ann_Lee", "offscreen"]
    assert (tmp_path / "speech.vtt").read_text().count("<v Ann Lee>Ann Lee") == 2
    write_rttm(result.without_people(), tmp_path / "speech.rttm")
    lines = (tmp_path / "speech.rttm").read_text().splitlines()
    assert [line.split()[7] for line in lines] == ["face_0", "face_2"]


def rows_of(pixels: NDArray[np.uint8], colour: tuple[int, int, int]) -> set[int]:
    """Return the lanes, of 72 pixels each, that show a colour."""
    near = np.abs(pixels[TOP:].astype(int) - colour).max(axis=2) <= 6
    return set((np.flatnonzero(near.sum(axis=1) > 40) // 72).tolist())


def test_timeline_has_a_lane_for_each_person_and_the_voice(result: Result, tmp_path: Path) -> None:
    write_timeline(result, tmp_path / "a.png")
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert rows_of(pixels, SPEAKING) == {0}
    assert rows_of(pixels, PRESENT) == {0, 1}
    assert rows_of(pixels, HEARD) == {2}
    write_timeline(result.without_people(), tmp_path / "b.png")
    pixels = np.asarray(Image.open(tmp_path / "b.png").convert("RGB"))
    assert rows_of(pixels, PRESENT) == {0, 1, 2}
    assert rows_of(pixels, HEARD) == set()


def test_the_marked_video_shows_labels(tmp_path: Path) -> None:
    """A longer label makes a wider tab."""
    write_video(tmp_path / "a.mp4", [np.full((240, 320, 3), 120, np.uint8)] * 5)
    track = made_track(0, 0, 5)
    track.boxes[:] = (100, 100, 180, 200)
    widths = []
    for labels in ({}, {0: "Ann Lee"}):
        path = tmp_path / "b.mp4"
        render_video(probe(tmp_path / "a.mp4"), [track], path, ReadOptions(), labels=labels)
        import av

        with av.open(str(path)) as container:
            frame = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
        widths.append(int((np.abs(frame[92] - 120).max(axis=1) > 40).sum()))
    assert widths[1] > widths[0] + 20
