"""Batches for networks that read whole sequences, for training and evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from utils.datasets.entities import DataSet
from utils.datasets.loading.batch_plans import BatchPlan, plan_batches, plan_original, plan_whole
from utils.datasets.loading.sequence_batches import (
    BatchSource,
    SequenceAugmentation,
    SequenceBatchMaker,
)
from utils.datasets.loading.speaker_batches import SpeakerBatchMaker
from utils.datasets.loading.speaker_choice import SpeakerOptions
from utils.datasets.loading.training_batch import TrainingBatch
from utils.datasets.loading.workers import BatchReader, check_share
from utils.errors import UserError
from utils.structures import InputSpec

ORDER = 0  # part of a random generator's seed, by purpose


@dataclass(frozen=True)
class SequenceLoaderOptions:
    """Options of `SequenceLoader`."""

    batch_size: Annotated[int, "frames per batch"] = 2500
    max_clip: Annotated[int, "longer entities are cut to this many frames; 0: batchSize"] = 0
    n_data_loader_thread: Annotated[int, "worker processes; 0 reads in the main process"] = 4
    seed: Annotated[int, "the same seed gives the same batches"] = 0
    augment: Annotated[bool, "flip, crop and rotate faces, mix noise into the audio"] = False
    shifted_share: Annotated[
        float,
        "share of speaking items whose audio is shifted by 0.3 to 2 s: not speaking",
    ] = 0.0
    foreign_share: Annotated[
        float, "share of speaking items that get another person's speech: not speaking"
    ] = 0.0
    whole: Annotated[bool, "one whole entity per batch, in order, for evaluation"] = False
    speakers: Annotated[
        SpeakerOptions | None, "other faces to draw; None for networks that read one face"
    ] = None
    published_batches: Annotated[
        bool, "cut all items of a batch to the shortest and drop the rest, as in the original"
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


class SequenceLoader:
    """Yields the batches of a data set, epoch by epoch.

    Batches depend only on the seed and the epoch's number, not on the number of worker or training
    processes: each of `world_size` ranks gets its share of every batch, which may be empty.
    """

    def __init__(
        self,
        dataset: DataSet,
        inputs: InputSpec,
        options: SequenceLoaderOptions,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Prepare loading; nothing is read before `epoch`."""
        check_share((rank, world_size))
        if not dataset.entities:
            raise UserError("expected a data set with entities, got an empty one")
        self.options = options
        self._lengths = [entity.num_frames for entity in dataset.entities]
        changes = SequenceAugmentation(
            options.seed, options.augment, options.shifted_share, options.foreign_share
        )
        source = BatchSource(dataset, inputs, changes, rank, world_size)
        maker = SequenceBatchMaker(source)
        if options.speakers is not None:
            maker = SpeakerBatchMaker(source, options.speakers)
        self._reading = BatchReader(maker, options.n_data_loader_thread)

    def len_epoch(self, number: int) -> int:
        """Return the number of batches of an epoch; it is the same in all processes."""
        return len(self._plan(number))

    def epoch(self, number: int, skip: int = 0) -> Iterator[TrainingBatch]:
        """Yield the batches of an epoch after the first `skip`, which are not read.

        Raises:
            ResourceError: A worker process was killed.
            UserError, OSError: The data cannot be read; the message names the file.
        """
        plans = [(number, plan) for plan in self._plan(number)[skip:]]
        return self._reading.batches(plans)

    def _plan(self, number: int) -> list[BatchPlan]:
        options = self.options
        rng = np.random.default_rng((options.seed, number, ORDER))
        if options.whole:
            return plan_whole(self._lengths)
        if options.published_batches:
            return plan_original(self._lengths, options.batch_size, rng)
        return plan_batches(self._lengths, options.batch_size, options.max_clip, rng)
