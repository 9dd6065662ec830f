"""Views, rigs and folders are as published; missing files are named."""

from pathlib import Path

import numpy as np
import pytest

from tests.made_array import write_wav
from utils.datasets.tragic_talkers.layout import (
    CONDITIONS,
    RIGS,
    CameraView,
    TragicTalkers,
    open_microphones,
)


@pytest.mark.parametrize(
    ("name", "view", "rig", "rig_index"),
    [
        ("interactive4_t3-cam06", CameraView("interactive4_t3", 6), 1, 5),
        ("a-b-cam11", CameraView("a-b", 11), 1, 10),
        ("a-cam12", CameraView("a", 12), 2, 0),
        ("a-cam22", CameraView("a", 22), 2, 10),
    ],
)
def test_views(name: str, view: CameraView, rig: int, rig_index: int) -> None:
    found = CameraView.parse(name)
    assert found == view
    assert found.name == name
    assert (found.rig, found.rig_index) == (rig, rig_index)


@pytest.mark.parametrize("name", ["a-cam00", "a-cam23", "a-cam1", "cam01", "-cam01x"])
def test_invalid_names(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected a view such as .* found"):
        CameraView.parse(name)


def test_published_paths(tmp_path: Path) -> None:
    (tmp_path / "data" / "TragicTalkers").mkdir(parents=True)
    layout = TragicTalkers(tmp_path)
    view = CameraView("interactive1_t2", 14)
    root = tmp_path / "data"
    assert layout.truth_path(view) == root / "GT/interactive1_t2/02/interactive1_t2-cam14_GT.csv"
    assert layout.video_path(view) == (
        root / "TragicTalkers/videos/test/interactive1_t2/interactive1_t2-cam14.mp4"
    )
    assert layout.audio_folder("test", "a") == root / "TragicTalkers/audio/test/a"
    for condition in CONDITIONS:
        assert layout.labels_path(condition) == root / f"csv/development_{condition}.csv"
    with pytest.raises(ValueError, match="'GT_ASC'"):
        layout.labels_path("GT_ASC")
    assert TragicTalkers(root).root == root


def test_missing_data(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="TragicTalkers/audio"):
        TragicTalkers(tmp_path)
    (tmp_path / "TragicTalkers").mkdir()
    with pytest.raises(FileNotFoundError, match="development"):
        TragicTalkers(tmp_path).sequences("development")
    with pytest.raises(FileNotFoundError, match=r"GT/a/01/a-cam01_GT\.csv"):
        TragicTalkers(tmp_path).views_with_truth(["a"])


def test_both_rigs_are_opened_in_order(tmp_path: Path) -> None:
    for rig, numbers in RIGS.items():
        for index, number in enumerate(numbers):
            level = (100 * rig + index) / 1000
            write_wav(tmp_path / f"{number:02d}-xyz.wav", np.full((100, 1), level))
    write_wav(tmp_path / "17-xyz.wav", np.zeros((100, 1)))
    for rig, numbers in RIGS.items():
        audio = open_microphones(tmp_path, numbers)
        expected = (100 * rig + np.arange(16)) / 1000
        np.testing.assert_allclose(audio.read(0, 1)[0], expected, atol=1e-4)
        assert audio.names[0] == f"microphone {numbers[0]:02d}"


def test_missing_and_repeated_microphones(tmp_path: Path) -> None:
    for number in RIGS[1]:
        write_wav(tmp_path / f"{number:02d}.wav", np.zeros((100, 1)))
    (tmp_path / "04.wav").unlink()
    (tmp_path / "15.wav").unlink()
    with pytest.raises(FileNotFoundError, match="microphones 01 to 16, found none for 04, 15"):
        open_microphones(tmp_path, RIGS[1])
    for name in ("04.wav", "15.wav", "15b.wav"):
        write_wav(tmp_path / name, np.zeros((100, 1)))
    with pytest.raises(ValueError, match=r"one WAV file per microphone, found 15\.wav, 15b\.wav"):
        open_microphones(tmp_path, RIGS[1])
    with pytest.raises(FileNotFoundError, match="found no folder"):
        open_microphones(tmp_path / "gone", RIGS[1])
