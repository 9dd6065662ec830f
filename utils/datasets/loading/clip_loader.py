"""Batches for networks that score one frame from the clip around it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import (
    NOT_SPEAKING,
    SPEAKING,
    UNLABELLED,
    DataSet,
    EntityPart,
    read_labels,
)
from utils.datasets.loading.clip_augmentation import ClipAugmentation, augment_clip, resize_faces
from utils.datasets.loading.sequence_batches import check_colour
from utils.datasets.loading.training_batch import TrainingBatch
from utils.datasets.loading.workers import (
    BatchReader,
    RowPlan,
    check_batching,
    check_share,
    plan_rows,
)
from utils.errors import UserError
from utils.features import feature_function
from utils.structures import ClipSpec, InputSpec
from utils.tracking.contexts import moments_of, rows_around


class SpeechTimes:
    """For all labelled times of a data set, whether any face of the video speaks."""

    def __init__(self, labelled: Mapping[str, NDArray[np.int64]]) -> None:
        """Store (2, N) for each video: sorted times as integers, and 1 if anybody speaks else 0."""
        self._labelled = labelled

    @classmethod
    def of(cls, dataset: DataSet) -> SpeechTimes:
        """Read all labels of a data set."""
        found: defaultdict[str, list[NDArray[np.int64]]] = defaultdict(list)
        for index, entity in enumerate(dataset.entities):
            labels, times = read_labels(dataset, index)
            labelled = labels != UNLABELLED
            found[entity.video].append(np.stack([moments_of(times), labels])[:, labelled])
        return cls({video: _merged(np.concatenate(rows, axis=1)) for video, rows in found.items()})

    def at(self, video: str, timestamps: NDArray[np.float64]) -> NDArray[np.int8]:
        """Return 1, 0, or -1 if nobody is labelled, for each time (N,)."""
        times, speaking = self._labelled[video]
        if not len(times):
            return np.full(len(timestamps), UNLABELLED, np.int8)
        moments = moments_of(timestamps)
        indices = np.searchsorted(times, moments).clip(max=len(times) - 1)
        return np.where(times[indices] == moments, speaking[indices], UNLABELLED).astype(np.int8)


def _merged(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each time once, with the largest of its labels."""
    moments, labels = rows
    times, inverse = np.unique(moments, return_inverse=True)
    speaking = np.full(len(times), NOT_SPEAKING, np.int64)
    np.maximum.at(speaking, inverse, labels == SPEAKING)
    return np.stack([times, speaking])


ORDER, CLIP = 0, 1  # part of a random generator's seed, by purpose


@dataclass(frozen=True)
class ClipLoaderOptions:
    """Options of `ClipLoader`."""

    batch_size: int = 128  # clips
    n_data_loader_thread: int = 4  # worker processes; 0 reads in the main process
    seed: int = 0
    augment: bool = False
    changes: ClipAugmentation = field(default_factory=ClipAugmentation)
    every_row: bool = False  # all frames in order, without `speech`; else one random per entity

    def __post_init__(self) -> None:
        check_batching(self.batch_size, self.n_data_loader_thread, self.seed)


class ClipLoader:
    """Yields the batches of a data set, epoch by epoch.

    An epoch has one clip of each entity, around a random frame, or the clips of all frames.
    Batches depend only on the seed and the epoch's number, not on the number of worker or training
    processes: each of `world_size` ranks gets its share of every batch, which may be empty.
    """

    def __init__(
        self,
        dataset: DataSet,
        inputs: InputSpec,
        clip: ClipSpec,
        options: ClipLoaderOptions,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Prepare loading; reads all labels of the data set unless `every_row` is set.

        Args:
            dataset: Source of the clips.
            inputs: Inputs of the network.
            clip: Frames of a clip.
            options: How batches are made.
            share: Rank and world size.
        """
        check_share(share)
        if not dataset.entities:
            raise UserError("expected a data set with entities, got an empty one")
        self.options = options
        self._lengths = [entity.num_frames for entity in dataset.entities]
        speech = None if options.every_row else SpeechTimes.of(dataset)
        maker = ClipBatchMaker(dataset, inputs, clip, options, speech)
        self._share = share
        self._reading = BatchReader(maker, options.n_data_loader_thread)

    def len_epoch(self, number: int) -> int:  # noqa: ARG002
        """Return the number of batches of an epoch; it is the same in all processes."""
        count = sum(self._lengths) if self.options.every_row else len(self._lengths)
        return -(-count // self.options.batch_size)

    def epoch(self, number: int, skip: int = 0) -> Iterator[TrainingBatch]:
        """Yield the batches of an epoch after the first `skip`, which are not read.

        Raises:
            ResourceError: A worker process was killed.
            UserError, OSError: The data cannot be read; the message names the file.
        """
        rows = self._rows(number)
        plans = plan_rows(number, rows, self.options.batch_size, self._share)
        return self._reading.batches(plans[skip:])

    def _rows(self, number: int) -> NDArray[np.int64]:
        """Return the frames that an epoch scores, in order."""
        count = len(self._lengths)
        if self.options.every_row:
            rows = np.concatenate([np.arange(length) for length in self._lengths])
            return np.stack([np.repeat(np.arange(count), self._lengths), rows], axis=1)
        rng = np.random.default_rng((self.options.seed, number, ORDER))
        rows = rng.integers(0, self._lengths)
        entities = rng.permutation(count)
        return np.stack([entities, rows[entities]], axis=1)


class ClipBatchMaker:
    """Makes the batches of `ClipLoader`; runs in worker processes."""

    def __init__(
        self,
        dataset: DataSet,
        inputs: InputSpec,
        clip: ClipSpec,
        options: ClipLoaderOptions,
        speech: SpeechTimes | None,
    ) -> None:
        self._dataset, self._inputs, self._clip = dataset, inputs, clip
        self._options, self._speech = options, speech

    def make(self, plan: RowPlan) -> TrainingBatch:
        """Return this rank's share of a batch."""
        import torch

        rows = plan.rows[list(plan.indices)]
        edges = np.flatnonzero(np.diff(rows[:, 0])) + 1
        runs = np.split(rows, edges) if len(rows) else []
        clips = [self._clips(int(run[0, 0]), run[:, 1]) for run in runs] or [self._no_clips()]
        audio, faces, labels, speech = (np.concatenate(parts) for parts in zip(*clips, strict=True))
        if self._options.augment:
            for index, row in enumerate(plan.indices):
                key = (self._options.seed, plan.epoch, CLIP, plan.number, row)
                rng = np.random.default_rng(key)
                faces[index] = augment_clip(faces[index], self._options.changes, rng)
        arrays = (audio, faces, labels[:, None], (labels != UNLABELLED)[:, None], speech[:, None])
        return TrainingBatch(rows, *(torch.from_numpy(array) for array in arrays))

    def _clips(self, entity: int, centres: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        """Return audio, faces, labels and speech of clips of one entity, which is read once."""
        info = self._dataset.entities[entity]
        rows = rows_around(info.num_frames, centres, self._clip.length, self._clip.before)
        start = int(rows.min())
        part = self._dataset.read(entity, start, int(rows.max()) + 1)
        faces = self._faces(part)[rows - start]
        labels = part.labels[centres - start]
        speech = np.full(len(centres), UNLABELLED, np.int8)
        if self._speech is not None:
            speech = self._speech.at(info.video, part.timestamps[centres - start])
        return self._audio(part, rows - start), faces, labels, speech

    def _audio(self, part: EntityPart, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        compute = feature_function(self._inputs.feature)
        return compute(part.waveform, part.timestamps - part.timestamps[0], rows)

    def _faces(self, part: EntityPart) -> NDArray[np.uint8]:
        """Return the faces in the network's input size and colour."""
        check_colour(part.faces, self._inputs)
        return resize_faces(part.faces, self._inputs.size)

    def _no_clips(self) -> tuple[NDArray[Any], ...]:
        """Return empty arrays of the right shapes."""
        return tuple(array[:0] for array in self._clips(0, np.zeros(1, np.int64)))
