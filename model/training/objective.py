"""The objective of training: a network with its losses, and how a batch is divided."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from torch import nn

from model.ranks import Ranks


class BatchPart(NamedTuple):
    """The input of one forward pass."""

    inputs: tuple[Any, ...]  # the arguments of the objective's `forward`
    counts: bool = True  # False if this process has no clips left


class DividedBatch(NamedTuple):
    """One process's share of a batch, in parts that fit memory."""

    parts: Sequence[BatchPart]  # the same number in every process
    num_frames: int  # labelled frames in all processes; without any, the batch is skipped
    scale: float  # the loss of the batch times this is the sum over its labelled frames


class Objective(nn.Module, ABC):
    """A network and its losses as one module, for distributed training.

    `forward` maps the inputs of a part to its share of the loss and its number of correct frames,
    both of shape ().
    """

    advice: ClassVar[str] = "lower --lr, try --precision fp32, or check the data"  # if it diverges
    network: nn.Module  # the network whose weights are saved in checkpoints

    @abstractmethod
    def divide(self, batch: Any, ranks: Ranks, epoch: int) -> DividedBatch:  # noqa: ANN401
        """Return this process's share of a batch on its device.

        Args:
            batch: A batch of the loader.
            ranks: The processes that share the work.
            epoch: The current epoch, from 1.
        """

    def after_update(self, num_updates: int) -> None:
        """Run after each update of the weights; `num_updates` counts them."""

    def state(self) -> dict[str, Any]:
        """Return the state of training, without the network's own weights."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
