"""Batches of chunks to train a localizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from utils.datasets.tragic_talkers.chunks import CHUNK_FRAMES, AudioChunk
from utils.datasets.tragic_talkers.features import FeatureSource
from utils.datasets.tragic_talkers.scaler import Scaler
from utils.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

AHEAD = 2  # batches read in advance


class ChunkBatch(NamedTuple):
    """Scaled features of 2 s of audio, and the labels of its K views."""

    features: Tensor  # (B, 16, 960, 64) float32
    cameras: Tensor  # (B, K) int64, index in their rig
    positions: Tensor  # (B, K, 60) float32, fraction of the view's width
    located: Tensor  # (B, K, 60) bool, whether the position is that of a speaker
    speaking: Tensor  # (B, K, 60) bool
    counted: Tensor  # (B, K) bool, False for padding if some audio has fewer views


@dataclass(frozen=True)
class ChunkLoaderOptions:
    """How batches are made."""

    batch_size: Annotated[int, "chunks per batch; with group_cameras, pieces of audio"] = 32
    seed: Annotated[int, "seed of the order"] = 42
    shuffle: Annotated[bool, "random order"] = True
    group_cameras: Annotated[
        bool,
        "train on all cameras of a rig with one piece of audio at once: an epoch costs an "
        "eleventh; published: single views in random order",
    ] = False
    num_threads: Annotated[int, "threads that read or compute features"] = 2

    def __post_init__(self) -> None:
        for flag, count in (("batchSize", self.batch_size), ("numThreads", self.num_threads)):
            if count < 1:
                raise UserError(f"--{flag} must be at least 1, got {count}")


class ChunkLoader:
    """Yields batches of chunks, epoch by epoch; the last batch of an epoch may be smaller.

    Batches depend only on the seed and the epoch's number; each of `world_size` processes gets its
    share of every batch.

    Args:
        chunks: All chunks of `source`.
        chosen: Indices of the chunks to load.
        source: Provides the features.
        scaler: Scales the features.
        options: How batches are made.
        share: Rank and world size.
    """

    def __init__(
        self,
        chunks: Sequence[AudioChunk],
        chosen: Sequence[int],
        source: FeatureSource,
        scaler: Scaler,
        options: ChunkLoaderOptions,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        if scaler.feature != source.feature:
            raise UserError(
                f"expected a scaler of {source.feature}, the loaded feature, got one of "
                f"{scaler.feature}"
            )
        if not len(chosen):
            raise UserError("expected chunks to load, got none")
        self.chunks, self.source, self.scaler = chunks, source, scaler
        self.options, self.share = options, share
        groups: dict[int, list[int]] = {}
        for number in chosen:
            groups.setdefault(source.groups[number], []).append(number)
        self.items = list(groups.values()) if options.group_cameras else [[n] for n in chosen]

    def len_epoch(self, number: int) -> int:  # noqa: ARG002 - the same for all epochs
        """Return the number of batches of an epoch."""
        return -(-len(self.items) // self.options.batch_size)

    def epoch(self, number: int, skip: int = 0) -> Iterator[ChunkBatch]:
        """Yield the batches of an epoch, counted from 1, after the first `skip`."""
        size, (rank, world_size) = self.options.batch_size, self.share
        order = np.arange(len(self.items))
        if self.options.shuffle:
            order = np.random.default_rng((self.options.seed, number)).permutation(order)
        starts = range(skip * size, len(order), size)
        plans = [order[start : start + size].tolist()[rank::world_size] for start in starts]
        ahead: list[tuple[list[list[int]], list[Future[NDArray[np.floating]]]]] = []
        with ThreadPoolExecutor(self.options.num_threads) as pool:
            for index in range(len(plans) + AHEAD):
                if index < len(plans):
                    views = [self.items[item] for item in plans[index]]
                    futures = [pool.submit(self.source.read, numbers[0]) for numbers in views]
                    ahead.append((views, futures))
                if (index >= AHEAD or index >= len(plans)) and ahead:
                    yield self._batch(*ahead.pop(0))

    def _batch(
        self, views: Sequence[Sequence[int]], futures: Sequence[Future[NDArray[np.floating]]]
    ) -> ChunkBatch:
        """Return a batch; a process's share of a small batch may be empty."""
        import torch

        shape = (len(views), max(map(len, views), default=1))
        counted = np.zeros(shape, np.bool_)
        cameras = np.zeros(shape, np.int64)
        positions = np.zeros((*shape, CHUNK_FRAMES), np.float32)
        located, speaking = np.zeros((2, *shape, CHUNK_FRAMES), np.bool_)
        for row, numbers in enumerate(views):
            for column, number in enumerate(numbers):
                chunk = self.chunks[number]
                counted[row, column] = True
                cameras[row, column] = chunk.view.rig_index
                positions[row, column] = chunk.positions
                located[row, column] = chunk.located
                speaking[row, column] = chunk.speaking
        scaled = [self.scaler(future.result()) for future in futures]
        features = np.stack(scaled) if scaled else np.zeros((0, *self._shape()), np.float32)
        arrays = (features, cameras, positions, located, speaking, counted)
        return ChunkBatch(*(torch.from_numpy(array) for array in arrays))

    def _shape(self) -> tuple[int, ...]:
        return self.source.read(self.items[0][0]).shape
