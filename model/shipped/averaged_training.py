"""Train a network by steps; the average of its weights over the steps is measured and kept."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from model.ranks import Ranks
from model.shipped.seeded_steps import SeededObjective, SeededSteps, train_steps
from model.training.run import Run
from model.training.run_logs import EpochRow, Evaluated, write_table
from model.training.trainer import Schedule, StepOptions, Trainer
from utils.training_options import RunOptions

logger = logging.getLogger(__name__)


class AveragedObjective(SeededObjective):
    """A network, the average of its weights over the steps, and its losses to report.

    Args:
        make: Makes the network.
        seed: Of its first weights.
        kept: How much of the weights' past each step keeps in their average.
    """

    advice = "lower --lr"

    def __init__(self, make: Callable[[], nn.Module], seed: int, kept: float) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = make()
        self.averaged = make().requires_grad_(False)
        self.averaged.load_state_dict(self.network.state_dict())
        self.kept = kept
        self.losses: list[list[float]] = []  # of each step since the last measurement
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def mean_losses(self) -> list[float]:
        """Return the means of the losses since the last call."""
        means: list[float] = np.mean(self.losses, axis=0).tolist()
        self.losses.clear()
        return means

    def after_update(self, num_updates: int) -> None:
        """Move the average of the weights towards the weights."""
        follow(self.averaged, self.network, min(self.kept, num_updates / (num_updates + 10)))

    def state(self) -> dict[str, Any]:
        """Return the average of the weights and the losses to report."""
        return {"averaged": self.averaged.state_dict(), "losses": list(self.losses)}

    def restore(self, state: dict[str, Any]) -> None:
        """Load what `state` returned."""
        self.averaged.load_state_dict(state["averaged"])
        self.losses = list(state["losses"])


@torch.no_grad()
def follow(averaged: nn.Module, network: nn.Module, kept: float) -> None:
    """Move `averaged` towards the network's weights; `kept` of it stays."""
    own = averaged.state_dict()
    for name, value in network.state_dict().items():
        if value.dtype.is_floating_point:
            own[name].lerp_(value, 1 - kept)
        else:
            own[name].copy_(value)


@dataclass(frozen=True)
class AveragedRun:
    """How a network is trained, where, and what its log says.

    Args:
        objective: The network and its losses.
        steps: The seeds of its batches.
        rate: Gives the learning rate of a step.
        options: How a step is taken.
        weight_decay: Of weights; biases and scales have none.
        columns: Of log.csv, after the step: the measures of `evaluate`.
    """

    objective: AveragedObjective
    steps: SeededSteps
    rate: Callable[[int], float]
    options: StepOptions
    weight_decay: float
    columns: Sequence[str]

    def begin(self, folder: Path, settings: Mapping[str, Any]) -> Run:
        """Return a new run, or the one that the folder holds, where it was stopped.

        Args:
            folder: Of checkpoints and log.
            settings: What must be the same when it is resumed.
        """
        weights = list(self.objective.network.parameters())
        groups = [
            {
                "params": [one for one in weights if one.ndim > 1],
                "weight_decay": self.weight_decay,
            },
            {"params": [one for one in weights if one.ndim == 1], "weight_decay": 0.0},
        ]

        def write_log(folder: Path, rows: Sequence[EpochRow]) -> None:
            write_table(folder / "log.csv", ("step", *self.columns), map(self._record, rows))

        trainer = Trainer(
            self.objective,
            torch.optim.AdamW(groups, lr=self.rate(0)),
            Schedule(lambda position: self.rate(position.updates), self.steps.num_epochs),
            Ranks(),
            self.options,
        )
        run = Run(trainer, RunOptions(folder), settings, write_log)
        run.resume()
        return run

    def learn(self, run: Run, evaluate: Callable[[], Evaluated]) -> bool:
        """Train to the last step; return False if it was stopped before."""

        def log(row: EpochRow) -> None:
            record = self._record(row).items()
            logger.info(", ".join(f"{name} {value:.4g}" for name, value in record))

        return train_steps(run, self.steps, "training", evaluate, log)

    def _record(self, row: EpochRow) -> dict[str, Any]:
        return {"step": self.steps.steps_after(row.epoch), **row.measures}
