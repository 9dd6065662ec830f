"""ava_asd is evaluated as by its authors, with weights of PyTorch and Keras."""

import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoints import training as checkpoints
from model.contract import Model
from model.evaluation.window_evaluation import (
    Truth,
    carry_over,
    measure_legacy,
    measure_windows,
    report,
    score_windows,
    truth_of,
)
from model.evaluation.window_weights import (
    COLUMNS,
    evaluate_folder,
    load_any,
    natural_order,
    weights_of,
)
from model.networks.ava_asd import AvaASD
from tests.made_windows import make_windows
from utils.datasets.ava.window_extract import ExtractOptions, extract
from utils.datasets.ava.window_loader import WindowChoice, WindowSet
from utils.datasets.ava.windows import WindowOptions, read_rows
from utils.metrics.ava_asd import keras_precision_area, keras_roc_area
from utils.metrics.average_precision import FaceRows, read_truth

SIZE, LENGTH = 18, 2
OPTIONS = ExtractOptions(size=SIZE)
CUT = WindowOptions(length=LENGTH, stride=1)
CHOICE = WindowChoice(batch_size=16)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[WindowSet, FaceRows]:
    """Return the windows of one of two videos, and the rows of both."""
    folder = tmp_path_factory.mktemp("made")
    table = make_windows(folder / "videos", ["one", "two"], duration_s=5)
    labels = read_rows([table])
    files = {"one": folder / "videos" / "one.mp4"}
    assert extract(folder / "store", labels[:1], files, OPTIONS, CUT) == []
    return WindowSet(folder / "store", labels[:1], OPTIONS, CUT), read_truth(table)


def fresh(mode: str, seed: int = 0) -> AvaASD:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = AvaASD(mode, num_frames=LENGTH, size=SIZE)
    network.variant = {"mode": mode, "num_frames": LENGTH, "size": SIZE}
    return network


def test_measures(made: tuple[WindowSet, FaceRows], caplog: pytest.LogCaptureFixture) -> None:
    windows, rows = made
    truth = truth_of(windows, rows)  # the second video has no windows: its rows score 0
    assert "1 videos have no windows and score 0: two .." in caplog.text
    perfect = np.where(windows.speaking, 0.9, 0.1)
    found = measure_windows({"main": perfect}, windows, truth)
    assert found["main_accuracy"] == found["main_map"] == found["main_auc"] == 1.0
    assert found["main_ap_sp"] == 1.0 and 0 < found["main_ap_ns"] < 0.9
    assert 0.3 < found["orig_main_map"] < 0.9
    text = report({"main": perfect}, windows)
    assert "[1.0, 0.0]" in text and "[0.0, 1.0]" in text


@pytest.mark.parametrize("mode", ["s_av", "s_av_fc", "s_a"])
def test_the_legacy_measures(made: tuple[WindowSet, FaceRows], mode: str) -> None:
    """Losses are those that the network is trained with; areas are tested with the metrics."""
    windows, network = made[0], fresh(mode)
    scores = score_windows(network, windows, CHOICE)
    found = measure_legacy(network, scores, windows)
    heads = ["audio", "video", "main"] if mode != "s_a" else ["main"]
    kinds = ("loss", "accuracy", "roc_auc", "pr_auc")
    assert set(found) == {"total_loss", *(f"{head}_{kind}" for head in heads for kind in kinds)}
    labels = torch.from_numpy(windows.speaking.astype(np.int64))
    audio, faces = (
        torch.stack([torch.from_numpy(windows.read(index)[part]) for index in range(len(windows))])
        for part in (0, 1)
    )
    with torch.inference_mode():
        logits = network.eval()(audio, faces)
    total = 0.0
    weight = {"s_av": 0.4, "s_av_fc": 1.0, "s_a": 0.0}[mode]
    for head, output in zip(heads[::-1], (logits.av, logits.visual, logits.audio), strict=False):
        assert output is not None
        loss = float(torch.nn.functional.cross_entropy(output[:, 0], labels))
        assert found[f"{head}_loss"] == pytest.approx(loss, abs=1e-5)
        right = float((output[:, 0].argmax(1) == labels).double().mean())
        assert found[f"{head}_accuracy"] == pytest.approx(right)
        assert found[f"{head}_roc_auc"] == keras_roc_area(windows.speaking, scores[head])
        assert found[f"{head}_pr_auc"] == keras_precision_area(windows.speaking, scores[head])
        total += loss * (1.0 if head == "main" else weight)
    kernels = [value for name, value in network.named_parameters() if value.ndim > 2]
    if mode != "s_a":
        total += 1e-4 * sum(float(kernel.detach().square().sum()) for kernel in kernels)
    assert found["total_loss"] == pytest.approx(total, rel=1e-5)


def test_rows_take_the_nearest_window(made: tuple[WindowSet, FaceRows]) -> None:
    windows, rows = made
    truth = truth_of(windows, rows)
    assert len(truth.speaking) == len(rows)
    likely = carry_over(np.linspace(0.2, 0.8, len(windows)), windows, truth)
    second = np.array([rows.entities[one][0] == "two" for one in rows.entity])
    assert (likely[second] == 0).all() and (likely[~second] >= 0.2).all()
    at = int(windows.faces[7]), windows.stops_s[7]
    (row,) = np.flatnonzero((truth.faces == at[0]) & (np.abs(truth.timestamps - at[1]) < 1e-6))
    assert likely[row] == pytest.approx(np.linspace(0.2, 0.8, len(windows))[7])


def test_chosen_windows_and_bf16(made: tuple[WindowSet, FaceRows]) -> None:
    windows, network = made[0], fresh("s_av")
    whole = score_windows(network, windows, CHOICE)
    assert sorted(whole) == ["audio", "main", "video"]
    assert all(len(likely) == len(windows) for likely in whole.values())
    some = score_windows(network, windows, CHOICE, np.array([4, 2]))
    np.testing.assert_allclose(some["main"], whole["main"][[4, 2]], atol=1e-6)
    rough = score_windows(network, windows, CHOICE, None, "bf16")
    np.testing.assert_allclose(rough["main"], whole["main"], atol=0.02)


def table_of(folder: Path, windows: WindowSet, truth: Truth, to: Path) -> Sequence[str]:
    load = partial(load_any, "ava_asd")

    def measure(network: Model) -> dict[str, float]:
        assert isinstance(network, AvaASD)
        return measure_windows(score_windows(network, windows, CHOICE), windows, truth)

    return list(evaluate_folder(weights_of(folder), load, measure, to))


def test_a_folder_of_weights(
    made: tuple[WindowSet, FaceRows], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    windows, truth = made[0], truth_of(*made)
    for epoch in (1, 10, 2):
        checkpoints.save(tmp_path / f"w-{epoch}.model", fresh("s_a", epoch), {})
    checkpoints.save(tmp_path / "w-3.model", fresh("s_av_fc"), {})
    (tmp_path / "w-4.hdf5").write_text("something else")
    table = tmp_path / "results.csv"
    names = ["w-1.model", "w-2.model", "w-3.model", "w-10.model"]
    assert table_of(tmp_path, windows, truth, table) == names
    assert "skipping w-4.hdf5" in caplog.text
    with table.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["weights"] for row in found] == names and tuple(found[0]) == COLUMNS
    assert [row["video_map"] == "" for row in found] == [True, True, False, True]
    network = load_any("ava_asd", tmp_path / "w-2.model")
    assert isinstance(network, AvaASD)
    again = measure_windows(score_windows(network, windows, CHOICE), windows, truth)
    assert float(found[1]["main_auc"]) == pytest.approx(again["main_auc"])
    assert 0 < float(found[1]["orig_main_map"]) == pytest.approx(again["orig_main_map"])


def test_folders_without_fitting_weights(made: tuple[WindowSet, FaceRows], tmp_path: Path) -> None:
    truth = truth_of(*made)
    with pytest.raises(FileNotFoundError, match=r"expected weights \*\.hdf5.* found none"):
        table_of(tmp_path, made[0], truth, tmp_path / "t.csv")
    torch.save({"some.weight": torch.zeros(3)}, tmp_path / "w.model")
    with pytest.raises(ValueError, match=r"none of the 1 files in .* fits the network"):
        table_of(tmp_path, made[0], truth, tmp_path / "t.csv")


def test_natural_order() -> None:
    names = ["a10", "a9.h5", "a1", "b2-3", "b2-20"]
    found = sorted((Path(name) for name in names), key=natural_order)
    assert [path.name for path in found] == ["a1", "a9.h5", "a10", "b2-3", "b2-20"]
