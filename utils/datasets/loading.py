"""Batches for training and evaluation: planned, read, changed and turned into tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

import numpy as np

from utils.datasets.batching import BatchPlan, plan_batches, plan_published, plan_whole
from utils.datasets.clips import Batch, BatchMaker, Changes, Failure, InputForm
from utils.datasets.entities import DataSet

ORDER = 0  # a generator's purpose; clips have their own


@dataclass(frozen=True)
class LoaderOptions:
    """How batches are made."""

    batch_size: Annotated[int, "frames of a batch"] = 2500
    max_clip: Annotated[int, "entities are cut to clips of so many frames; 0: batchSize"] = 0
    n_data_loader_thread: Annotated[int, "processes that read; 0 reads in the main one"] = 4
    seed: Annotated[int, "the same seed gives the same batches"] = 0
    augment: Annotated[bool, "flip, crop and turn faces, mix noise into the sound"] = False
    shifted_share: Annotated[
        float,
        "share of speaking clips whose sound is moved by 0.3 to 2 s: not speaking",
    ] = 0.0
    foreign_share: Annotated[
        float, "share of speaking clips that get another voice: not speaking"
    ] = 0.0
    whole: Annotated[bool, "one whole entity a batch, in order, as for evaluation"] = False
    published_batches: Annotated[
        bool, "cut all clips of a batch to the shortest and lose the rest, as published"
    ] = False

    def __post_init__(self) -> None:
        for flag, value, least in (
            ("batchSize", self.batch_size, 1),
            ("maxClip", self.max_clip, 0),
            ("nDataLoaderThread", self.n_data_loader_thread, 0),
            ("seed", self.seed, 0),
        ):
            if value < least:
                raise ValueError(f"--{flag} must be {least} or more, got {value}")
        shares = (self.shifted_share, self.foreign_share)
        if min(shares) < 0 or sum(shares) > 1:
            raise ValueError(
                "shifted_share and foreign_share must be 0 or more and at most 1 together, "
                f"got {shares[0]} and {shares[1]}"
            )


class Loader:
    """Gives the batches of a data set, epoch after epoch.

    An epoch's batches depend on the seed and its number alone, not on how many processes read
    them or how many train: each of `world_size` gets its share of every batch's clips, which may
    be none.
    """

    def __init__(
        self,
        dataset: DataSet,
        inputs: InputForm,
        options: LoaderOptions,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Prepare to load; reading begins with `epoch`."""
        if not 0 <= rank < world_size:
            raise ValueError(f"expected a rank below {world_size}, got {rank}")
        if not dataset.entities:
            raise ValueError("expected a data set with entities, got an empty one")
        self.options = options
        self._lengths = [entity.num_frames for entity in dataset.entities]
        changes = Changes(
            options.seed, options.augment, options.shifted_share, options.foreign_share
        )
        self._maker = BatchMaker(dataset, inputs, changes, rank, world_size)
        self._plans: list[tuple[int, BatchPlan]] = []  # read by the workers' sampler
        self._workers: Iterable[Batch | Failure] | None = None

    def len_epoch(self, number: int) -> int:
        """Return the number of batches of an epoch; it is the same in all processes."""
        return len(self._plan(number))

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch without the first `skip`, which are not read either.

        Raises:
            RuntimeError: A reading process was killed.
            ValueError, OSError: The data cannot be read; names the file.
        """
        plans = [(number, plan) for plan in self._plan(number)[skip:]]
        if self.options.n_data_loader_thread == 0:
            for plan in plans:
                yield _opened(self._maker[plan])
            return
        self._plans[:] = plans
        if self._workers is None:
            self._workers = _start(self._maker, self._plans, self.options.n_data_loader_thread)
        try:
            for made in self._workers:
                yield _opened(made)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            self._workers = None
            raise RuntimeError(
                "a process that reads data was killed, perhaps for want of memory; start again, "
                "with a smaller --nDataLoaderThread if need be; the last checkpoint goes on from "
                f"where it was saved ({error})"
            ) from error

    def _plan(self, number: int) -> list[BatchPlan]:
        options = self.options
        rng = np.random.default_rng((options.seed, number, ORDER))
        if options.whole:
            return plan_whole(self._lengths)
        if options.published_batches:
            return plan_published(self._lengths, options.batch_size, rng)
        return plan_batches(self._lengths, options.batch_size, options.max_clip, rng)


def _start(
    maker: BatchMaker, plans: Sequence[tuple[int, BatchPlan]], num_workers: int
) -> Iterable[Batch | Failure]:
    """Start reading processes that stay for all epochs; they get the plans as they stand then.

    They are started afresh, not forked: a fork would copy the threads and locks of the libraries.
    """
    import torch
    from torch.utils.data import DataLoader

    return DataLoader(
        cast("Any", maker),  # all that is asked of it is items by their keys
        sampler=cast("Any", plans),
        batch_size=None,
        num_workers=num_workers,
        multiprocessing_context="spawn",
        persistent_workers=True,
        pin_memory=torch.cuda.is_available(),
    )


def _opened(made: Batch | Failure) -> Batch:
    if isinstance(made, Failure):
        raise made.error
    return made
