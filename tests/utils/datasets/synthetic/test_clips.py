"""The demo clip and its labels; generated clips: speech, mouths, and reproducibility."""

import hashlib
import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from utils.datasets.synthetic.clips import (
    SyntheticVideo,
    labels,
    main,
    make_clip,
    make_video,
    soundtrack,
)
from utils.datasets.synthetic.portraits import PORTRAITS, Portrait
from utils.datasets.synthetic.puppets import Pose, draw, face_box
from utils.datasets.synthetic.scripts import DEMO, OFF_SCREEN, Script, SpeakingTurn, random_script
from utils.datasets.synthetic.voices import RATE, mouth_motion, speech_spans

DEMO_FOLDER = Path(__file__).parents[4] / "demo"
needs_voices = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is missing")


@pytest.fixture(scope="module")
def demo() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEMO_FOLDER / "001.labels.json").read_text())
    return found


@pytest.fixture(scope="module", params=sorted(PORTRAITS))
def portrait(request: pytest.FixtureRequest) -> Portrait:
    return PORTRAITS[request.param]()


def beeps(*spans: tuple[float, float], length_s: float) -> NDArray[np.float32]:
    """Return silence with a 500 Hz tone in each span."""
    times = np.arange(round(length_s * RATE)) / RATE
    heard = np.any([(start <= times) & (times < stop) for start, stop in spans], axis=0)
    return np.asarray(0.5 * heard * np.sin(2 * np.pi * 500 * times), np.float32)


def drawn(portrait: Portrait, pose: Pose) -> NDArray[np.float32]:
    canvas = np.full((360, 640, 3), 128, np.float32)
    draw(canvas, portrait, pose)
    return canvas


def test_demo_is_the_labelled_file(demo: dict[str, Any]) -> None:
    content = (DEMO_FOLDER / demo["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == demo["sha256"]
    assert len(content) == demo["bytes"] <= 3_000_000


def test_demo_is_720p_with_audio(demo: dict[str, Any]) -> None:
    with av.open(str(DEMO_FOLDER / demo["file"])) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.width, video.height) == ("h264", 1280, 720)
        assert (video.average_rate, video.frames) == (25, round(demo["duration"] * 25))
        assert audio.codec_context.name == "aac"
        assert float(audio.duration * audio.time_base) == pytest.approx(demo["duration"], abs=0.05)
    assert 20 <= demo["duration"] <= 30


def test_demo_has_every_case(demo: dict[str, Any]) -> None:
    """In steps of 0.1 s: each person alone, both, nobody, an off-screen voice; and one cut."""
    times = np.arange(0, demo["duration"], 0.1)

    def heard(rows: list[list[Any]]) -> NDArray[np.bool_]:
        return np.asarray([any(row[0] <= time < row[1] for row in rows) for time in times])

    assert len(demo["cuts"]) == 1
    before = times < demo["cuts"][0]
    one, other = (
        heard([row for row in demo["speaking"] if row[2] == name]) & before
        for name in ("collins", "hopper")
    )
    off_screen = heard(demo["offscreen_voice"])
    assert (one & ~other).sum() > 40
    assert (other & ~one).sum() > 40
    assert (one & other).sum() > 8
    assert (~one & ~other & ~off_screen & before).sum() > 20
    assert (off_screen & ~one & ~other & before).sum() > 25


def test_demo_faces_cover_it(demo: dict[str, Any]) -> None:
    cut = demo["cuts"][0]
    for name, stop in (("collins", cut), ("hopper", demo["duration"])):
        rows = demo["persons"][name]["faces"]
        assert rows[0][0] == 0
        assert rows[-1][1] == stop
        assert all(row[1] == after[0] for row, after in pairwise(rows))
        assert all(150 < row[4] - row[2] < 300 for row in rows)


@pytest.mark.parametrize(
    ("spoken", "expected"),
    [
        ([(0.5, 1.0)], [(0.5, 1.0)]),
        ([(0.5, 1.0), (1.2, 1.6)], [(0.5, 1.6)]),
        ([(0.5, 1.0), (1.5, 1.9)], [(0.5, 1.0), (1.5, 1.9)]),
        ([(0.2, 0.24), (1.0, 1.5)], [(1.0, 1.5)]),
    ],
    ids=["one", "short pause", "long pause", "click"],
)
def test_speech_spans(
    spoken: list[tuple[float, float]], expected: list[tuple[float, float]]
) -> None:
    found = speech_spans(beeps(*spoken, length_s=2.0))
    assert np.array(found) == pytest.approx(np.array(expected), abs=0.04)


def test_mouth_is_open_during_speech() -> None:
    opening, rounding = mouth_motion(beeps((0.4, 0.8), length_s=1.2), 40)
    assert opening.min() >= 0
    assert opening.max() <= 1
    assert opening[11:19] == pytest.approx(1.0, abs=0.05)
    assert np.concatenate((opening[:8], opening[22:])) == pytest.approx(0.0, abs=0.02)
    assert rounding[11:19].min() > 0.5  # 500 Hz alone is a dark vowel


def test_open_mouth_changes_only_the_lower_face(portrait: Portrait) -> None:
    _, y1, _, y2 = portrait.face
    scale = 150 / (y2 - y1)
    pose = Pose(320, 150, scale)
    change = np.abs(drawn(portrait, replace(pose, opening=0.8)) - drawn(portrait, pose)).max(axis=2)
    rows, columns = np.nonzero(change > 8)
    assert change.max() > 80
    mouth_y = 150 + (portrait.mouth.upper[0][1] - (y1 + y2) / 2) * scale
    assert mouth_y - 25 < rows.min() < mouth_y + 5
    assert 320 - 75 < columns.min() < 320 < columns.max() < 320 + 75


def test_face_box(portrait: Portrait) -> None:
    x1, y1, x2, y2 = portrait.face
    scale = 150 / (y2 - y1)
    box = face_box(portrait, Pose(300, 170, scale))
    half = scale * (x2 - x1) / 2
    assert box == pytest.approx((300 - half, 95, 300 + half, 245))
    turned = face_box(portrait, Pose(300, 170, scale, turn=0.1, shift=(0, 5)))
    assert turned[0] > box[0] + 5  # clockwise about the neck: to the right
    still = drawn(portrait, Pose(300, 170, scale))
    moved = drawn(portrait, Pose(320, 160, scale))
    np.testing.assert_allclose(moved[90:240, 220:420], still[100:250, 200:400], atol=2)


def test_blinks_change_only_the_eyes(portrait: Portrait) -> None:
    x1, y1, x2, y2 = portrait.face
    scale = 150 / (y2 - y1)
    pose = Pose(320, 150, scale)
    change = np.abs(drawn(portrait, replace(pose, lids=1.0)) - drawn(portrait, pose)).max(axis=2)
    rows, columns = np.nonzero(change > 8)
    for eye in portrait.eyes:
        x = 320 + (eye.x - (x1 + x2) / 2) * scale
        assert (np.abs(columns - x) < 14).any()
    level = 150 + (portrait.eyes[0].y - (y1 + y2) / 2) * scale
    assert np.abs(rows - level).max() < 14


def test_scripts_depend_only_on_the_seed() -> None:
    assert random_script(3, 2, 5, None) == random_script(3, 2, 5, None)
    assert random_script(3, 2, 5, None) != random_script(4, 2, 5, None)
    assert len(random_script(3, 1, 7, 5.0).turns) == 7
    assert {turn.person for turn in random_script(3, 1, 2, 5.0).turns} <= set(PORTRAITS)


@pytest.fixture(scope="module")
def staged() -> SyntheticVideo:
    turns = (
        SpeakingTurn("collins", "Yes.", 0.3),
        SpeakingTurn(OFF_SCREEN, "No, I do not think so.", 0.4),
        SpeakingTurn("hopper", "Exactly.", -0.3),
    )
    return make_video(Script(turns, DEMO.views, (2,)))


@needs_voices
def test_lips_move_only_with_their_own_voice(staged: SyntheticVideo) -> None:
    for name, spoken in (("collins", staged.spoken[0]), ("hopper", staged.spoken[2])):
        opening = np.array([pose.opening for pose in staged.poses[name]])
        times = (np.arange(staged.num_frames) + 0.5) / 25
        during = (spoken.start_s - 0.12 < times) & (times < spoken.stop_s + 0.12)
        assert opening[during].max() > 0.5
        assert opening[~during].max() < 0.02


@needs_voices
def test_audio_matches_the_labels(staged: SyntheticVideo, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    found = labels(staged, tmp_path / "a.mp4")
    assert [row[2] for row in found["speaking"]] == ["collins", "hopper"]
    audio = np.abs(soundtrack(staged).astype(int))
    assert len(audio) == staged.num_frames * RATE // 25
    spans = found["speaking"] + found["offscreen_voice"]
    silent = np.ones(len(audio), bool)
    for start, stop, *_ in spans:
        assert audio[round(start * RATE) : round(stop * RATE)].max() > 5000
        silent[round((start - 0.03) * RATE) : round((stop + 0.03) * RATE)] = False
    assert audio[silent].max() < 1200


@needs_voices
@pytest.mark.slow
def test_clips_are_reproducible(tmp_path: Path) -> None:
    script = random_script(5, 1, 1, 0.6)
    make_clip(script, tmp_path / "a.mp4")
    options = ["--seed", "5", "--persons", "1", "--turns", "1", "--duration", "0.6"]
    assert main([str(tmp_path / "b.mp4"), *options]) == 0
    first, second = (json.loads((tmp_path / f"{name}.labels.json").read_text()) for name in "ab")
    assert first["sha256"] == second["sha256"]
    assert first["duration"] == 0.6
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 15
