"""What a run tells of itself goes on in the same table."""

from pathlib import Path

from model.run_logs import append_row


def test_rows_are_added_under_one_head(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    append_row(path, ["step", "loss", "iou"], {"step": 1, "loss": 0.5})
    append_row(path, ["step", "loss", "iou"], {"step": 2, "loss": 0.25, "iou": 0.75})
    assert path.read_text() == "step,loss,iou\n1,0.5,\n2,0.25,0.75\n"
