"""Labels created from results of visual networks."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.made_array import write_wav
from utils.arrays.sound import open_array
from utils.datasets.tragic_talkers.labels import ViewTruth, read_labels, write_truth
from utils.datasets.tragic_talkers.layout import RIGS, CameraView, TragicTalkers
from utils.datasets.tragic_talkers.teacher import main, view_labels, voice_activity
from utils.output.results import ModelRecord, Result, VideoFacts
from utils.structures import ScoredTrack, Shot


def track(number: int, start: int, left: float, scores: list[float]) -> ScoredTrack:
    """Return a face track 100 px wide."""
    count = len(scores)
    boxes = np.tile(np.array([left, 50, left + 100, 150], np.float32), (count, 1))
    values = np.array(scores, np.float32)
    shares = (1 / (1 + np.exp(-values))).astype(np.float32)
    face = np.zeros((112, 112), np.uint8)
    return ScoredTrack(number, 0, start, boxes, values, shares, face)


def result(tracks: list[ScoredTrack], duration_s: float = 4.0) -> Result:
    facts = VideoFacts("view.mp4", 1000, 500, Fraction(30), duration_s)
    return Result(facts, ModelRecord("talknet"), ModelRecord("yunet"), [Shot(0, 100)], tracks)


def test_speaker_has_the_highest_score() -> None:
    tracks = [
        track(0, 0, 100, [1.0] * 50 + [-1.0] * 50),
        track(1, 25, 700, [-2.0] * 25 + [2.0] * 40),
    ]
    found = view_labels(result(tracks), None)
    assert len(found) == 120
    assert found.located[:60].all()
    np.testing.assert_allclose(found.positions[:60], 0.15)
    np.testing.assert_allclose(found.positions[61:107], 0.75)
    assert found.located[60:108].all()
    assert not found.located[108:].any()
    assert (found.positions[108:] == 1).all()
    np.testing.assert_array_equal(found.speaking, found.located)
    np.testing.assert_allclose(found.times[:3], [0, 0.03, 0.07])


def test_activity_is_independent_of_positions() -> None:
    activity = np.arange(90) < 45
    found = view_labels(result([track(0, 50, 100, [1.0] * 50)]), activity)
    assert len(found) == 90
    np.testing.assert_array_equal(found.speaking, activity)
    assert not found.located[:60].any()
    assert found.located[60:].all()


def test_activity_by_level(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.001, (4 * 48000, 1))
    noise[48000:96000] *= 100
    array = open_array(write_wav(tmp_path / "a.wav", noise), 1)
    found = voice_activity(array, 130)
    assert found[33:58].all()
    assert not found[:28].any()
    assert not found[63:].any()


def lay_out(root: Path, activity: str) -> TragicTalkers:
    (root / "TragicTalkers").mkdir()
    layout = TragicTalkers(root)
    if activity == "GT":
        for camera in (3, 14):
            speaking = np.array([np.arange(120) < 30])
            write_truth(
                ViewTruth(np.zeros((1, 120)), speaking), layout.truth_path(CameraView("a", camera))
            )
    noise = np.random.default_rng(0).normal(0, 0.001, (4 * 48000, 1))
    noise[:48000] *= 100
    for number in (*RIGS[1], *RIGS[2]):
        write_wav(layout.audio_folder("development", "a") / f"{number:02d}.wav", noise)
    return layout


@pytest.mark.parametrize("activity", ["GT", "VAD"])
def test_command_writes_a_condition(tmp_path: Path, activity: str) -> None:
    layout = lay_out(tmp_path, activity)
    results = tmp_path / "results"
    for name, left in (("a-cam03", 100), ("a-cam14", 500)):
        (results / name).mkdir(parents=True)
        result([track(0, 0, left, [1.0] * 50)]).write_json(results / name / "result.json")
    command = [str(tmp_path), str(results), "--teacher", "lr_asd", "--activity", activity]
    assert main(command) == 0
    labels = read_labels(layout.labels_path(f"lr_asd_{activity}"))
    assert list(labels) == [CameraView("a", 3), CameraView("a", 14)]
    for view, position in ((CameraView("a", 3), 0.15), (CameraView("a", 14), 0.55)):
        found = labels[view]
        assert len(found) == 120
        np.testing.assert_allclose(found.positions[:60], position)
        assert found.located.sum() == 60
        assert found.speaking[2:28].all()
        assert not found.speaking[35:].any()


def test_missing_results(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "TragicTalkers").mkdir()
    assert main([str(tmp_path), str(tmp_path / "none")]) == 1
    (message,) = caplog.messages
    assert "run demoTalkNet.py on the videos" in message
