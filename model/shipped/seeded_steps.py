"""Train by steps: each batch is drawn from a seed, and results are measured every few steps."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from model.ranks import Ranks
from model.training.objective import BatchPart, DividedBatch, Objective
from model.training.run import Hooks, Run
from model.training.run_logs import EpochRow, Evaluated
from utils.progress import bar, stopping

logger = logging.getLogger(__name__)

Seed = tuple[int, ...]


@dataclass(frozen=True)
class SeededSteps:
    """Yields the seed of each step, in epochs that last from one measurement to the next."""

    seed: Seed  # of the training; the number of the step, from 0, is added
    num_steps: int
    interval: int  # steps of an epoch; the last one may have fewer

    @property
    def num_epochs(self) -> int:
        """Number of measurements."""
        return -(-self.num_steps // self.interval)

    def steps_after(self, epoch: int) -> int:
        """Return the number of steps taken by the end of an epoch."""
        return min(self.num_steps, epoch * self.interval)

    def len_epoch(self, number: int) -> int:
        """Return the number of steps of an epoch, from 1."""
        return self.steps_after(number) - self.steps_after(number - 1)

    def epoch(self, number: int, skip: int = 0) -> Iterator[Seed]:
        """Yield the seeds of an epoch without the first `skip`."""
        for step in range(self.steps_after(number - 1) + skip, self.steps_after(number)):
            yield (*self.seed, step)


class SeededObjective(Objective):
    """An objective whose `forward` draws the batch from the seed it is given."""

    def divide(self, batch: Seed, ranks: Ranks, epoch: int) -> DividedBatch:  # noqa: ARG002
        """Return the batch as one part; losses are averaged over steps."""
        return DividedBatch([BatchPart((batch,))], num_frames=1, scale=1.0)


def train_steps(
    run: Run,
    steps: SeededSteps,
    name: str,
    evaluate: Callable[[], Evaluated],
    log: Callable[[EpochRow], None],
) -> bool:
    """Train to the last step; return False if Ctrl-C or SIGTERM asked to stop.

    Args:
        run: Already resumed.
        steps: Yields the seeds.
        name: Shown before the progress bar.
        evaluate: Measures the network after each epoch.
        log: Logs the record of an epoch.
    """
    with bar(name, steps.num_steps, "steps") as advance, stopping() as stop:
        hooks = Hooks(stop, lambda position, _: advance(position.updates), log)
        is_complete = run.train(steps, evaluate, hooks) and not stop()
    if not is_complete:
        logger.error("stopped; start again with the same --savePath to go on")
    return is_complete


def rise_and_fall(step: int, num_steps: int, warm_up: int) -> float:
    """Return the share of the learning rate: a linear rise, then half a cosine down to zero."""
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, num_steps - warm_up)
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, done))
