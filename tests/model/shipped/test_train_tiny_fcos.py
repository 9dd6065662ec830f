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
from model.shipped.train_tiny_fcos import (
    DetectionObjective,
    DetectorTraining,
    begin,
    learn,
    measure,
    rate,
    report,
    steps_of,
)
from model.training.run import Hooks, Run
from utils.datasets.face_pictures.images import AnnotatedImage, ImageFolder
from utils.model_options import DetectorOptions


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> ImageFolder:
    """Pictures with a disc with two eyes in each, which is easy to find."""
    folder = ImageFolder(tmp_path_factory.mktemp("discs"))
    rng = np.random.default_rng(0)
    for _ in range(12):
        image = np.full((96, 128, 3), 60, np.uint8)
        x, y = (int(value) for value in rng.integers(30, 66, 2))
        cv2.circle(image, (x, y), 20, (220, 180, 150), -1)
        for side in (-8, 8):
            cv2.circle(image, (x + side, y - 5), 3, (20, 20, 20), -1)
        box = np.array([[x - 20, y - 20, x + 20, y + 20]], np.float32)
        folder.add(AnnotatedImage(image, box, np.array([True])))
    return folder


def options_in(folder: Path, **changes: int) -> DetectorTraining:
    settings = {"steps": 6, "batch_size": 4, "side": 64, "warm_up": 2} | changes
    return DetectorTraining(videos="videos", save_path=folder, **settings)  # type: ignore[arg-type]


def objective_of(run: Run) -> DetectionObjective:
    assert isinstance(run.trainer.objective, DetectionObjective)
    return run.trainer.objective


def train_until(run: Run, pictures: ImageFolder, num_steps: int) -> bool:
    """Train and stop after so many steps."""
    objective = objective_of(run)
    hooks = Hooks(stop=lambda: run.trainer.position.updates >= num_steps)
    return run.train(steps_of(objective.options), lambda: report(objective, pictures), hooks)


def test_going_on_gives_what_going_through_gives(pictures: ImageFolder, tmp_path: Path) -> None:
    through = begin(options_in(tmp_path / "through", keep_every=4), pictures)
    assert learn(through, pictures)
    options = options_in(tmp_path / "stopped", keep_every=4)
    assert not train_until(begin(options, pictures), pictures, 2)
    second = begin(options, pictures)
    assert second.trainer.position.updates == 2
    assert not train_until(second, pictures, 4)
    third = begin(options, pictures)
    assert third.trainer.position.updates == 4
    assert learn(third, pictures)
    for name, value in objective_of(through).state_dict().items():
        assert torch.equal(value, objective_of(third).state_dict()[name]), name
    for name in ("log.csv", "tiny_fcos.safetensors"):
        through_file, stopped_file = (tmp_path / run / name for run in ("through", "stopped"))
        assert through_file.read_bytes() == stopped_file.read_bytes()


def test_other_settings_are_refused(pictures: ImageFolder, tmp_path: Path) -> None:
    train_until(begin(options_in(tmp_path), pictures), pictures, 1)
    with pytest.raises(ValueError, match="was trained with batch_size 4, found 8"):
        begin(options_in(tmp_path, batch_size=8), pictures)


def test_a_damaged_checkpoint_is_named(pictures: ImageFolder, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "last.model").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(ValueError, match=r"last\.model"):
        begin(options_in(tmp_path), pictures)


def test_a_loss_that_is_not_finite_is_not_kept(pictures: ImageFolder, tmp_path: Path) -> None:
    run = begin(options_in(tmp_path), pictures)
    with torch.no_grad():
        objective_of(run).network.get_parameter("score.bias").fill_(float("nan"))
    with pytest.raises(ValueError, match=r"loss of batch 1 of epoch 1 is nan; .*lower --lr"):
        learn(run, pictures)


@pytest.mark.slow
def test_it_learns_and_its_weights_can_be_used(pictures: ImageFolder, tmp_path: Path) -> None:
    options = options_in(tmp_path, steps=60, batch_size=8, warm_up=10, keep_every=10)
    run = begin(options, pictures)
    assert learn(run, pictures)
    assert run.rows[-1].loss < 0.6 * run.rows[0].loss
    lines = (tmp_path / "log.csv").read_text("utf-8").splitlines()
    assert lines[0] == "step,score_loss,box_loss,recall,false_boxes,iou"
    assert [line.split(",")[0] for line in lines[1:]] == ["10", "20", "30", "40", "50", "60"]
    path = tmp_path / "tiny_fcos.safetensors"
    found = load(find_file(path), DetectorOptions("tiny_fcos"), "cpu", "fp32")
    assert len(found.detect([pictures.read(0).image])) == 1


def test_measure_of_a_network_that_finds_nothing(pictures: ImageFolder, tmp_path: Path) -> None:
    network = objective_of(begin(options_in(tmp_path), pictures)).network
    assert measure(network, pictures) == {"recall": 0.0, "false_boxes": 0.0, "iou": 0.0}


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.001), (1, 0.002), (2, 0.002), (4, 0.001), (6, 0.0)]
)
def test_learning_rate(step: int, expected: float, tmp_path: Path) -> None:
    assert rate(step, options_in(tmp_path)) == pytest.approx(expected)


def test_the_student_is_read_and_may_change_on_the_way(
    pictures: ImageFolder, tmp_path: Path
) -> None:
    options = options_in(tmp_path)
    assert options.sources(only_held_out=False).student is None
    run = begin(options, pictures)
    train_until(run, pictures, 1)
    weights = tmp_path / "student.safetensors"
    write_halves(run.trainer.network.state_dict(), weights)
    options = replace(options, student=str(weights))
    assert begin(options, pictures).trainer.position.updates == 1
    student = options.sources(only_held_out=False).student
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


def test_training_starts_from_given_weights(pictures: ImageFolder, tmp_path: Path) -> None:
    first = objective_of(begin(options_in(tmp_path / "first"), pictures)).network
    with torch.no_grad():
        first.get_parameter("score.bias").fill_(0.5)
    weights = tmp_path / "first.safetensors"
    write_halves(first.state_dict(), weights)
    options = replace(options_in(tmp_path / "second"), initial=str(weights))
    objective = objective_of(begin(options, pictures))
    for network in (objective.network, objective.averaged):
        assert network.get_parameter("score.bias").item() == 0.5
        assert torch.equal(
            network.get_parameter("stem.conv.weight"),
            first.get_parameter("stem.conv.weight").half().float(),
        )
