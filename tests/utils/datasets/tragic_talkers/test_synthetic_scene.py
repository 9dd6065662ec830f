"""Generated sequences: delays, echoes, and ground truth in the published layout."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from utils.arrays.geometry import SPEED_OF_SOUND, read_geometry
from utils.datasets.tragic_talkers.labels import read_labels, read_truth
from utils.datasets.tragic_talkers.layout import CameraView, TragicTalkers
from utils.datasets.tragic_talkers.synthetic_room import Room, simulate_room
from utils.datasets.tragic_talkers.synthetic_scene import (
    SceneOptions,
    main,
    make_scene,
    synthetic_rig,
)
from utils.features.gcc_phat import ZERO_LAG, gcc_phat

RATE = 48000


def test_delay_and_gain_of_a_still_source() -> None:
    times = np.arange(4800) / RATE
    tone = np.sin(2 * np.pi * 1000 * times)
    distance = 3.7
    path = np.array([[0, distance, 0.0]] * 2)
    found = simulate_room(tone, path, np.zeros((1, 3)), Room())[:, 0]
    late = times - distance / SPEED_OF_SOUND
    expected = np.sin(2 * np.pi * 1000 * late) / distance
    # The first milliseconds hold the onset, which no filter keeps.
    np.testing.assert_allclose(found[1000:4000], expected[1000:4000], atol=2e-3)
    assert not found[: int(distance / SPEED_OF_SOUND * RATE) - 2].any()


def test_delays_match_the_geometry() -> None:
    noise = np.random.default_rng(0).normal(size=9600)
    rig = synthetic_rig()
    place = np.array([0.8, 2.0, 0.1])
    found = simulate_room(noise, np.stack([place, place]), rig.microphones, Room())
    delays = rig.delays(place)
    expected = np.round((delays[1:] - delays[0]) * RATE).astype(int)
    peaks = gcc_phat(found)[:15, 20:70].mean(axis=1).argmax(axis=1) - ZERO_LAG
    assert np.abs(peaks - expected).max() <= 1
    assert expected.min() < -12


def test_echoes_come_from_mirror_images() -> None:
    click = np.zeros(4800)
    click[100] = 1
    room = Room(order=1, reflection=0.5, size=(6, 7, 3), array_at=(3, 1, 1))
    place = np.array([[0.0, 2, 0]] * 2)
    found = simulate_room(click, place, np.zeros((1, 3)), room)[:, 0]
    mirrored = {
        "itself": (0, 2, 0),
        "left": (-6, 2, 0),
        "right": (6, 2, 0),
        "behind": (0, -4, 0),
        "ahead": (0, 10, 0),
        "floor": (0, 2, -2),
        "ceiling": (0, 2, 4),
    }
    loud = 0.0
    for name, image in mirrored.items():
        apart = float(np.linalg.norm(image))
        sample = 100 + round(apart / SPEED_OF_SOUND * RATE)
        gain = (1 if name == "itself" else 0.5) / apart
        peak = np.abs(found[sample - 3 : sample + 4]).max()
        assert peak > 0.5 * gain, name
        loud += gain**2
    assert sum(1 for _ in room.images(place)) == 7
    assert (found**2).sum() < 2.5 * loud


def test_doppler_effect() -> None:
    times = np.arange(RATE) / RATE
    tone = np.sin(2 * np.pi * 1000 * times)
    path = np.array([[0, 20.0, 0], [0, 10.0, 0]])  # 10 m/s
    found = simulate_room(tone, path, np.zeros((1, 3)), Room())[:, 0]
    spectrum = np.abs(np.fft.rfft(found[8000:40000] * np.hanning(32000)))
    assert np.argmax(spectrum) * RATE / 32000 == pytest.approx(1000 * (1 + 10 / 343), abs=2)


@pytest.mark.parametrize("voices", ["noise", "speech"])
def test_scene(voices: str) -> None:
    if voices == "speech" and not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed")
    scene = make_scene(synthetic_rig(), SceneOptions(6, voices), 1)  # type: ignore[arg-type]
    assert scene.signals.shape == (6 * RATE, 16)
    assert np.abs(scene.signals).max() == pytest.approx(0.5)
    frames = scene.signals[:, 0].reshape(180, -1)
    level = 10 * np.log10((frames**2).mean(axis=1))
    inner = np.convolve(scene.speaking, np.ones(7), "same") >= 7
    outside = np.convolve(scene.speaking, np.ones(7), "same") == 0
    assert np.median(level[inner]) > np.median(level[outside]) + 15
    across = synthetic_rig().cameras[5].place(scene.path)
    assert across.min() >= 0.1
    assert across.max() <= 0.9
    again = make_scene(synthetic_rig(), SceneOptions(6, voices), 1)  # type: ignore[arg-type]
    np.testing.assert_array_equal(again.signals, scene.signals)


def test_command_writes_the_published_layout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--train", "1", "--test", "1", "--seconds", "3", "--voices", "noise"]
    assert main([str(tmp_path), *arguments]) == 0
    assert "2 sequences of 3 s" in capsys.readouterr().out
    layout = TragicTalkers(tmp_path)
    assert layout.sequences("development") == ["walk1"]
    assert layout.sequences("test") == ["walk2"]
    audio = layout.audio("test", "walk2", 1)
    assert (audio.num_microphones, audio.num_samples) == (16, 3 * RATE)
    labels = read_labels(layout.labels_path("GT_GT"))
    assert list(labels) == [CameraView("walk1", camera) for camera in range(1, 12)]
    truth = read_truth(layout.truth_path(CameraView("walk1", 4)))
    view_labels = labels[CameraView("walk1", 4)]
    np.testing.assert_allclose(truth.positions[0] / 2448, view_labels.positions, atol=1e-3)
    np.testing.assert_array_equal(truth.speaking[0], view_labels.speaking)
    assert len(read_geometry(tmp_path / "geometry.json").microphones) == 16


def test_invalid_settings() -> None:
    with pytest.raises(ValueError, match="--seconds"):
        SceneOptions(1)
    with pytest.raises(ValueError, match="order of 0 or more"):
        Room(order=-1)
