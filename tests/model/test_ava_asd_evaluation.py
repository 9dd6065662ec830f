"""ava_asd is measured as its authors measure it; weights are read whatever kept them."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from model import checkpoints
from model.ava_asd_evaluation import (
    COLUMNS,
    Truth,
    carry_over,
    evaluate_folder,
    load_any,
    measure_windows,
    natural_order,
    report,
    score_windows,
    truth_of,
    weights_of,
)
from model.networks.ava_asd import AvaASD
from tests.made_windows import make_windows
from utils.datasets.ava_asd_extract import ExtractOptions, extract
from utils.datasets.ava_asd_loading import WindowChoice, WindowSet
from utils.datasets.ava_asd_windows import WindowOptions, read_rows
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
    def measure(network: AvaASD) -> dict[str, float]:
        return measure_windows(score_windows(network, windows, CHOICE), windows, truth)

    return list(evaluate_folder(weights_of(folder), load_any, measure, to))


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
    assert "w-4.hdf5 is passed over" in caplog.text
    with table.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["weights"] for row in found] == names and tuple(found[0]) == COLUMNS
    assert [row["video_map"] == "" for row in found] == [True, True, False, True]
    network = load_any(tmp_path / "w-2.model")
    again = measure_windows(score_windows(network, windows, CHOICE), windows, truth)
    assert float(found[1]["main_auc"]) == pytest.approx(again["main_auc"])
    assert 0 < float(found[1]["orig_main_map"]) == pytest.approx(again["orig_main_map"])


def test_folders_without_fitting_weights(made: tuple[WindowSet, FaceRows], tmp_path: Path) -> None:
    truth = truth_of(*made)
    with pytest.raises(FileNotFoundError, match=r"expected weights \*\.hdf5.* found none"):
        table_of(tmp_path, made[0], truth, tmp_path / "t.csv")
    torch.save({"some.weight": torch.zeros(3)}, tmp_path / "w.model")
    with pytest.raises(ValueError, match=r"none of the 1 files in .* is ava_asd's"):
        table_of(tmp_path, made[0], truth, tmp_path / "t.csv")


def test_natural_order() -> None:
    names = ["a10", "a9.h5", "a1", "b2-3", "b2-20"]
    found = sorted((Path(name) for name in names), key=natural_order)
    assert [path.name for path in found] == ["a1", "a9.h5", "a10", "b2-3", "b2-20"]
