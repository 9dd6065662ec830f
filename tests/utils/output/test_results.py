"""Results are read back as written; segments of speech are found."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from utils.output.results import ModelRecord, Result, VideoFacts, find_segments
from utils.structures import AudioFacts, Person, ScoredTrack, Segment, Shot

AUDIO = AudioFacts(3, (1, 3), "as asked for", "track 3: channel 1 of 2")


def scored(scores: list[float], start: int = 0, number: int = 0) -> ScoredTrack:
    """Return a still face with these scores."""
    values = np.array(scores, np.float32)
    boxes = np.tile(np.array([10.126, 20, 110, 140.5], np.float32), (len(scores), 1))
    ramp = np.tile(np.arange(112, dtype=np.uint8), (112, 1))
    probabilities = np.asarray(1 / (1 + np.exp(-values)), np.float32)
    return ScoredTrack(number, 0, start, boxes, values, probabilities, ramp)


def result_of(*tracks: ScoredTrack, path: str = "clips/a.mp4") -> Result:
    return Result(
        VideoFacts(path, 640, 360, Fraction(30000, 1001), 4.004, audio=AUDIO),
        ModelRecord("lr_asd", "lr_asd_talkset.model", "ab" * 32, "asked for"),
        ModelRecord("yunet"),
        [Shot(0, 60), Shot(60, 100)],
        list(tracks),
        {"crop_scale": 0.4, "cuts": None, "video_folder": Path("demo")},
        ("the file breaks off",),
    )


@pytest.mark.parametrize(
    ("scores", "frames"),
    [
        ([-1] * 50, []),
        ([1] * 50, [(0, 50)]),
        ([-1] * 20 + [1] * 20 + [-1] * 20, [(20, 40)]),
        ([-1] * 20 + [30] + [-1] * 20, [(18, 23)]),
        ([1] * 20 + [-1] * 4 + [1] * 20, [(0, 44)]),
        ([1] * 20 + [-1] * 5 + [1] * 20, [(0, 20), (25, 45)]),
        ([-3] * 18 + [0.1] * 6 + [-3] * 18, []),
        ([-3] * 18 + [0.1] * 7 + [-3] * 18, [(20, 23)]),
        ([2.0], [(0, 1)]),
        ([-2.0], []),
    ],
    ids=[
        "silent",
        "speaks throughout",
        "one stretch",
        "a peak, smoothed over five frames",
        "four frames of pause are joined",
        "five frames of pause are not",
        "two frames are too short",
        "three frames are not",
        "track of one frame",
        "silent track of one frame",
    ],
)
def test_find_segments(scores: list[float], frames: list[tuple[int, int]]) -> None:
    found = find_segments(scored(scores, start=50))
    assert [(part.start_s, part.stop_s) for part in found] == [
        ((50 + start) / 25, (50 + stop) / 25) for start, stop in frames
    ]


def test_segment_score_is_the_mean_of_the_smoothed_scores() -> None:
    assert find_segments(scored([2.0, 4.0, 6.0], number=7)) == [Segment(7, 0.0, 0.12, 4.0)]


def test_segments_of_all_tracks_are_in_order_of_time() -> None:
    result = result_of(scored([1] * 9, 30, 0), scored([1] * 9, 10, 1), scored([1] * 9, 10, 2))
    assert [part.track for part in result.segments] == [1, 2, 0]


@pytest.mark.parametrize(
    ("threshold", "frames"),
    [(-1.0, [(0, 60)]), (0.0, [(19, 41)]), (2.0, [(22, 38)]), (2.0001, [])],
)
def test_threshold(threshold: float, frames: list[tuple[int, int]]) -> None:
    found = find_segments(scored([-1.0] * 20 + [2.0] * 20 + [-1.0] * 20), threshold)
    assert [(round(part.start_s * 25), round(part.stop_s * 25)) for part in found] == frames


def test_segments_are_those_of_the_stored_scores(tmp_path: Path) -> None:
    """Scores are rounded in the file; what lies between does not decide."""
    tracks = [scored([-0.00004] * 30), scored([-0.00006] * 30, 40, 1)]
    written = result_of(*tracks)
    written.write_json(tmp_path / "result.json")
    assert Result.read_json(tmp_path / "result.json").segments == written.segments
    assert [part.track for part in written.segments] == [0]


def test_people_come_back(tmp_path: Path) -> None:
    tracks = [replace(scored([2.0] * 9, 30 * n, n), person=n // 2) for n in range(3)]
    written = replace(
        result_of(*tracks),
        people=[Person(0, "Ann", (0, 1), 0.72), Person(1, None, (2,), 0.36, uncertain=True)],
        embedder=ModelRecord("made"),
        offscreen=[Segment(None, 1.2, 2.0, 0.5, None, "offscreen")],
    )
    written.write_json(tmp_path / "result.json")
    read = Result.read_json(tmp_path / "result.json")
    assert (read.people, read.embedder) == (written.people, written.embedder)
    assert [track.person for track in read.tracks] == [0, 0, 1]
    assert read.segments == written.segments
    found = json.loads((tmp_path / "result.json").read_text())
    assert found["segments"] == [
        {"track": 0, "start_s": 0.0, "stop_s": 0.36, "score": 2.0, "person": 0},
        {"track": 1, "start_s": 1.2, "stop_s": 1.56, "score": 2.0, "person": 0},
        {"track": None, "start_s": 1.2, "stop_s": 2.0, "score": 0.5, "kind": "offscreen"},
        {"track": 2, "start_s": 2.4, "stop_s": 2.76, "score": 2.0, "person": 1},
    ]


def test_file_has_the_documented_parts(tmp_path: Path) -> None:
    result_of(scored([1.23456] * 4, start=10, number=3)).write_json(tmp_path / "result.json")
    found: dict[str, Any] = json.loads((tmp_path / "result.json").read_text())
    thumbnail = found["tracks"][0].pop("thumbnail")
    assert len(thumbnail) > 100
    assert found == {
        "version": 1,
        "video": {
            "path": "clips/a.mp4",
            "width": 640,
            "height": 360,
            "fps": 29.97003,
            "fps_exact": "30000/1001",
            "duration_s": 4.004,
            "has_sound": True,
            "audio": {
                "num_tracks": 3,
                "tracks": [1, 3],
                "reason": "as asked for",
                "channels": "track 3: channel 1 of 2",
            },
        },
        "network": {
            "name": "lr_asd",
            "weights": "lr_asd_talkset.model",
            "sha256": "ab" * 32,
            "reason": "asked for",
            "encoder": None,
        },
        "detector": {
            "name": "yunet",
            "weights": None,
            "sha256": None,
            "reason": "",
            "encoder": None,
        },
        "settings": {"crop_scale": 0.4, "cuts": None, "video_folder": "demo"},
        "warnings": ["the file breaks off"],
        "shots": [{"start_s": 0.0, "stop_s": 2.4}, {"start_s": 2.4, "stop_s": 4.0}],
        "tracks": [
            {
                "id": 3,
                "shot": 0,
                "start_frame": 10,
                "start_s": 0.4,
                "stop_s": 0.56,
                "boxes": [[10.13, 20.0, 110.0, 140.5]] * 4,
                "scores": [1.2346] * 4,
                "probabilities": [0.7746] * 4,
            }
        ],
        "segments": [{"track": 3, "start_s": 0.4, "stop_s": 0.56, "score": 1.2346}],
    }


@pytest.mark.parametrize(
    "path",
    ["clips/a.mp4", 'a "b"; c\n\t.mp4', "Ünï/日本.mov", "bad \udcff byte.mp4"],
    ids=["plain", "quotes and newline", "non-ASCII", "no UTF-8"],
)
def test_read_gives_back_what_was_written(tmp_path: Path, path: str) -> None:
    rng = np.random.default_rng(0)
    tracks = [scored(rng.normal(0, 3, 40).tolist(), 7 * n, n) for n in range(3)]
    written = result_of(*tracks, path=path)
    written.write_json(tmp_path / "result.json")
    read = Result.read_json(tmp_path / "result.json")
    assert read.video == written.video
    assert (read.network, read.detector) == (written.network, written.detector)
    assert (read.shots, read.warnings) == (written.shots, written.warnings)
    for track, original in zip(read.tracks, tracks, strict=True):
        assert (track.id, track.shot, track.start) == (original.id, 0, original.start)
        assert track.boxes.dtype == track.scores.dtype == np.float32
        np.testing.assert_allclose(track.boxes, original.boxes, atol=0.0051)
        np.testing.assert_allclose(track.scores, original.scores, atol=0.0000501)
        np.testing.assert_allclose(track.probabilities, original.probabilities, atol=0.0000501)
        difference = track.thumbnail.astype(int) - original.thumbnail
        assert track.thumbnail.shape == (112, 112)
        assert np.abs(difference).max() <= 8  # JPEG
    read.write_json(tmp_path / "again.json")
    again = Result.read_json(tmp_path / "again.json")
    assert again.segments == read.segments


def test_unknown_keys_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    written = result_of(scored([3.0] * 4, 10, 3))
    encoder = ModelRecord("asc_encoder", "encoder.model", "0" * 64, "needed")
    written = replace(written, network=replace(written.network, encoder=encoder))
    written.write_json(path)
    content = json.loads(path.read_text())
    parts = [content, content["video"], content["network"], content["network"]["encoder"]]
    parts += [content["detector"], *content["shots"], *content["tracks"], *content["segments"]]
    for part in parts:
        part["of_the_future"] = {"any": ["thing"]}
    path.write_text(json.dumps(content))
    read = Result.read_json(path)
    assert (read.video, read.network, read.detector) == (
        written.video,
        written.network,
        written.detector,
    )
    assert read.shots == written.shots
    assert [(track.id, track.start, len(track.boxes)) for track in read.tracks] == [(3, 10, 4)]


def test_a_result_without_tracks_is_complete(tmp_path: Path) -> None:
    replace(result_of(), shots=[]).write_json(tmp_path / "result.json")
    found = json.loads((tmp_path / "result.json").read_text())
    assert (found["shots"], found["tracks"], found["segments"]) == ([], [], [])
    assert Result.read_json(tmp_path / "result.json").tracks == []


def test_nan_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected finite scores in track 0, found NaN"):
        result_of(scored([0.0, float("nan")])).write_json(tmp_path / "result.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "expected JSON in .*result.json"),
        ("[1]", "found version None"),
        ('{"version": 99}', "expected a result of version 1 in .*, found version 99"),
        (
            '{"version": 1, "video": {"fps_exact": "25"}}',
            "part of the result is missing or damaged",
        ),
        ('{"version": 1, "video": {"fps_exact": "fast"}}', "missing or damaged: .*fast"),
        ('{"version": 1, "video": null}', "missing or damaged"),
    ],
    ids=["not JSON", "a list", "of the future", "parts missing", "no number", "null"],
)
def test_bad_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        Result.read_json(tmp_path / "result.json")
