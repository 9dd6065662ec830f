"""Make batches from plans, in this process or in workers that read ahead; the order is the same."""

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
Batch = TypeVar("Batch")
Plan_contra = TypeVar("Plan_contra", contravariant=True)
Batch_co = TypeVar("Batch_co", covariant=True)


@dataclass(frozen=True, eq=False)
class RowPlan:
    """A batch of rows; `number` is its position in the epoch."""

    epoch: int
    number: int
    rows: NDArray[np.int64]  # (B, 2) index of the entity or video, and row in it
    rank: int  # reads every `world_size`-th row
    world_size: int

    @property
    def indices(self) -> range:
        """Indices of the rows of this rank."""
        return range(self.rank, len(self.rows), self.world_size)


def plan_rows(
    epoch: int, rows: NDArray[np.int64], batch_size: int, share: tuple[int, int]
) -> list[RowPlan]:
    """Return the batches of an epoch; the last may be smaller.

    Args:
        epoch: Its number.
        rows: (N, 2) all rows of the epoch, in order.
        batch_size: Rows per batch.
        share: Rank and world size.
    """
    return [
        RowPlan(epoch, number, rows[start : start + batch_size], *share)
        for number, start in enumerate(range(0, len(rows), batch_size))
    ]


def check_share(share: tuple[int, int]) -> None:
    """Raise UserError unless the rank is below the world size."""
    rank, world_size = share
    if not 0 <= rank < world_size:
        raise UserError(f"expected a rank below {world_size}, got {rank}")


def check_batching(batch_size: int, n_data_loader_thread: int, seed: int) -> None:
    """Raise UserError if an option is out of range."""
    if batch_size < 1 or n_data_loader_thread < 0 or seed < 0:
        raise UserError(
            "batch_size must be 1 or more, n_data_loader_thread and seed 0 or more, got "
            f"{batch_size}, {n_data_loader_thread} and {seed}"
        )


class BatchMaker(Protocol[Plan_contra, Batch_co]):
    """Makes a batch from its plan; picklable, as it is sent to worker processes."""

    def make(self, plan: Plan_contra) -> Batch_co:
        """Return the batch."""
        ...


class WorkerTraceback(Exception):  # noqa: N818 - it is the cause of an error
    """The traceback of an error in a worker process, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class WorkerFailure:
    """An error of a worker process and its traceback, sent to the main process."""

    error: Exception
    traceback: str

    @staticmethod
    def of(error: Exception) -> WorkerFailure:
        """Return a failure that can be pickled."""
        text = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))
        except (pickle.PicklingError, TypeError, AttributeError, ValueError):
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return WorkerFailure(error, text)


class _PlannedBatches(Generic[Plan, Batch]):
    """A data set for PyTorch's DataLoader: plans are the keys, batches the items."""

    def __init__(self, maker: BatchMaker[Plan, Batch]) -> None:
        self.maker = maker

    def __getitem__(self, plan: Plan) -> Batch | WorkerFailure:
        try:
            return self.maker.make(plan)
        except Exception as error:  # the main process raises it
            return WorkerFailure.of(error)


class BatchReader(Generic[Plan, Batch]):
    """Yields batches in the order of their plans; its workers persist over epochs.

    Workers are spawned, not forked: a fork would copy the libraries' threads and locks.
    """

    def __init__(self, maker: BatchMaker[Plan, Batch], num_workers: int) -> None:
        """Prepare reading; with 0 workers, batches are made in this process."""
        self._items, self._num_workers = _PlannedBatches(maker), num_workers
        self._plans: list[Plan] = []  # read by the workers' sampler
        self._workers: Iterable[Batch | WorkerFailure] | None = None
        self._main_end: Connection | None = None  # closing it ends the workers

    def batches(self, plans: Sequence[Plan]) -> Iterator[Batch]:
        """Yield the batches of the plans.

        Raises:
            ResourceError: A worker process was killed.
            UserError, OSError: The data cannot be read; the message names the file. The cause of
                an error from a worker is a `WorkerTraceback`.
        """
        if self._num_workers == 0:
            yield from map(self._items.maker.make, plans)
            return
        for batch in self._read(plans):
            if isinstance(batch, WorkerFailure):
                raise batch.error from WorkerTraceback(batch.traceback)
            yield batch

    def _read(self, plans: Sequence[Plan]) -> Iterator[Batch | WorkerFailure]:
        """Yield what the workers return."""
        self._plans[:] = plans
        if self._workers is None:
            self._workers = self._start()
        try:
            with signals_blocked():
                received = iter(self._workers)
            yield from received
        except KeyboardInterrupt:
            if self._main_end is not None:
                self._main_end.close()  # the batches being made are not needed
            raise
        except (
            RuntimeError,
            EOFError,
            ConnectionError,
        ) as error:  # the latter while a worker sends
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            self._workers = None
            raise ResourceError(
                "a process that reads data was killed, perhaps for lack of memory; start again, if "
                "necessary with a smaller --nDataLoaderThread; training resumes from the last "
                f"checkpoint ({error})"
            ) from error

    def _start(self) -> Iterable[Batch | WorkerFailure]:
        import torch
        from torch.utils.data import DataLoader

        alive, self._main_end = multiprocessing.Pipe(duplex=False)
        return DataLoader(
            cast("Any", self._items),  # only __getitem__ is used
            sampler=cast("Any", self._plans),
            batch_size=None,
            num_workers=self._num_workers,
            multiprocessing_context="spawn",
            persistent_workers=True,
            worker_init_fn=partial(_begin, alive),
            pin_memory=torch.cuda.is_available(),
        )


def _begin(alive: Connection, number: int) -> None:  # noqa: ARG001 - PyTorch's signature
    start_worker(alive)
