"""Make batches of plans, in this process or in several that read ahead; always the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError

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


@dataclass(frozen=True)
class Failure:
    """An error on its way to the main process, which raises it without the worker's traceback."""

    error: Exception


class _Items(Generic[Plan, Made]):
    """A maker as PyTorch's loader knows it."""

    def __init__(self, maker: Maker[Plan, Made]) -> None:
        self.maker = maker

    def __getitem__(self, plan: Plan) -> Made | Failure:
        try:
            return self.maker.make(plan)
        except (ValueError, OSError, RuntimeError) as error:
            return Failure(error)


class Reading(Generic[Plan, Made]):
    """Yields batches in the order of their plans; its processes stay from epoch to epoch.

    They are started afresh, not forked: a fork would copy the threads and locks of the libraries.
    """

    def __init__(self, maker: Maker[Plan, Made], num_workers: int) -> None:
        """Prepare; `num_workers` 0 reads in this process."""
        self._items, self._num_workers = _Items(maker), num_workers
        self._plans: list[Plan] = []  # read by the workers' sampler
        self._workers: Iterable[Made | Failure] | None = None

    def batches(self, plans: Sequence[Plan]) -> Iterator[Made]:
        """Yield the batches of some plans.

        Raises:
            RuntimeError: A reading process was killed.
            ValueError, OSError: The data cannot be read; names the file.
        """
        if self._num_workers == 0:
            for plan in plans:
                yield _opened(self._items[plan])
            return
        self._plans[:] = plans
        if self._workers is None:
            self._workers = self._start()
        try:
            for made in self._workers:
                yield _opened(made)
        except (RuntimeError, EOFError, ConnectionError) as error:  # the latter while it sends
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            self._workers = None
            raise RuntimeError(
                "a process that reads data was killed, perhaps for want of memory; start again, "
                "with a smaller --nDataLoaderThread if need be; the last checkpoint goes on from "
                f"where it was saved ({error})"
            ) from error

    def _start(self) -> Iterable[Made | Failure]:
        import torch
        from torch.utils.data import DataLoader

        return DataLoader(
            cast("Any", self._items),  # all that is asked of it is items by their keys
            sampler=cast("Any", self._plans),
            batch_size=None,
            num_workers=self._num_workers,
            multiprocessing_context="spawn",
            persistent_workers=True,
            pin_memory=torch.cuda.is_available(),
        )


def _opened(made: Made | Failure) -> Made:
    if isinstance(made, Failure):
        raise made.error
    return made
