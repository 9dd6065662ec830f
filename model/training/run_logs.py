"""Logs of the epochs of a run: a CSV table, score.txt, TensorBoard."""

import csv
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from utils.files import replacing

logger = logging.getLogger(__name__)


class Evaluated(NamedTuple):
    """Result of an evaluation between epochs; values that are not measured are None."""

    ap: float | None = None  # average precision in [0, 1]
    loss: float | None = None
    measures: Mapping[str, float] = MappingProxyType({})  # any others, by name


@dataclass(frozen=True)
class EpochRow:
    """Log entry of an epoch."""

    epoch: int
    lr: float
    loss: float  # mean per labelled frame
    accuracy: float  # on the training frames, in [0, 1]
    ap: float | None  # average precision of the evaluation split, in [0, 1]; None if not evaluated
    frames: int
    seconds: float
    val_loss: float | None = None  # mean over the evaluation split, if measured
    measures: Mapping[str, float] = field(default_factory=dict)  # any others of the evaluation

    def describe(self) -> str:
        """Return the row as a line of the log."""
        results = "" if self.ap is None else f", AP {self.ap:.2%}"
        results += "" if self.val_loss is None else f", validation loss {self.val_loss:.4f}"
        return (
            f"epoch {self.epoch}: loss {self.loss:.4f}, accuracy {self.accuracy:.2%}{results}, "
            f"{self.frames / max(self.seconds, 1e-9):.0f} frames/s"
        )


def best_row(rows: Sequence[EpochRow]) -> EpochRow | None:
    """Return the first row with the highest average precision; None if none was evaluated."""
    evaluated = [row for row in rows if row.ap is not None]
    return max(evaluated, key=lambda row: row.ap or 0.0, default=None)


def is_past_best(rows: Sequence[EpochRow], patience: int) -> bool:
    """Return whether the last `patience` evaluations have not lowered the validation loss."""
    losses = [row.val_loss for row in rows if row.val_loss is not None]
    lowest = min(range(len(losses)), key=losses.__getitem__, default=0)
    return len(losses) - 1 - lowest >= patience


def write_logs(folder: Path, rows: Sequence[EpochRow]) -> None:
    """Rewrite log.csv and score.txt, so that they always match the checkpoint."""
    names = [column.name for column in fields(EpochRow) if column.name != "measures"]
    write_table(folder / "log.csv", names, [asdict(row) for row in rows])
    lines = []
    for number, row in enumerate(rows, start=1):
        best = best_row(rows[:number])
        if row.ap is not None and best is not None:
            lines.append(
                f"{row.epoch} epoch, LR {row.lr:f}, LOSS {row.loss:f}, "
                f"mAP {100 * row.ap:2.2f}%, bestmAP {100 * (best.ap or 0.0):2.2f}%\n"
            )
    with replacing(folder / "score.txt") as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def write_table(path: Path, names: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV table with these columns; missing values stay empty."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


class Board:
    """Writes epochs for TensorBoard; if it is not installed, logs that once and does nothing."""

    def __init__(self, folder: Path, first_epoch: int) -> None:
        """Open the log; entries of an earlier run from `first_epoch` on are hidden."""
        self.writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            logger.info("no TensorBoard log: `pip install tensorboard` enables it")
            return
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first_epoch)

    def add(self, row: EpochRow) -> None:
        """Add an epoch."""
        if self.writer is None:
            return
        values = asdict(row)
        for name, value in (values | values.pop("measures")).items():
            if name != "epoch" and value is not None:
                self.writer.add_scalar(name, value, row.epoch)
        self.writer.flush()

    def close(self) -> None:
        """Finish the log."""
        if self.writer is not None:
            self.writer.close()
