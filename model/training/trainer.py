"""Training steps in one or more processes.

The result depends neither on the number of processes nor on interruptions: every random choice of
a step is derived from the seed, the epoch, the step and the rank.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from model.ranks import Ranks
from model.training.objective import BatchPart, Objective
from model.training.recipes import seeded
from model.training.shared_norm import Share, share_norms
from utils.errors import UserError
from utils.progress import EpochSums, Position


class BatchLoader(Protocol):
    """Source of batches; with several processes, each gets its share of every batch."""

    def epoch(self, number: int, skip: int = 0) -> Iterator[Any]:
        """Yield the batches of an epoch, from 1, without the first `skip`."""
        ...

    def len_epoch(self, number: int) -> int:
        """Return the number of batches of an epoch."""
        ...


@dataclass(frozen=True)
class Schedule:
    """Number of epochs, evaluation interval and learning rate."""

    rate: Callable[[Position], float]  # learning rate of the next update
    num_epochs: int
    test_interval: int = 1  # epochs from one evaluation to the next


@dataclass(frozen=True)
class StepOptions:
    """How a step is taken."""

    seed: int = 0
    bf16: bool = False  # compute in mixed precision
    max_gradient: float | None = None  # gradients are clipped to this norm


class Trainer:
    """A network in training: its state, and how to take a step.

    Args:
        objective: The network with its losses; trained in place.
        optimiser: Optimiser of the objective's trainable weights.
        schedule: The learning rate.
        ranks: The processes that share the work.
        options: How a step is taken.
    """

    def __init__(
        self,
        objective: Objective,
        optimiser: torch.optim.Optimizer,
        schedule: Schedule,
        ranks: Ranks,
        options: StepOptions,
    ) -> None:
        self.objective = objective.to(ranks.device)
        self.optimiser = optimiser
        self.schedule = schedule
        self.ranks = ranks
        self.options = options
        self.position = Position()
        self._share = share_norms(objective.network) if ranks.size > 1 else Share()
        self._parallel = self._distribute()

    @property
    def network(self) -> nn.Module:
        """The network that is trained."""
        return self.objective.network

    def _distribute(self) -> nn.Module:
        """Return the objective, wrapped to average gradients over several processes."""
        if self.ranks.size == 1:
            return self.objective
        devices = [self.ranks.device] if self.ranks.device.type == "cuda" else None
        return DistributedDataParallel(self.objective, device_ids=devices, broadcast_buffers=False)

    def train_epoch(
        self, loader: BatchLoader, stop: Callable[[], bool], done: Callable[[Position], None]
    ) -> bool:
        """Take the remaining steps of the current epoch; return False if stopped before its end.

        Args:
            loader: Yields the batches.
            stop: Called after each step; returns True to stop. Any process may stop.
            done: Called after each step.

        Raises:
            UserError: The loss is not finite.
        """
        epoch = self.position.epoch
        self._set_mode()
        num_steps = loader.len_epoch(epoch)
        begun = time.monotonic()
        for batch in loader.epoch(epoch, self.position.step):
            self.step(batch)
            now = time.monotonic()
            self.position.sums.seconds += now - begun
            begun = now
            done(self.position)
            if self.position.step < num_steps and self.ranks.add(torch.tensor(int(stop()))):
                return False
        return self.position.step >= num_steps

    def next_epoch(self) -> None:
        """Go to the beginning of the next epoch."""
        self.position = Position(self.position.epoch + 1, updates=self.position.updates)

    def step(self, batch: Any) -> None:  # noqa: ANN401 - the type depends on the loader
        """Train on one batch, divided among the processes and into parts that fit memory.

        Raises:
            UserError: The loss is not finite.
        """
        position = self.position
        divided = self.objective.divide(batch, self.ranks, position.epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.rate(position)
        position.updates += 1
        if divided.num_frames:
            loss, correct = self._add_gradients(divided.parts)
            self._update()
            position.sums.loss += divided.scale * loss
            position.sums.right += round(correct)
            position.sums.frames += divided.num_frames
        position.step += 1

    def _add_gradients(self, parts: Sequence[BatchPart]) -> tuple[float, float]:
        """Compute the gradient of a batch; return its loss and number of correct frames."""
        position = self.position
        totals = torch.zeros(2, dtype=torch.float64, device=self.ranks.device)
        seed = (self.options.seed, position.epoch, position.step, self.ranks.rank)
        self.optimiser.zero_grad(set_to_none=True)
        with seeded(seed, self.ranks.device):
            for number, part in enumerate(parts, start=1):
                totals += self._add_gradient(part, number == len(parts))
        loss, correct = self.ranks.add(totals).tolist()
        if not math.isfinite(loss):
            raise UserError(
                f"the loss of batch {position.step + 1} of epoch {position.epoch} is {loss}; "
                f"the step is discarded: {self.objective.advice}"
            )
        return loss, correct

    def _add_gradient(self, part: BatchPart, is_last: bool) -> Tensor:
        """Add the gradient of one part; return its loss and number of correct frames."""
        self._share.counts = part.counts
        with self._hold_back(is_last):
            with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.options.bf16):
                loss, correct = self._parallel(*part.inputs)
            # DDP averages over processes, but their shares must be added.
            (loss * self.ranks.size).backward()
        return torch.stack((loss.detach().double(), correct.double()))

    def _hold_back(self, is_last: bool) -> AbstractContextManager[None]:
        """Synchronise gradients only at the last part of a batch."""
        if isinstance(self._parallel, DistributedDataParallel) and not is_last:
            return self._parallel.no_sync()
        return nullcontext()

    def _update(self) -> None:
        """Update the weights."""
        if self.options.max_gradient is not None:
            trained = [weight for weight in self.objective.parameters() if weight.requires_grad]
            nn.utils.clip_grad_norm_(trained, self.options.max_gradient)
        self.optimiser.step()
        self.objective.after_update(self.position.updates)

    def _set_mode(self) -> None:
        """Set training mode, but keep the statistics of frozen normalisations."""
        self.objective.train()
        for norm in self.network.modules():
            if isinstance(norm, _BatchNorm) and norm.affine and not norm.weight.requires_grad:
                norm.eval()

    def state(self) -> dict[str, Any]:
        """Return the state of training, without the network's own weights."""
        return {
            "epoch": self.position.epoch,
            "step": self.position.step,
            "updates": self.position.updates,
            "sums": asdict(self.position.sums),
            "optimiser": self.optimiser.state_dict(),
            **self.objective.state(),
        }

    def restore(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Restore a state, with the network's weights at that time."""
        self.network.load_state_dict(weights)
        self.objective.restore(state)
        self.optimiser.load_state_dict(state["optimiser"])
        sums = EpochSums(**state["sums"])
        self.position = Position(state["epoch"], state["step"], sums, state["updates"])
