"""What a run tells of itself goes on in the same table."""

from pathlib import Path

import pytest

from model.training.run_logs import EpochRow, is_past_best, put_row, write_table


def test_a_value_that_a_row_lacks_leaves_its_field_empty(tmp_path: Path) -> None:
    rows = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25, "iou": 0.75}]
    write_table(tmp_path / "log.csv", ["step", "loss", "iou"], rows)
    assert (tmp_path / "log.csv").read_text() == "step,loss,iou\n1,0.5,\n2,0.25,0.75\n"


def test_rows_are_added_under_one_head(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    put_row(path, ["step", "loss", "iou"], {"step": 1, "loss": 0.5})
    put_row(path, ["step", "loss", "iou"], {"step": 2, "loss": 0.25, "iou": 0.75})
    assert path.read_text() == "step,loss,iou\n1,0.5,\n2,0.25,0.75\n"


def test_a_step_that_is_taken_again_has_one_row(tmp_path: Path) -> None:
    path, names, keys = tmp_path / "log.csv", ["stage", "step", "loss"], ("stage", "step")
    put_row(path, names, {"stage": "see", "step": 1, "loss": 0.5}, keys)
    put_row(path, names, {"stage": "judge", "step": 1, "loss": 0.25}, keys)
    put_row(path, names, {"stage": "judge", "step": 1, "loss": 0.125}, keys)
    assert path.read_text() == "stage,step,loss\nsee,1,0.5\njudge,1,0.125\n"


def test_a_row_that_was_broken_off_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("step,loss\r\n1,0.5\r\n2,0.")
    put_row(path, ["step", "loss"], {"step": 2, "loss": 0.25})
    assert path.read_text() == "step,loss\n1,0.5\n2,0.25\n"


@pytest.mark.parametrize(
    ("losses", "past"),
    [
        ([], False),
        ([3.0, 4.0, 4.0], False),
        ([3.0, 4.0, 4.0, 3.0], True),
        ([3.0, 4.0, None, 4.0], False),
        ([3.0, 4.0, None, 4.0, 3.5], True),
        ([3.0, 4.0, 4.0, 2.9, 3.0, 3.0], False),
    ],
    ids=["none", "two", "three, one as low", "not measured", "three measured", "lower"],
)
def test_training_is_past_its_best(losses: list[float | None], past: bool) -> None:
    rows = [EpochRow(n, 0.1, 1.0, 0.5, None, 1, 1.0, loss) for n, loss in enumerate(losses, 1)]
    assert is_past_best(rows, 3) == past
