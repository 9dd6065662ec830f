"""Checkpoints are complete or absent, run in the demo, and reject other settings."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model.checkpoints import training as checkpoints
from model.checkpoints.build import load_single
from model.networks.lr_asd import LRASD
from model.ranks import Ranks
from model.training.network_trainer import describe_settings, make_trainer
from model.training.run import Run
from tests.made_training import TinyNetwork
from utils.training_options import RunOptions, TrainingOptions


def made_run(folder: Path, options: TrainingOptions) -> Run:
    trainer = make_trainer(TinyNetwork(), options, Ranks())
    return Run(trainer, RunOptions(folder), describe_settings(trainer, options, "fresh", {}))


@pytest.mark.parametrize("file", ["last.model", "best.model"])
def test_the_demo_reads_it(tmp_path: Path, file: str) -> None:
    network = LRASD()
    trainer = make_trainer(network, TrainingOptions(), Ranks())
    path = tmp_path / file
    training = {"trainer": trainer.state()} if file == "last.model" else {"settings": {}}
    checkpoints.save(path, network, training)
    loaded = load_single("lr_asd", path)
    expected = network.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in loaded.state_dict().items())
    assert checkpoints.load(path)["network"] == "lr_asd"
    assert [one.name for one in tmp_path.iterdir()] == [file]


def test_weights_in_half_precision(tmp_path: Path) -> None:
    state = {"weight": torch.rand(3, 2).T, "seen": torch.tensor([7])}
    checkpoints.write_halves(state, tmp_path / "w.safetensors")
    found = load_file(tmp_path / "w.safetensors")
    assert found.keys() == state.keys()
    assert torch.equal(found["weight"], state["weight"].half())
    assert torch.equal(found["seen"], state["seen"])


def test_a_failed_write_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "last.model"
    network = TinyNetwork()
    checkpoints.save(path, network, {"number": 1})
    with pytest.raises((AttributeError, TypeError, Exception), match="pickle"):
        checkpoints.save(path, network, {"number": lambda: 2})
    assert checkpoints.load(path)["training"] == {"number": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["last.model"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (TrainingOptions(lr=0.5), r"trained with --lr 0\.01, found 0\.5; resume with the same"),
        (TrainingOptions(batch_size=9), r"trained with --batchSize 500, found 9"),
        (TrainingOptions(freeze="audio.*"), r"trained with --freeze '', found 'audio\.\*'"),
        (TrainingOptions(contrast=0.3), r"trained with --contrast 0\.0, found 0\.3"),
        (TrainingOptions(seed=4), r"trained with --seed 0, found 4"),
        (TrainingOptions(precision="bf16"), r"trained with --precision 'fp32', found 'bf16'"),
    ],
    ids=["lr", "batch", "freeze", "contrast", "seed", "precision"],
)
def test_other_settings_are_refused(tmp_path: Path, changed: TrainingOptions, message: str) -> None:
    run = made_run(tmp_path, TrainingOptions())
    run._save_last()
    with pytest.raises(ValueError, match=message):
        made_run(tmp_path, changed).resume()


def test_a_switch_that_came_later_counts_as_off(tmp_path: Path) -> None:
    saved = {"--lr": 0.1, "--removed": False}
    checkpoints.check_settings(tmp_path, saved, {"--lr": 0.1, "--added": False})
    with pytest.raises(ValueError, match="trained with --added False, found True"):
        checkpoints.check_settings(tmp_path, saved, {"--lr": 0.1, "--added": True})


def test_more_epochs_are_no_other_setting(tmp_path: Path) -> None:
    made_run(tmp_path, TrainingOptions())._save_last()
    assert made_run(tmp_path, TrainingOptions(max_epoch=9, test_interval=3)).resume()
    assert not made_run(tmp_path / "elsewhere", TrainingOptions()).resume()


def test_another_networks_run_is_refused(tmp_path: Path) -> None:
    made_run(tmp_path, TrainingOptions())._save_last()
    trainer = make_trainer(LRASD(), TrainingOptions(), Ranks())
    settings = describe_settings(trainer, TrainingOptions(), "fresh", {})
    with pytest.raises(ValueError, match=r"trained with --model 'made_training', found 'lr_asd'"):
        Run(trainer, RunOptions(tmp_path), settings).resume()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"not a checkpoint", "damaged or another file"), (b"", "damaged or another file")],
    ids=["text", "empty"],
)
def test_damage(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "last.model"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"last\.model, found a {message}; remove it"):
        checkpoints.load(path)


def test_a_cut_file_and_weights_alone(tmp_path: Path) -> None:
    path = tmp_path / "last.model"
    network = TinyNetwork()
    checkpoints.save(path, network, {})
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match="damaged or another file"):
        checkpoints.load(path)
    torch.save(network.state_dict(), path)
    with pytest.raises(ValueError, match=r"found weights alone; start from them with --pretrain"):
        checkpoints.load(path)
