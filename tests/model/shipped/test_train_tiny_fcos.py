"""Training a detector learns, goes on exactly where it stopped, and writes weights to use."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from model.checkpoints.registry import find_file
from model.checkpoints.training import write_halves
from model.detectors.tiny_fcos import load
from model.shipped import train_tiny_fcos
from model.shipped.train_tiny_fcos import DetectorTraining, begin, measure, rate, report, take_step
from utils.datasets.face_pictures.pictures import MarkedPicture, PictureFolder
from utils.model_options import DetectorOptions


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> PictureFolder:
    """Pictures with a disc with two eyes in each, which is easy to find."""
    folder = PictureFolder(tmp_path_factory.mktemp("discs"))
    rng = np.random.default_rng(0)
    for _ in range(12):
        image = np.full((96, 128, 3), 60, np.uint8)
        x, y = (int(value) for value in rng.integers(30, 66, 2))
        cv2.circle(image, (x, y), 20, (220, 180, 150), -1)
        for side in (-8, 8):
            cv2.circle(image, (x + side, y - 5), 3, (20, 20, 20), -1)
        box = np.array([[x - 20, y - 20, x + 20, y + 20]], np.float32)
        folder.add(MarkedPicture(image, box, np.array([True])))
    return folder


def options_in(folder: Path, **changes: int) -> DetectorTraining:
    settings = {"steps": 6, "batch_size": 4, "side": 64, "warm_up": 2} | changes
    return DetectorTraining(videos="videos", save_path=folder, **settings)  # type: ignore[arg-type]


def test_going_on_gives_what_going_through_gives(pictures: PictureFolder, tmp_path: Path) -> None:
    through = begin(options_in(tmp_path / "through"))
    for _ in range(4):
        take_step(through, pictures)
    first = begin(options_in(tmp_path / "stopped"))
    for _ in range(2):
        take_step(first, pictures)
    first.keep()
    second = begin(options_in(tmp_path / "stopped"))
    assert second.step == 2
    for _ in range(2):
        take_step(second, pictures)
    for name, value in through.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    for name, value in through.averaged.state_dict().items():
        assert torch.equal(value, second.averaged.state_dict()[name]), name


def test_other_settings_are_refused(tmp_path: Path) -> None:
    begin(options_in(tmp_path)).keep()
    with pytest.raises(ValueError, match="was trained with batch_size 4, found 8"):
        begin(options_in(tmp_path, batch_size=8))


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "last.model").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(ValueError, match=r"last\.model"):
        begin(options_in(tmp_path))


@pytest.mark.slow
def test_it_learns_and_its_weights_can_be_used(pictures: PictureFolder, tmp_path: Path) -> None:
    run = begin(options_in(tmp_path, steps=60, batch_size=8, warm_up=10))
    for _ in range(60):
        take_step(run, pictures)
    losses = np.sum(run.losses, axis=1)
    assert losses[-10:].mean() < 0.6 * losses[:10].mean()
    report(run, pictures)
    lines = (tmp_path / "log.csv").read_text("utf-8").splitlines()
    assert lines[0] == "step,score_loss,box_loss,recall,false_boxes,iou"
    assert len(lines) == 2 and lines[1].startswith("60,")
    path = tmp_path / "tiny_fcos.safetensors"
    found = load(find_file(path), DetectorOptions("tiny_fcos"), "cpu", "fp32")
    assert len(found.detect([pictures.read(0).image])) == 1


def test_measure_of_a_network_that_finds_nothing(pictures: PictureFolder, tmp_path: Path) -> None:
    network = begin(options_in(tmp_path)).network
    assert measure(network, pictures) == {"recall": 0.0, "false_boxes": 0.0, "iou": 0.0}


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.001), (1, 0.002), (2, 0.002), (4, 0.001), (6, 0.0)]
)
def test_learning_rate(step: int, expected: float, tmp_path: Path) -> None:
    assert rate(step, options_in(tmp_path)) == pytest.approx(expected)


def test_the_student_is_read_and_may_change_on_the_way(tmp_path: Path) -> None:
    run = begin(options_in(tmp_path))
    assert run.options.sources(only_held_out=False).student is None
    run.keep()
    weights = tmp_path / "student.safetensors"
    write_halves(run.network.state_dict(), weights)
    again = begin(replace(run.options, student=str(weights)))
    student = again.options.sources(only_held_out=False).student
    assert student is not None
    assert student.detect([np.zeros((32, 32, 3), np.uint8)])[0].boxes.tolist() == []


def test_wrong_flags(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for flags in ([], ["--videos", str(tmp_path), "--side", "50"]):
        with pytest.raises(SystemExit) as stopped:
            train_tiny_fcos.main(flags)
        assert stopped.value.code == 2
    shown = capsys.readouterr().err
    assert "--videos must name a folder" in shown
    assert "--side must be 64, 96, 128 ..., got 50" in shown
