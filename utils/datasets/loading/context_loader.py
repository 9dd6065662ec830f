"""Batches for context networks, from the stored embeddings of a clip network."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import UNLABELLED
from utils.datasets.loading.training_batch import TrainingBatch
from utils.datasets.loading.workers import (
    BatchReader,
    RowPlan,
    check_batching,
    check_share,
    plan_rows,
)
from utils.datasets.storage.feature_store import FeatureStore, VideoFeatures
from utils.structures import ContextSpec
from utils.tracking.contexts import (
    Choice,
    FaceMoments,
    context_rows,
    drawn_choice,
    gather,
    moments_of,
    ranked_choice,
)

ORDER = 0  # part of a random generator's seed, by purpose


@dataclass(frozen=True)
class ContextLoaderOptions:
    """Options of `ContextLoader`."""

    batch_size: int = 64  # contexts
    n_data_loader_thread: int = 0  # worker processes; 0 reads in the main process
    seed: int = 0
    draw: bool = False  # random rows and faces; else all in order, faces by size

    def __post_init__(self) -> None:
        check_batching(self.batch_size, self.n_data_loader_thread, self.seed)


class ContextLoader:
    """Yields the batches of a feature store, epoch by epoch; each has every row once.

    Batches depend only on the seed and the epoch's number, as those of `ClipLoader`.
    """

    def __init__(
        self,
        store: FeatureStore,
        context: ContextSpec,
        options: ContextLoaderOptions,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Prepare loading; no embeddings are read yet.

        Args:
            store: Embeddings of the network's encoder.
            context: Inputs of the network.
            options: How batches are made.
            share: Rank and world size.
        """
        check_share(share)
        self.options, self._share = options, share
        self._counts = np.array(store.num_rows, np.int64)
        maker = ContextBatchMaker(store, context, options)
        self._reading = BatchReader(maker, options.n_data_loader_thread)

    def len_epoch(self, number: int) -> int:  # noqa: ARG002
        """Return the number of batches of an epoch; it is the same in all processes."""
        return -(-int(self._counts.sum()) // self.options.batch_size)

    def epoch(self, number: int, skip: int = 0) -> Iterator[TrainingBatch]:
        """Yield the batches of an epoch after the first `skip`, which are not read."""
        order = np.arange(self._counts.sum())
        if self.options.draw:
            order = np.random.default_rng((self.options.seed, number, ORDER)).permutation(order)
        ends = np.cumsum(self._counts)
        videos = np.searchsorted(ends, order, side="right")
        rows = np.stack([videos, order - (ends - self._counts)[videos]], axis=1)
        plans = plan_rows(number, rows, self.options.batch_size, self._share)
        return self._reading.batches(plans[skip:])


class _Video(NamedTuple):
    """A video of the store; its embeddings are memory-mapped."""

    features: VideoFeatures
    faces: FaceMoments
    by_size: Choice


class ContextBatchMaker:
    """Makes the batches of `ContextLoader`; runs in worker processes, caches videos' rows."""

    def __init__(
        self, store: FeatureStore, context: ContextSpec, options: ContextLoaderOptions
    ) -> None:
        self._store, self._context, self._options = store, context, options
        self._videos: dict[int, _Video] = {}

    def make(self, plan: RowPlan) -> TrainingBatch:
        """Return this rank's share of a batch."""
        import torch

        rows = plan.rows[list(plan.indices)]
        spec = self._context
        shape = (spec.num_speakers, spec.length, self._store.form.num_embedding)
        dtype = np.float16 if self._store.form.half else np.float32
        embeddings = np.empty((len(rows), *shape), dtype)
        labels = np.full((len(rows), 1), UNLABELLED, np.int8)
        for index, number in enumerate(plan.indices):
            video_index, row = rows[index].tolist()
            video = self._video(video_index)
            choose = video.by_size
            if self._options.draw:
                seed = f"{self._options.seed} {plan.epoch} {plan.number} {number}"
                choose = drawn_choice(spec, random.Random(seed))
            context = context_rows(video.faces, [row], spec, choose)[0]
            embeddings[index] = gather(video.features.embeddings, context)
            labels[index] = video.features.labels[row]
        mask, target = torch.from_numpy(labels != UNLABELLED), torch.from_numpy(labels)
        faces = torch.from_numpy(embeddings).float()  # ten times faster than in NumPy
        return TrainingBatch(rows, torch.zeros(len(rows), 0), faces, target, mask, speech=target)

    def _video(self, number: int) -> _Video:
        if number not in self._videos:
            features = self._store.read(number)
            faces = FaceMoments(features.counts, moments_of(features.timestamps))
            by_size = ranked_choice(self._context, faces, box_areas(features))
            self._videos[number] = _Video(features, faces, by_size)
        return self._videos[number]


def box_areas(features: VideoFeatures) -> NDArray[np.float64]:
    """Return the area of each row's box, (N,); zeros if the store has no boxes."""
    if features.boxes is None:
        return np.zeros(len(features))
    sides = (features.boxes[:, 2:] - features.boxes[:, :2]).astype(np.float64)
    return np.asarray(sides.prod(axis=1), np.float64)
