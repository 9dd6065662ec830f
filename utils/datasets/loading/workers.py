"""Make batches of plans, in this process or in several that read ahead; always the same ones."""

from __future__ import annotations

import multiprocessing
import pickle
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from utils.datasets.storage.parallel import signals_blocked, start_worker
from utils.errors import ResourceError, UserError

Plan = TypeVar("Plan")
Made = TypeVar("Made")
Plan_contra = TypeVar("Plan_contra", contravariant=True)
Made_co = TypeVar("Made_co", covariant=True)


@dataclass(frozen=True, eq=False)
class RowPlan:
    """Rows that are read together; `number` is the place of the batch in the epoch."""

    epoch: int
    number: int
    rows: NDArray[np.int64]  # (B, 2) index of the entity or video, and row in it
    rank: int  # the process that reads every `world_size`-th of them
    world_size: int

    @property
    def places(self) -> range:
        """Which of the rows this process reads."""
        return range(self.rank, len(self.rows), self.world_size)


def plan_rows(
    epoch: int, rows: NDArray[np.int64], batch_size: int, share: tuple[int, int]
) -> list[RowPlan]:
    """Return the batches of an epoch, the last of them perhaps smaller.

    Args:
        epoch: Its number.
        rows: (N, 2) all that it has, in order.
        batch_size: Rows of a batch.
        share: Rank and world size.
    """
    return [
        RowPlan(epoch, number, rows[start : start + batch_size], *share)
        for number, start in enumerate(range(0, len(rows), batch_size))
    ]


def check_share(share: tuple[int, int]) -> None:
    """Raise ValueError unless the rank is one of the world."""
    rank, world_size = share
    if not 0 <= rank < world_size:
        raise UserError(f"expected a rank below {world_size}, got {rank}")


def check_batching(batch_size: int, n_data_loader_thread: int, seed: int) -> None:
    """Raise ValueError unless batches can be made so."""
    if batch_size < 1 or n_data_loader_thread < 0 or seed < 0:
        raise UserError(
            "batch_size must be 1 or more, n_data_loader_thread and seed 0 or more, got "
            f"{batch_size}, {n_data_loader_thread} and {seed}"
        )


class Maker(Protocol[Plan_contra, Made_co]):
    """Makes a batch of its plan; goes to the reading processes."""

    def make(self, plan: Plan_contra) -> Made_co:
        """Return the batch."""
        ...


class WorkerTraceback(Exception):  # noqa: N818 - it is the cause of an error
    """Where an error was raised in a worker process, in words."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class Failure:
    """An error of a worker process on its way to the main one, and its traceback."""

    error: Exception
    traceback: str

    @staticmethod
    def of(error: Exception) -> Failure:
        """Return a failure that can be sent."""
        text = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))
        except (pickle.PicklingError, TypeError, AttributeError, ValueError):
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return Failure(error, text)


class _Items(Generic[Plan, Made]):
    """A maker as PyTorch's loader knows it."""

    def __init__(self, maker: Maker[Plan, Made]) -> None:
        self.maker = maker

    def __getitem__(self, plan: Plan) -> Made | Failure:
        try:
            return self.maker.make(plan)
        except Exception as error:  # the main process raises it
            return Failure.of(error)


class Reading(Generic[Plan, Made]):
    """Yields batches in the order of their plans; its processes stay from epoch to epoch.

    They are started afresh, not forked: a fork would copy the threads and locks of the libraries.
    """

    def __init__(self, maker: Maker[Plan, Made], num_workers: int) -> None:
        """Prepare; `num_workers` 0 reads in this process."""
        self._items, self._num_workers = _Items(maker), num_workers
        self._plans: list[Plan] = []  # read by the workers' sampler
        self._workers: Iterable[Made | Failure] | None = None
        self._line: Connection | None = None  # the workers end when it is closed

    def batches(self, plans: Sequence[Plan]) -> Iterator[Made]:
        """Yield the batches of some plans.

        Raises:
            ResourceError: A reading process was killed.
            ValueError, OSError: The data cannot be read; names the file. What a worker raised has
                a `WorkerTraceback` as its cause.
        """
        if self._num_workers == 0:
            yield from map(self._items.maker.make, plans)
            return
        for made in self._read(plans):
            if isinstance(made, Failure):
                raise made.error from WorkerTraceback(made.traceback)
            yield made

    def _read(self, plans: Sequence[Plan]) -> Iterator[Made | Failure]:
        """Yield what the processes send."""
        self._plans[:] = plans
        if self._workers is None:
            self._workers = self._start()
        try:
            with signals_blocked():
                coming = iter(self._workers)
            yield from coming
        except KeyboardInterrupt:
            if self._line is not None:
                self._line.close()  # nobody waits for the batches at hand
            raise
        except (RuntimeError, EOFError, ConnectionError) as error:  # the latter while it sends
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            self._workers = None
            raise ResourceError(
                "a process that reads data was killed, perhaps for want of memory; start again, "
                "with a smaller --nDataLoaderThread if need be; the last checkpoint goes on from "
                f"where it was saved ({error})"
            ) from error

    def _start(self) -> Iterable[Made | Failure]:
        import torch
        from torch.utils.data import DataLoader

        alive, self._line = multiprocessing.Pipe(duplex=False)
        return DataLoader(
            cast("Any", self._items),  # all that is asked of it is items by their keys
            sampler=cast("Any", self._plans),
            batch_size=None,
            num_workers=self._num_workers,
            multiprocessing_context="spawn",
            persistent_workers=True,
            worker_init_fn=partial(_begin, alive),
            pin_memory=torch.cuda.is_available(),
        )


def _begin(alive: Connection, number: int) -> None:  # noqa: ARG001 - as PyTorch's loader calls it
    start_worker(alive)
