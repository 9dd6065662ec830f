"""A resumed run continues the same table."""

from pathlib import Path

import pytest

from model.training.run_logs import EpochRow, is_past_best, write_table


def test_a_value_that_a_row_lacks_leaves_its_field_empty(tmp_path: Path) -> None:
    rows = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25, "iou": 0.75}]
    write_table(tmp_path / "log.csv", ["step", "loss", "iou"], rows)
    assert (tmp_path / "log.csv").read_text() == "step,loss,iou\n1,0.5,\n2,0.25,0.75\n"


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
