"""The evaluation of a folder gives the official numbers, tables and plot."""

import csv
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.parity.references import reference
from utils.arrays.speech_positions import Heard, read_heard, write_heard
from utils.datasets.tragic_talkers.evaluation import compare_all, evaluate, write_evaluation
from utils.datasets.tragic_talkers.labels import ViewTruth, write_truth
from utils.datasets.tragic_talkers.layout import CameraView, TragicTalkers
from utils.metrics.localisation import COLUMNS

MADE = reference("tragic_metrics")
NAMES = sorted(key.removesuffix(".gt_x") for key in MADE if key.endswith(".gt_x"))


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> TragicTalkers:
    """Write the reference data in the published layout, with a forward table."""
    root = tmp_path_factory.mktemp("data")
    (root / "TragicTalkers").mkdir()
    found = TragicTalkers(root)
    heard = {}
    for name in NAMES:
        truth = ViewTruth(
            MADE[f"{name}.gt_x"].astype(float), MADE[f"{name}.gt_speaking"].astype(bool)
        )
        write_truth(truth, found.truth_path(CameraView.parse(name)))
        heard[name] = Heard(MADE[f"{name}.pred_x"], MADE[f"{name}.pred_conf"])
    write_heard(heard, root / "test_forward.csv")
    return found


@pytest.mark.parametrize("tolerance", [89, 222])
def test_official_numbers(layout: TragicTalkers, tolerance: int, tmp_path: Path) -> None:
    expected = json.loads(str(MADE["results_json"]))[str(tolerance)]
    frames = compare_all(layout, read_heard(layout.root / "test_forward.csv"))
    found = evaluate(frames, tolerance)
    assert list(found.groups)[:2] == ["conversation1_t3/01", "conversation1_t3/02"]
    assert len(found.groups) == 10
    # The table's values are read as float32.
    assert found.errors.distance == pytest.approx(expected["aD_pixels"], abs=1e-3)
    assert found.errors.detection == pytest.approx(expected["detection_error_percent"], abs=1e-5)
    assert found.ap == pytest.approx(expected["AP"], abs=1e-4)
    assert found.f1 == pytest.approx(expected["F1"], abs=1e-4)
    assert f"F1 {expected['F1']:.4f}" in found.describe()
    table, groups, plot = write_evaluation(found, tmp_path)
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0]) == COLUMNS
    np.testing.assert_array_equal(np.array(rows[1:], float), found.matrix)
    with groups.open("rb") as binary:
        kept = pickle.load(binary)
    np.testing.assert_array_equal(sum(part[:, 1:4] for part in kept.values()), found.matrix[:, 1:4])
    assert plot.name == f"precision_recall_{tolerance}_sigmoid.png"
    assert plot.stat().st_size > 5000


def test_invalid_input(layout: TragicTalkers) -> None:
    short = Heard(np.zeros(5, np.float32), np.zeros(5, np.float32))
    with pytest.raises(ValueError, match=f"{NAMES[0]}: expected 1045 frames .* found 5"):
        compare_all(layout, {NAMES[0]: short})
    with pytest.raises(FileNotFoundError, match="conversation1_t3-cam02_GT"):
        compare_all(layout, {"conversation1_t3-cam02": short})
    with pytest.raises(ValueError, match="views to evaluate"):
        evaluate({})
    with pytest.raises(ValueError, match="--tolerance"):
        evaluate(compare_all(layout, read_heard(layout.root / "test_forward.csv")), 0)
