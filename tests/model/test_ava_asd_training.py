"""ava_asd learns windows as its authors train it, resumes exactly, and is measured as they do."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from model import checkpoints
from model.ava_asd_evaluation import (
    COLUMNS,
    evaluate_folder,
    load_any,
    measure_windows,
    natural_order,
    report,
    score_windows,
    truth_of,
)
from model.ava_asd_training import WindowTraining, train_windows
from model.networks.ava_asd import MODES, AvaASD
from model.ranks import Ranks
from model.runs import Hooks
from model.training import Trainer
from tests.made_windows import make_windows
from utils.datasets.ava_asd_extract import ExtractOptions, extract
from utils.datasets.ava_asd_loading import WindowChoice, WindowLoader, WindowSet
from utils.datasets.ava_asd_windows import VideoRows, WindowOptions, read_rows
from utils.training_settings import RunOptions, TrainingOptions

SIZE, LENGTH = 18, 2
OPTIONS = ExtractOptions(size=SIZE)
CUT = WindowOptions(length=LENGTH, stride=1)
CHOICE = WindowChoice(batch_size=16)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[VideoRows]]:
    folder = tmp_path_factory.mktemp("made")
    table = make_windows(folder / "videos", ["one", "two"])
    labels = read_rows([table])
    files = {name: folder / "videos" / f"{name}.mp4" for name in ("one", "two")}
    assert extract(folder / "store", labels, files, OPTIONS, CUT) == []
    return folder / "store", labels


def windows_of(rows: tuple[Path, list[VideoRows]], video: int) -> WindowSet:
    return WindowSet(rows[0], [rows[1][video]], OPTIONS, CUT)


def settings(folder: Path, max_epoch: int, lr: float = 0.01) -> WindowTraining:
    training = TrainingOptions(lr, max_epoch=max_epoch, test_interval=99, precision="fp32")
    return WindowTraining(training, RunOptions(folder), CHOICE, val_share=0.9)


def fresh(mode: str, seed: int = 0) -> AvaASD:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return AvaASD(mode, num_frames=LENGTH, size=SIZE)


@pytest.mark.parametrize(
    "mode", ["s_av", *(pytest.param(mode, marks=pytest.mark.slow) for mode in MODES[1:])]
)
def test_every_mode_learns(rows: tuple[Path, list[VideoRows]], tmp_path: Path, mode: str) -> None:
    network = fresh(mode)
    windows, validation = windows_of(rows, 0), windows_of(rows, 1)
    # SGD needs larger faces and more time.
    network.recipe = dataclasses.replace(network.recipe, optimiser="adam")
    how = settings(tmp_path, max_epoch=4, lr=3e-4)
    run = train_windows(network, windows, validation, how, Ranks(), Hooks())
    assert run.rows[-1].loss < run.rows[0].loss
    scores = score_windows(network, validation, CHOICE)
    found = measure_windows(scores, validation, truth_of(validation, [rows[1][1]]))
    chance = float(validation.speaking.mean())
    assert found["main_map"] > chance + 0.15
    assert found["orig_main_map"] > chance + 0.15
    assert (tmp_path / "model/best.model").is_file() and (tmp_path / "log.csv").is_file()


def test_training_resumes_exactly(rows: tuple[Path, list[VideoRows]], tmp_path: Path) -> None:
    windows = windows_of(rows, 0)
    whole = fresh("s_a")
    how = settings(tmp_path / "whole", max_epoch=2)
    train_windows(whole, windows, None, how, Ranks(), Hooks())
    resumed = fresh("s_a")
    how = dataclasses.replace(how, run=RunOptions(tmp_path / "parts"))
    for stop_after in (2, 3, 99):
        steps = iter(range(stop_after, -1, -1))
        network = fresh("s_a", seed=1) if stop_after > 2 else resumed
        hooks = Hooks(stop=lambda steps=steps: next(steps) == 1)
        run = train_windows(network, windows, None, how, Ranks(), hooks)
    assert run.trainer.position.epoch == 3
    for name, tensor in whole.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name


def test_a_step_is_the_authors(rows: tuple[Path, list[VideoRows]]) -> None:
    windows = windows_of(rows, 0)
    network, plain = fresh("s_av").eval(), fresh("s_av").eval()
    assert network.recipe.update_decay == 1e-6
    network.recipe = dataclasses.replace(network.recipe, update_decay=0.5)
    trainer = Trainer(network, TrainingOptions(precision="fp32"), Ranks())
    trainer.objective.eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    velocity = {name: torch.zeros_like(one) for name, one in plain.named_parameters()}
    batches = list(WindowLoader(windows, CHOICE).epoch(1))[:2]
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


def test_measures(rows: tuple[Path, list[VideoRows]]) -> None:
    windows = windows_of(rows, 0)
    truth = truth_of(windows, rows[1])  # the second video has no windows: its rows score 0
    perfect = np.where(windows.speaking, 0.9, 0.1)
    found = measure_windows({"main": perfect}, windows, truth)
    assert found["main_accuracy"] == found["main_map"] == found["main_auc"] == 1.0
    assert found["main_ap_sp"] == 1.0 and 0 < found["main_ap_ns"] < 0.9
    assert 0.3 < found["orig_main_map"] < 0.9
    text = report({"main": perfect}, windows)
    assert "[1.0, 0.0]" in text and "[0.0, 1.0]" in text


def test_chosen_windows_and_bf16(rows: tuple[Path, list[VideoRows]]) -> None:
    windows, network = windows_of(rows, 0), fresh("s_av")
    whole = score_windows(network, windows, CHOICE)
    assert sorted(whole) == ["audio", "main", "video"]
    assert all(len(likely) == len(windows) for likely in whole.values())
    some = score_windows(network, windows, CHOICE, np.array([4, 2]))
    np.testing.assert_allclose(some["main"], whole["main"][[4, 2]], atol=1e-6)
    rough = score_windows(network, windows, CHOICE, None, "bf16")
    np.testing.assert_allclose(rough["main"], whole["main"], atol=0.02)


def test_a_folder_of_weights(rows: tuple[Path, list[VideoRows]], tmp_path: Path) -> None:
    windows = windows_of(rows, 0)
    truth = truth_of(windows, rows[1])
    for epoch in (1, 10, 2):
        checkpoints.save(tmp_path / f"w-{epoch}.model", fresh("s_a", epoch), {})
    checkpoints.save(tmp_path / "w-3.model", fresh("s_v"), {})
    table = tmp_path / "results.csv"
    count = evaluate_folder(
        tmp_path,
        fresh("s_a"),
        lambda network: measure_windows(score_windows(network, windows, CHOICE), windows, truth),
        table,
    )
    assert count == 3
    with table.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["weights"] for row in found] == ["w-1.model", "w-2.model", "w-10.model"]
    assert tuple(found[0]) == COLUMNS
    assert found[0]["video_map"] == "" and 0 < float(found[0]["orig_main_map"]) <= 1
    network = fresh("s_a", 5)
    load_any(tmp_path / "w-2.model", network)
    again = measure_windows(score_windows(network, windows, CHOICE), windows, truth)
    assert float(found[1]["main_auc"]) == pytest.approx(again["main_auc"])


def test_folders_without_fitting_weights(tmp_path: Path) -> None:
    network = AvaASD("s_a", num_frames=1, size=9)
    with pytest.raises(FileNotFoundError, match=r"expected weights \*\.hdf5.* found none"):
        evaluate_folder(tmp_path, network, lambda _: {}, tmp_path / "t.csv")
    checkpoints.save(tmp_path / "w.model", AvaASD("s_v", num_frames=1, size=9), {})
    with pytest.raises(ValueError, match="none of the 1 files"):
        evaluate_folder(tmp_path, network, lambda _: {}, tmp_path / "t.csv")


def test_natural_order() -> None:
    names = ["a10", "a9.h5", "a1", "b2-3", "b2-20"]
    found = sorted((Path(name) for name in names), key=natural_order)
    assert [path.name for path in found] == ["a1", "a9.h5", "a10", "b2-3", "b2-20"]
