"""Train a network: one engine for all of them, for one process or several.

Nothing of it depends on how many processes there are, nor on interruptions: every random choice
of a step comes from the seed, the epoch, the step and the rank.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from model.contract import Model
from model.ranks import Ranks
from model.training.losses import Clips, Contrast, Counts, Objective, as_clips
from model.training.recipes import freeze, make_optimiser, resolve, seeded, use_bf16
from model.training.shared_norm import Share, share_norms
from utils.datasets.entities import SPEAKING, UNLABELLED
from utils.datasets.loading.training_batch import BatchLoader, TrainingBatch
from utils.errors import UserError
from utils.progress import Position, Sums
from utils.training_options import TrainingOptions

Part = TypeVar("Part")


class Trainer:
    """A network in training: knows its place, its optimiser, and how to take a step.

    Args:
        network: Trained in place.
        options: How; see `resolve`.
        ranks: The processes that share the work.
    """

    advice = "lower --lr, try --precision fp32, or check the data"  # where the loss is no number

    def __init__(self, network: Model, options: TrainingOptions, ranks: Ranks) -> None:
        self.network = network.to(ranks.device)
        self.ranks = ranks
        self.options = options
        self.recipe = resolve(network.recipe, options)
        self.position = Position()
        self.autocast = use_bf16(options, ranks.device)
        self.frozen = freeze(network, options.frozen_patterns)
        self.share = share_norms(network) if ranks.size > 1 else Share()
        with seeded(options.seed, ranks.device):
            objective = self.make_objective()
        self.objective = objective.to(ranks.device)
        self.optimiser = make_optimiser(self.objective, self.recipe)
        self.parallel = self.spread(self.objective)

    def make_objective(self) -> Objective:
        """Return the network with its losses."""
        return Objective(self.network, self.recipe, Contrast(self.options.contrast))

    def spread(self, objective: nn.Module) -> nn.Module:
        """Return the objective so that several processes take the mean of its gradients."""
        if self.ranks.size == 1:
            return objective
        devices = [self.ranks.device] if self.ranks.device.type == "cuda" else None
        return DistributedDataParallel(objective, device_ids=devices, broadcast_buffers=False)

    def train_epoch(
        self, loader: BatchLoader, stop: Callable[[], bool], done: Callable[[Position], None]
    ) -> bool:
        """Take the steps of the current epoch that are left; return False if stopped before.

        Args:
            loader: Gives the batches.
            stop: Asked after each step; any process may say so.
            done: Called after each step.

        Raises:
            UserError: The loss is no number.
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

    def step(self, batch: TrainingBatch) -> None:
        """Learn from one batch, divided among the processes and into parts that fit memory."""
        position = self.position
        whole = as_clips(batch)
        labels = whole.labels
        own = [(labels != UNLABELLED).sum(), (labels == SPEAKING).sum(), torch.tensor(len(labels))]
        labelled, speaking, num_clips = self.ranks.add(torch.stack(own)).tolist()
        self._set_rate()
        if labelled == 0:
            position.step += 1
            return
        parts = self._split(whole, num_clips)
        temperature = self.recipe.temperature + self.recipe.temperature_step * (position.epoch - 1)
        counts = Counts(labelled, speaking)

        def learn(clips: Clips, last: bool) -> Tensor:
            self.share.counts = len(clips.labels) > 0
            if not self.share.counts:
                clips = self._stand_in(clips)
            return self.add_gradient(last, clips, counts, temperature)

        position.sums.loss += labelled * self.update(parts, learn)
        position.sums.frames += labelled

    def update(self, parts: Sequence[Part], learn: Callable[[Part, bool], Tensor]) -> float:
        """Change the weights by a batch; count it and its right frames, return its loss.

        Args:
            parts: This process' share of the batch.
            learn: Adds the gradient of a part, told whether it is the last one; returns what
                `add_gradient` does.
        """
        position = self.position
        totals = torch.zeros(2, dtype=torch.float64, device=self.ranks.device)
        seed = (self.options.seed, position.epoch, position.step, self.ranks.rank)
        self.optimiser.zero_grad(set_to_none=True)
        with seeded(seed, self.ranks.device):
            for number, part in enumerate(parts, start=1):
                totals += learn(part, number == len(parts))
        loss, right = self.ranks.add(totals).tolist()
        if not math.isfinite(loss):
            place = f"batch {position.step + 1} of epoch {position.epoch}"
            raise UserError(f"the loss of {place} is {loss}; it is not kept: {self.advice}")
        self.optimiser.step()
        position.step += 1
        position.sums.right += round(right)
        return float(loss)

    def add_gradient(self, last: bool, *inputs: object) -> Tensor:
        """Add the gradient of one part's inputs; return its loss and number of right frames."""
        with self._hold_back(last):
            with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.autocast):
                loss, right = self.parallel(*inputs)
            # DDP takes the mean over processes, but their shares are to be added.
            (loss * self.ranks.size).backward()
        return torch.stack((loss.detach().double(), right.double()))

    def _hold_back(self, last: bool) -> AbstractContextManager[None]:
        """Let processes exchange gradients at the last part of a batch alone."""
        if isinstance(self.parallel, DistributedDataParallel) and not last:
            return self.parallel.no_sync()
        return nullcontext()

    def _split(self, whole: Clips, num_clips: int) -> list[Clips]:
        """Return the parts of a batch, as many in each process; some may be empty."""
        most = math.ceil(num_clips / self.ranks.size)  # clips of one process
        at_once = most
        if self.options.frames_at_once:
            num_frames = max(1, self.objective.family.num_frames(whole.faces, whole.labels))
            at_once = max(1, self.options.frames_at_once // num_frames)
        num_parts = math.ceil(most / max(1, at_once))
        moved = (tensor.to(self.ranks.device, non_blocking=True) for tensor in whole)
        return [
            Clips(*part) for part in zip(*(t.tensor_split(num_parts) for t in moved), strict=True)
        ]

    def _stand_in(self, clips: Clips) -> Clips:
        """Return one clip without labels, so that a process without any takes part all the same."""
        one = Clips(*(tensor.new_zeros(1, *tensor.shape[1:]) for tensor in clips))
        return one._replace(
            labels=one.labels.fill_(UNLABELLED), speech=one.speech.fill_(UNLABELLED)
        )

    def _set_rate(self) -> None:
        """Set the rate of an update, and count it."""
        slower = 1 + self.recipe.update_decay * self.position.updates
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(self.position.epoch) / slower
        self.position.updates += 1

    def rate(self, epoch: int) -> float:
        """Return the learning rate that an epoch begins with, but for the decay by updates."""
        return self.recipe.lr * self.recipe.lr_decay ** ((epoch - 1) // self.recipe.decay_every)

    def _set_mode(self) -> None:
        """Train all but what is frozen: a frozen normalisation keeps its statistics too."""
        self.objective.train()
        for norm in self.network.modules():
            if isinstance(norm, _BatchNorm) and norm.affine and not norm.weight.requires_grad:
                norm.eval()

    def state(self) -> dict[str, Any]:
        """Return all that changes while training, but for the network's own weights."""
        return {
            "epoch": self.position.epoch,
            "step": self.position.step,
            "updates": self.position.updates,
            "sums": asdict(self.position.sums),
            "optimiser": self.optimiser.state_dict(),
            "projection": self.objective.projection.state_dict(),
        }

    def restore(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go on where `state` was taken, with the network's weights of that moment."""
        self.network.load_state_dict(weights)
        self.objective.projection.load_state_dict(state["projection"])
        self.optimiser.load_state_dict(state["optimiser"])
        sums = Sums(**state["sums"])
        self.position = Position(state["epoch"], state["step"], sums, state["updates"])
