"""The processes that train or evaluate together, as `torchrun` starts them; usually one.

A collective fails when a process comes to it ten minutes (NCCL) or half an hour (Gloo) after the
others. So processes wait for long work at a `Meeting`, which has no time-out; collectives are for
what all do at the same pace.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from utils.errors import ResourceError

POLL_S = 0.1  # from one look for the other processes to the next
FAILED = "failed"  # the key that a process sets when it fails


Thing = TypeVar("Thing")


class Meeting:
    """Where processes wait for each other without a time-out; all must call the same methods.

    Args:
        store: Holds the keys that they set.
        rank: Of this process.
        size: How many there are.
    """

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self._store, self._rank, self._size = store, rank, size
        self._numbers = count()

    def wait_for_all(self) -> None:
        """Wait until every process has come here."""
        number = next(self._numbers)
        self._store.set(f"{number}/{self._rank}", "")
        self._wait([f"{number}/{rank}" for rank in range(self._size)])

    def after_first(self, work: Callable[[], None]) -> None:
        """Let the first process work while the others wait for it."""
        key = str(next(self._numbers))
        if self._rank == 0:
            work()
            self._store.set(key, "")
        else:
            self._wait([key])

    def fail(self) -> None:
        """Tell the others that this process will not come."""
        with suppress(distributed.DistError):  # the one that keeps the store may have ended
            self._store.set(FAILED, str(self._rank))

    def _wait(self, keys: list[str]) -> None:
        """Wait until all of the keys are set.

        Raises:
            ResourceError: A process has failed.
        """
        while not self._store.check(keys):
            if self._store.check([FAILED]):
                rank = self._store.get(FAILED).decode()
                raise ResourceError(f"process {rank} failed; its own message says why")
            time.sleep(POLL_S)


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")
    meeting: Meeting | None = None  # of several processes

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and speaks."""
        return self.rank == 0

    def add(self, numbers: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes, which do this at the same pace."""
        if self.size > 1:
            numbers = numbers.clone()
            distributed.all_reduce(numbers)
        return numbers

    def gather(self, thing: Thing) -> list[Thing]:
        """Return what each process has, in the order of the ranks, however long they take."""
        self.wait_for_all()
        if self.size == 1:
            return [thing]
        things: list[Thing | None] = [None] * self.size
        distributed.all_gather_object(things, thing)
        return things  # type: ignore[return-value]

    def wait_for_all(self) -> None:
        """Wait until every process has come here, however long they take."""
        if self.meeting is not None:
            self.meeting.wait_for_all()

    def after_first(self, work: Callable[[], None]) -> None:
        """Let the first process do what may take hours; the others wait for it."""
        if self.meeting is not None:
            self.meeting.after_first(work)
        else:
            work()


@contextmanager
def joined(device: str, timeout: timedelta | None = None) -> Iterator[Ranks]:
    """Join the processes that `torchrun` started, if it did; leave them at the end.

    Args:
        device: Type of device; with CUDA each process gets a GPU of its own.
        timeout: How much later than the others a process may come to a collective; else PyTorch's.
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
    store, rank, size = next(rendezvous("env://"))
    meeting = Meeting(PrefixStore("meeting", store), rank, size)
    meeting.wait_for_all()  # one may have loaded its libraries much faster
    distributed.init_process_group(
        backend,
        timeout=timeout,
        world_size=size,
        rank=rank,
        store=PrefixStore("collectives", store),
    )
    try:
        yield Ranks(rank, size, chosen, meeting)
        meeting.wait_for_all()
        distributed.barrier()  # who leaves while another still sends brings it down
    except BaseException:
        meeting.fail()
        raise
    finally:
        distributed.destroy_process_group()
