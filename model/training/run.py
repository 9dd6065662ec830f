"""A training run from its first to its last epoch, across interruptions."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from model.checkpoints import training as checkpoints
from model.checkpoints.registry import default_checkpoint, registry
from model.checkpoints.training import Settings
from model.ranks import Ranks
from model.training.run_logs import Board, EpochRow, Evaluated, best_row, write_logs
from model.training.trainer import BatchLoader, Trainer
from utils.files import check_folder
from utils.progress import Position, StepBar, stopping
from utils.training_options import RunOptions

logger = logging.getLogger(__name__)


def _never(*_: object) -> bool:
    return False


def _ignore(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Hooks:
    """Callbacks of a run."""

    stop: Callable[[], bool] = _never  # whether to stop after this batch
    on_step: Callable[[Position, int], None] = _ignore  # position; batches of the epoch
    on_epoch: Callable[[EpochRow], None] = _ignore


Evaluate = Callable[[], float | Evaluated]  # a number is the average precision
WriteLogs = Callable[[Path, Sequence[EpochRow]], None]  # given the run's folder


class Run:
    """Trains, evaluates, and writes the results to a folder.

    Args:
        trainer: The trainer.
        options: Folder and checkpoints.
        settings: Settings that must be unchanged when the run is resumed, by flag.
        write_logs: Writes the tables of all epochs so far.
    """

    def __init__(
        self,
        trainer: Trainer,
        options: RunOptions,
        settings: Settings,
        write_logs: WriteLogs = write_logs,
    ) -> None:
        self.trainer = trainer
        self.options = options
        self.settings = settings
        self.rows: list[EpochRow] = []
        self.folder: Path = options.save_path
        self._write_logs = write_logs
        self._saved = time.monotonic()  # time of the last checkpoint
        if trainer.ranks.first:
            for folder in (self.folder, self.folder / "model"):
                check_folder(folder)

    def resume(self) -> bool:
        """Resume from the folder's last checkpoint; return False if there is none.

        Raises:
            UserError: The checkpoint is damaged, or was trained with other settings.
        """
        path = checkpoints.last_path(self.folder)
        if not path.is_file():
            return False
        whole = checkpoints.load(path)
        training = whole["training"]
        checkpoints.check_settings(path, training["settings"], self.settings)
        self.trainer.restore(whole["state_dict"], training["trainer"])
        self.rows = [EpochRow(**row) for row in training["rows"]]
        if self.trainer.ranks.first:
            place = self.trainer.position
            logger.info("resuming in epoch %d after batch %d", place.epoch, place.step)
            self._write_logs(self.folder, self.rows)  # the process may have been killed before
        return True

    def train(
        self,
        loader: BatchLoader,
        evaluate: Evaluate | None,
        hooks: Hooks,
        ended: Callable[[Sequence[EpochRow]], bool] = _never,
    ) -> bool:
        """Train to the last epoch; return False if stopped before.

        Args:
            loader: Yields the training batches.
            evaluate: Called in every process.
            hooks: Callbacks.
            ended: Whether to end early, given the epochs so far.
        """
        trainer = self.trainer
        last_epoch = trainer.schedule.num_epochs
        ranks = trainer.ranks
        board = Board(self.folder, trainer.position.epoch) if ranks.first else None
        while trainer.position.epoch <= last_epoch and not ended(self.rows):
            epoch = trainer.position.epoch
            num_steps = loader.len_epoch(epoch)

            def done(position: Position, num_steps: int = num_steps) -> None:
                hooks.on_step(position, num_steps)
                if position.step % self.options.save_interval == 0 or self._is_old():
                    self._save_last()

            whole = trainer.train_epoch(loader, hooks.stop, done)
            self._save_last()
            if not whole:
                return False
            is_due = epoch % trainer.schedule.test_interval == 0 or epoch == last_epoch
            found = evaluate() if evaluate and is_due else Evaluated()
            row = self._finish_epoch(found if isinstance(found, Evaluated) else Evaluated(found))
            hooks.on_epoch(row)
            if board:
                board.add(row)
            if epoch < last_epoch and ranks.add(torch.tensor(int(hooks.stop()))):
                return False
        if board:
            board.close()
        return True

    def _finish_epoch(self, evaluated: Evaluated) -> EpochRow:
        """Log the epoch, save its weights if requested or best, and go to the next one."""
        trainer = self.trainer
        epoch, sums = trainer.position.epoch, trainer.position.sums
        row = EpochRow(
            epoch=epoch,
            lr=trainer.schedule.rate(Position(epoch)),
            loss=sums.mean_loss,
            accuracy=sums.accuracy,
            ap=evaluated.ap,
            frames=sums.frames,
            seconds=sums.seconds,
            val_loss=evaluated.loss,
            measures=dict(evaluated.measures),
        )
        self.rows.append(row)
        if trainer.ranks.first and row.ap is not None:
            if best_row(self.rows) is row:
                self._save_weights(checkpoints.best_path(self.folder), row)
            if self.options.keep_all:
                self._save_weights(checkpoints.epoch_path(self.folder, epoch), row)
        trainer.next_epoch()
        self._save_last()
        if trainer.ranks.first:
            self._write_logs(self.folder, self.rows)
        return row

    def _save_weights(self, path: Path, row: EpochRow) -> None:
        kept = {"settings": dict(self.settings), "row": asdict(row)}
        checkpoints.save(path, self.trainer.network, kept)

    def _is_old(self) -> bool:
        """Return whether the last checkpoint is older than `save_minutes`."""
        minutes = self.options.save_minutes
        return minutes > 0 and time.monotonic() - self._saved >= 60 * minutes

    def _save_last(self) -> None:
        self._saved = time.monotonic()
        if self.trainer.ranks.first:
            whole: dict[str, Any] = {
                "settings": dict(self.settings),
                "trainer": self.trainer.state(),
                "rows": [asdict(row) for row in self.rows],
            }
            checkpoints.save(checkpoints.last_path(self.folder), self.trainer.network, whole)


@contextmanager
def at_terminal(ranks: Ranks) -> Iterator[Hooks]:
    """Yield the hooks of a run that Ctrl-C or SIGTERM stops; the first process shows progress."""
    steps = StepBar()
    try:
        with stopping() as stop:
            yield Hooks(stop, steps.move, _log) if ranks.first else Hooks(stop)
    finally:
        steps.close()


def _log(row: EpochRow) -> None:
    logger.info("%s", row.describe())


def train_at_terminal(
    run: Run,
    loader: BatchLoader,
    evaluate: Evaluate,
    unit: str = "",
    ended: Callable[[Sequence[EpochRow]], bool] = _never,
) -> str | None:
    """Train to the last epoch; return a summary, or None if the run was stopped before.

    Args:
        run: The run, already resumed if it was started before.
        loader: Yields the training batches.
        evaluate: Called in every process.
        unit: Unit of the average precision, if not frames.
        ended: Whether to end early, given the epochs so far.
    """
    with at_terminal(run.trainer.ranks) as hooks:
        whole = run.train(loader, evaluate, hooks, ended)
    if not whole:
        logger.error("stopped; start again with the same --savePath to resume")
        return None
    best = best_row(run.rows)
    if best is None:
        return f"trained: {checkpoints.last_path(run.folder)}"
    found = f"best mAP {best.ap:.2%} {unit}".strip()
    return f"{found} in epoch {best.epoch}: {checkpoints.best_path(run.folder)}"


def released_weights(model: str, data: str) -> str:
    """Return the name of the released weights for a kind of data.

    AVA's faces are cropped along its own boxes, all others like the demo's.
    """
    name = f"{model}_{'ava' if data == 'ava' else 'talkset'}"
    return name if name in registry() else default_checkpoint(model).name
