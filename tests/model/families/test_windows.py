"""The command makes ava_asd's windows of AVA, learns them, resumes exactly, and measures."""

import csv
import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn import functional

import trainTalkNet
from model.checkpoints import training as checkpoints
from model.checkpoints.keras import MODES
from model.evaluation.window_evaluation import measure_share
from model.evaluation.window_weights import COLUMNS
from model.networks.ava_asd import AvaASD
from model.ranks import Ranks
from model.training.network_trainer import make_trainer
from model.training.run import Hooks, Run
from tests.made_windows import make_windows
from utils.datasets.ava.window_extract import ExtractOptions, extract
from utils.datasets.ava.window_loader import WindowChoice, WindowLoader, WindowSet
from utils.datasets.ava.windows import WindowOptions, read_rows
from utils.metrics.average_precision import average_precision, join, read_predictions, read_truth
from utils.training_options import RunOptions, TrainingOptions

SIZE, LENGTH = 18, 2
CHOICE = WindowChoice(batch_size=16)


@pytest.fixture(scope="module")
def ava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return AVA with one movie of each split and another that is gone."""
    root = tmp_path_factory.mktemp("AVA")
    (root / "csv").mkdir()
    for split in ("train", "val"):
        table = make_windows(root / "orig_videos" / "trainval", [split])
        gone = table.read_text().splitlines()[0].replace("train,", "gone,").replace("val,", "gone,")
        target = root / "csv" / f"{split}_orig.csv"
        target.write_text(table.read_text() + (gone + "\n" if split == "val" else ""))
        table.unlink()
    return root


def windows_of(ava: Path, split: str) -> WindowSet:
    options, cut = ExtractOptions(size=SIZE), WindowOptions(length=LENGTH, stride=1)
    rows = read_rows([ava / "csv" / f"{split}_orig.csv"])[:1]
    files = {split: ava / "orig_videos" / "trainval" / f"{split}.mp4"}
    assert extract(ava / "small" / split, rows, files, options, cut) == []
    return WindowSet(ava / "small" / split, rows, options, cut)


def fresh(mode: str, seed: int = 0) -> AvaASD:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return AvaASD(mode, num_frames=LENGTH, size=SIZE)


def arguments(ava: Path, save: Path, *more: str) -> list[str]:
    small = ["--windowStride", "1", "--windowPath", str(ava / "small"), "--numProcesses", "1"]
    quick = ["--nDataLoaderThread", "0", "--device", "cpu", "--judgedShare", "0.9"]
    where = ["--model", "ava_asd", "--dataPathAVA", str(ava), "--savePath", str(save)]
    return [*where, *small, *quick, *more]


def test_train_resume_and_evaluate(
    ava: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    variant = ["--variant", f"mode=s_a,num_frames={LENGTH},size={SIZE}", "--keepAll"]
    halves, whole = tmp_path / "halves", tmp_path / "whole"
    for save, epochs in ((halves, 1), (halves, 2), (whole, 2)):
        given = arguments(ava, save, *variant, "--maxEpoch", str(epochs))
        assert trainTalkNet.main(given) == 0
    assert "video gone: found no video gone.*" in caplog.text
    first, second = (checkpoints.load(path / "model" / "last.model") for path in (halves, whole))
    for name, tensor in second["state_dict"].items():
        assert torch.equal(first["state_dict"][name], tensor), name
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"best mAP .* of windows in epoch [12]: .*best\.model", lines[-1])
    assert trainTalkNet.main([*given, "--minFace", "10"]) == 1
    assert "was trained with --minFace 0, found 10" in caplog.text

    judged = tmp_path / "judged"
    best = str(whole / "model" / "best.model")
    assert trainTalkNet.main(arguments(ava, judged, "--evaluation", "--pretrainModel", best)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("main: ") and lines[-1].startswith("mAP ")
    predictions = read_predictions(judged / "val_res.csv")
    truth = read_truth(ava / "csv" / "val_orig.csv")
    ap = average_precision(*join(truth, predictions))
    assert lines[-1] == f"mAP {ap:.2%}"
    assert predictions.values[-1] == 0  # of the movie that is gone

    legacy = ["--evaluation", "--legacy", "--pretrainModel"]
    assert trainTalkNet.main(arguments(ava, judged, *legacy, best)) == 0
    measured = dict(line.split() for line in capsys.readouterr().out.splitlines())
    names = ["total_loss", "main_loss", "main_accuracy", "main_roc_auc", "main_pr_auc"]
    assert list(measured) == names
    assert measured["total_loss"] == measured["main_loss"]  # one tower alone has no penalty
    assert all(re.fullmatch(r"\d\.\d{4}", value) for value in measured.values())
    assert trainTalkNet.main(arguments(ava, judged, *legacy, str(whole / "model"))) == 1
    assert "--legacy evaluates one file of weights" in caplog.text

    shutil.copy(best, whole / "model" / "model_0010.model")
    weights = ["--evaluation", "--pretrainModel", str(whole / "model")]
    assert trainTalkNet.main(arguments(ava, judged, *weights)) == 0
    assert "5 weights: " in capsys.readouterr().out
    with (judged / "evaluation-results.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    names = ["best", "last", "model_0001", "model_0002", "model_0010"]
    assert [row["weights"] for row in found] == [f"{name}.model" for name in names]
    assert tuple(found[0]) == COLUMNS
    assert float(found[0]["orig_main_map"]) == pytest.approx(ap)


@pytest.mark.slow
def test_early_stopping(
    ava: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Where nothing is learnt, training ends two epochs after the lowest loss."""
    caplog.set_level("INFO")
    variant = ["--variant", f"mode=s_a,num_frames={LENGTH},size={SIZE}", "--lr", "1e-12"]
    given = arguments(ava, tmp_path, *variant, "--maxEpoch", "30", "--earlyStopping")
    assert trainTalkNet.main([*given, "--patience", "2"]) == 0
    assert re.fullmatch(r"best mAP .* of windows in epoch .*\n", capsys.readouterr().out)
    with (tmp_path / "log.csv").open(newline="") as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file)]
    assert len(losses) < 30 and losses.index(min(losses)) == len(losses) - 3
    assert "the loss has not decreased for 2 evaluations: training ends" in caplog.text
    assert trainTalkNet.main([*given, "--patience", "1"]) == 0  # may change, and ends at once
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 1 + len(losses)


def test_windows_are_made_once_and_refused_otherwise(
    ava: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    variant = ["--variant", f"mode=s_a,num_frames={LENGTH},size={SIZE}", "--maxEpoch", "1"]
    given = arguments(ava, tmp_path / "a", *variant)
    assert trainTalkNet.main(given) == 0
    files = {path: path.stat().st_mtime_ns for path in (ava / "small").glob("*/faces/*/*.face")}
    assert files
    assert trainTalkNet.main(arguments(ava, tmp_path / "b", *variant)) == 0
    for path, time in files.items():
        assert path.stat().st_mtime_ns == time
    assert trainTalkNet.main(arguments(ava, tmp_path / "c", *variant, "--loseRows")) == 1
    expected = "expected late_pictures False, lose_rows False, own_rates False"
    assert expected in caplog.text and "another --windowPath" in caplog.text
    again = ["--original", "--windowPath", str(tmp_path / "original")]
    assert trainTalkNet.main(arguments(ava, tmp_path / "c", *variant, *again)) == 0
    with (tmp_path / "original" / "train" / "journal.jsonl").open() as file:
        made = json.loads(file.readline())
    assert made["own_rates"] and made["late_pictures"] and made["lose_rows"]
    nowhere = arguments(tmp_path / "nowhere", tmp_path / "d", *variant)
    assert trainTalkNet.main(nowhere) == 1
    assert "expected the labels of train in" in caplog.text and "--download" in caplog.text
    assert trainTalkNet.main(arguments(ava, tmp_path / "e", "--evaluation")) == 1
    assert "ava_asd_static.hdf5 is missing" in caplog.text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--data", "talkset"], "it goes with --data ava, found talkset"),
        (["--data", "own"], "it goes with --data ava, found own"),
        (["--windows", "1,2"], "--windows is for other networks, not for ava_asd"),
        (["--desync", "0.5"], "--desync is for other networks"),
        (["--forward", "--features", "x"], "--forward is for other networks"),
        (["--windowShare", "0"], "--windowShare must be above 0"),
        (["--legacy"], "--legacy requires --evaluation and --model ava_asd"),
        (["--legacy", "--evaluation", "--model", "talknet"], "--legacy is for --evaluation of ava"),
        (["--earlyStopping", "--evaluation"], "--earlyStopping only applies to training"),
        (["--earlyStopping", "--model", "lr_asd"], "--earlyStopping is for training ava_asd"),
        (["--patience", "0"], "--patience must be at least 1"),
        (["--windowStride", "0"], "--windowStride must be at least 1"),
    ],
)
def test_wrong_flags(given: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        trainTalkNet.main(["--model", "ava_asd", *given])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_learns(ava: Path, tmp_path: Path, mode: str) -> None:
    network = fresh(mode)
    # SGD needs larger faces and more time.
    network.recipe = dataclasses.replace(network.recipe, optimiser="adam", lr=3e-4, max_epoch=4)
    trainer = make_trainer(network, TrainingOptions(test_interval=99, precision="fp32"), Ranks())
    run = Run(trainer, RunOptions(tmp_path), {})
    run.train(WindowLoader(windows_of(ava, "train"), CHOICE), None, Hooks())
    assert run.rows[-1].loss < run.rows[0].loss
    validation = windows_of(ava, "val")
    epoch = trainer.position.epoch
    ap, loss = measure_share(network, validation, CHOICE, Ranks(), 1.0, epoch)
    assert ap > float(validation.speaking.mean()) + 0.15
    assert 0 < loss < 2
    with pytest.raises(ValueError, match="raise --judgedShare"):
        validation.speaking[:] = False
        measure_share(network, validation, CHOICE, Ranks(), 0.1, epoch)


def test_a_step_is_the_authors(ava: Path) -> None:
    network, plain = fresh("s_av").eval(), fresh("s_av").eval()
    assert network.recipe.update_decay == 1e-6
    network.recipe = dataclasses.replace(network.recipe, update_decay=0.5)
    trainer = make_trainer(network, TrainingOptions(precision="fp32"), Ranks())
    trainer.objective.eval()
    velocity = {name: torch.zeros_like(one) for name, one in plain.named_parameters()}
    batches = list(WindowLoader(windows_of(ava, "train"), CHOICE).epoch(1))[:2]
    for update, batch in enumerate(batches):
        logits = plain(batch.audio, batch.faces)
        labels = batch.labels[:, 0].long()
        heads = ((logits.av, 1.0), (logits.audio, 0.4), (logits.visual, 0.4))
        loss = 1e-4 * torch.stack([kernel.square().sum() for kernel in plain.kernels()]).sum()
        for head, weight in heads:
            assert head is not None
            loss = loss + weight * functional.cross_entropy(head[:, 0], labels)
        names, values = zip(*plain.named_parameters(), strict=True)
        rate = 0.01 / (1 + 0.5 * update)
        for name, value, grad in zip(names, values, torch.autograd.grad(loss, values), strict=True):
            velocity[name] = 0.9 * velocity[name] + grad  # Nesterov's momentum
            value.data -= rate * (grad + 0.9 * velocity[name])
        trainer.step(batch)
    for name, value in plain.named_parameters():
        torch.testing.assert_close(network.state_dict()[name], value.data, atol=2e-6, rtol=1e-4)
