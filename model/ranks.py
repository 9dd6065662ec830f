"""The processes that train or evaluate together, as `torchrun` starts them; usually one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed

from utils.errors import ResourceError

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and speaks."""
        return self.rank == 0

    def add(self, numbers: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        if self.size > 1:
            numbers = numbers.clone()
            distributed.all_reduce(numbers)
        return numbers

    def gather(self, thing: Thing) -> list[Thing]:
        """Return what each process has, in the order of the ranks."""
        if self.size == 1:
            return [thing]
        things: list[Thing | None] = [None] * self.size
        distributed.all_gather_object(things, thing)
        return things  # type: ignore[return-value]


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the processes that `torchrun` started, if it did; leave them at the end.

    Args:
        device: Type of device; with CUDA each process gets a GPU of its own.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    chosen = torch.device(device)
    if size > 1 and chosen.type == "cuda":
        if local >= torch.cuda.device_count():
            raise ResourceError(
                f"expected a GPU for each process, found {torch.cuda.device_count()} for process "
                f"{local}; pass torchrun a smaller --nproc_per_node"
            )
        chosen = torch.device("cuda", local)
        torch.cuda.set_device(chosen)
    if size == 1:
        yield Ranks(device=chosen)
        return
    backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
    distributed.init_process_group(backend)
    try:
        yield Ranks(distributed.get_rank(), size, chosen)
        distributed.barrier()  # who leaves while another still sends brings it down
    finally:
        distributed.destroy_process_group()
