"""Batches for training and evaluation: planned, read, changed and turned into tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from utils.datasets.entities import DataSet
from utils.datasets.loading.batch_plans import BatchPlan, plan_batches, plan_published, plan_whole
from utils.datasets.loading.sequence_batches import BatchMaker, Changes
from utils.datasets.loading.speaker_batches import SpeakerBatchMaker
from utils.datasets.loading.speaker_choice import SpeakerOptions
from utils.datasets.loading.training_batch import TrainingBatch
from utils.datasets.loading.workers import Reading, check_share
from utils.errors import UserError
from utils.structures import InputSpec

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
    speakers: Annotated[
        SpeakerOptions | None, "whom a face is compared with; None for networks that see one face"
    ] = None
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
                raise UserError(f"--{flag} must be {least} or more, got {value}")
        shares = (self.shifted_share, self.foreign_share)
        if min(shares) < 0 or sum(shares) > 1:
            raise UserError(
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
        inputs: InputSpec,
        options: LoaderOptions,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Prepare to load; reading begins with `epoch`."""
        check_share((rank, world_size))
        if not dataset.entities:
            raise UserError("expected a data set with entities, got an empty one")
        self.options = options
        self._lengths = [entity.num_frames for entity in dataset.entities]
        changes = Changes(
            options.seed, options.augment, options.shifted_share, options.foreign_share
        )
        maker = BatchMaker(dataset, inputs, changes, rank, world_size)
        if options.speakers is not None:
            maker = SpeakerBatchMaker(dataset, inputs, changes, rank, world_size, options.speakers)
        self._reading = Reading(maker, options.n_data_loader_thread)

    def len_epoch(self, number: int) -> int:
        """Return the number of batches of an epoch; it is the same in all processes."""
        return len(self._plan(number))

    def epoch(self, number: int, skip: int = 0) -> Iterator[TrainingBatch]:
        """Yield the batches of an epoch without the first `skip`, which are not read either.

        Raises:
            RuntimeError: A reading process was killed.
            UserError, OSError: The data cannot be read; names the file.
        """
        plans = [(number, plan) for plan in self._plan(number)[skip:]]
        return self._reading.batches(plans)

    def _plan(self, number: int) -> list[BatchPlan]:
        options = self.options
        rng = np.random.default_rng((options.seed, number, ORDER))
        if options.whole:
            return plan_whole(self._lengths)
        if options.published_batches:
            return plan_published(self._lengths, options.batch_size, rng)
        return plan_batches(self._lengths, options.batch_size, options.max_clip, rng)
