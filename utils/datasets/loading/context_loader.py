"""Batches for networks that compare faces, from what a clip network made of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import UNLABELLED
from utils.datasets.loading.training_batch import TrainingBatch
from utils.datasets.loading.workers import Reading, RowPlan, check_batching, check_share, plan_rows
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

ORDER = 0  # a generator's purpose


@dataclass(frozen=True)
class ContextLoaderOptions:
    """How batches of contexts are made."""

    batch_size: int = 64  # contexts
    n_data_loader_thread: int = 0  # processes that read; 0 reads in the main one
    seed: int = 0
    draw: bool = False  # rows and other faces at random; else in order, faces by their size

    def __post_init__(self) -> None:
        check_batching(self.batch_size, self.n_data_loader_thread, self.seed)


class ContextLoader:
    """Gives the batches of a feature store, epoch after epoch; every row once in each.

    They depend on the seed and the epoch's number alone, as those of `ClipLoader`.
    """

    def __init__(
        self,
        store: FeatureStore,
        context: ContextSpec,
        options: ContextLoaderOptions,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Prepare to load.

        Args:
            store: Features of the encoder that the network reads.
            context: What the network reads.
            options: How.
            share: Rank and world size.
        """
        check_share(share)
        self.options, self._share = options, share
        self._counts = np.array(store.num_rows, np.int64)
        maker = ContextMaker(store, context, options)
        self._reading = Reading(maker, options.n_data_loader_thread)

    def len_epoch(self, number: int) -> int:  # noqa: ARG002
        """Return the number of batches of an epoch; it is the same in all processes."""
        return -(-int(self._counts.sum()) // self.options.batch_size)

    def epoch(self, number: int, skip: int = 0) -> Iterator[TrainingBatch]:
        """Yield the batches of an epoch without the first `skip`, which are not read either."""
        order = np.arange(self._counts.sum())
        if self.options.draw:
            order = np.random.default_rng((self.options.seed, number, ORDER)).permutation(order)
        ends = np.cumsum(self._counts)
        videos = np.searchsorted(ends, order, side="right")
        rows = np.stack([videos, order - (ends - self._counts)[videos]], axis=1)
        plans = plan_rows(number, rows, self.options.batch_size, self._share)
        return self._reading.batches(plans[skip:])


class _Video(NamedTuple):
    """What is held of each video; its embeddings stay in the file."""

    features: VideoFeatures
    faces: FaceMoments
    by_size: Choice


class ContextMaker:
    """Makes batches of plans; goes to the reading processes. Holds the rows' keys of all videos."""

    def __init__(
        self, store: FeatureStore, context: ContextSpec, options: ContextLoaderOptions
    ) -> None:
        self._store, self._context, self._options = store, context, options
        self._videos: dict[int, _Video] = {}

    def make(self, plan: RowPlan) -> TrainingBatch:
        """Return one process' share of a batch."""
        import torch

        own = plan.rows[list(plan.places)]
        form = self._context
        shape = (form.num_speakers, form.length, self._store.form.num_embedding)
        dtype = np.float16 if self._store.form.half else np.float32
        embeddings = np.empty((len(own), *shape), dtype)
        labels = np.full((len(own), 1), UNLABELLED, np.int8)
        for index, place in enumerate(plan.places):
            number, row = own[index].tolist()
            video = self._video(number)
            choose = video.by_size
            if self._options.draw:
                seed = f"{self._options.seed} {plan.epoch} {plan.number} {place}"
                choose = drawn_choice(form, random.Random(seed))
            rows = context_rows(video.faces, [row], form, choose)[0]
            embeddings[index] = gather(video.features.embeddings, rows)
            labels[index] = video.features.labels[row]
        mask, target = torch.from_numpy(labels != UNLABELLED), torch.from_numpy(labels)
        whole = torch.from_numpy(embeddings).float()  # at once: NumPy's own way is ten times slower
        return TrainingBatch(own, torch.zeros(len(own), 0), whole, target, mask, speech=target)

    def _video(self, number: int) -> _Video:
        if number not in self._videos:
            features = self._store.read(number)
            faces = FaceMoments(features.counts, moments_of(features.timestamps))
            by_size = ranked_choice(self._context, faces, box_areas(features))
            self._videos[number] = _Video(features, faces, by_size)
        return self._videos[number]


def box_areas(features: VideoFeatures) -> NDArray[np.float64]:
    """Return the area of each row's box, (N,); zeros where boxes are not known."""
    if features.boxes is None:
        return np.zeros(len(features))
    sides = (features.boxes[:, 2:] - features.boxes[:, :2]).astype(np.float64)
    return np.asarray(sides.prod(axis=1), np.float64)
