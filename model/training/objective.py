"""What a trainer minimises: a network with its losses, and how a batch is divided."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from torch import nn

from model.ranks import Ranks


class BatchPart(NamedTuple):
    """What passes the network at once."""

    inputs: tuple[Any, ...]  # the arguments of the objective's `forward`
    counts: bool = True  # False: this process has no clip left and only takes part


class DividedBatch(NamedTuple):
    """One process's share of a batch, in parts that fit memory."""

    parts: Sequence[BatchPart]  # as many in every process
    num_frames: int  # labelled frames in all processes; nothing is learned if there are none
    scale: float  # the loss of the batch times this is the sum over its labelled frames


class Objective(nn.Module, ABC):
    """A network and its losses as one module, which can be distributed as a whole.

    `forward` maps the inputs of a part to its share of the loss and its number of correct frames,
    both of shape ().
    """

    advice: ClassVar[str] = "lower --lr, try --precision fp32, or check the data"  # if it diverges
    network: nn.Module  # its weights are the ones that checkpoints hold

    @abstractmethod
    def divide(self, batch: Any, ranks: Ranks, epoch: int) -> DividedBatch:  # noqa: ANN401
        """Return this process's share of a batch on its device.

        Args:
            batch: What the loader yields.
            ranks: The processes that share the work.
            epoch: The current epoch, from 1.
        """

    def after_update(self, num_updates: int) -> None:
        """Do what follows each update of the weights, of which there were so many."""

    def state(self) -> dict[str, Any]:
        """Return all that changes during training except the network's own weights."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
