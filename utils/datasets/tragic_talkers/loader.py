"""Batches of chunks to train a localizer on."""

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

AHEAD = 2  # batches that are read while one is learned from


class ChunkBatch(NamedTuple):
    """Sounds of 2 s, scaled, and what is known of the K views that each is learned for."""

    features: Tensor  # (B, 16, 960, 64) float32
    cameras: Tensor  # (B, K) int64, from 0, at their rig
    positions: Tensor  # (B, K, 60) float32, fraction of the view's width
    located: Tensor  # (B, K, 60) bool, whether the position is a speaker's
    speaking: Tensor  # (B, K, 60) bool
    counted: Tensor  # (B, K) bool, False where a sound has fewer views than others


@dataclass(frozen=True)
class ChunkLoaderOptions:
    """How chunks come together."""

    batch_size: Annotated[int, "chunks of a batch, or sounds with group_cameras"] = 32
    seed: Annotated[int, "of the order"] = 42
    shuffle: Annotated[bool, "in random order"] = True
    group_cameras: Annotated[
        bool,
        "learn what a sound is to all cameras of its rig at once: an epoch costs an eleventh; "
        "published are single views in random order",
    ] = False
    num_threads: Annotated[int, "that read features or work them out"] = 2

    def __post_init__(self) -> None:
        for flag, count in (("batchSize", self.batch_size), ("numThreads", self.num_threads)):
            if count < 1:
                raise UserError(f"--{flag} must be at least 1, got {count}")


class ChunkLoader:
    """Gives batches of chunks, epoch after epoch; the last of an epoch may be smaller.

    An epoch's batches depend on the seed and its number alone; each of `world_size` processes
    gets its share of every batch.

    Args:
        chunks: All that `source` gives features of.
        chosen: Which of them are learned from, by place.
        source: Gives their features.
        scaler: They are scaled by it.
        options: How.
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
                f"expected a scaler of {source.feature}, the feature that is read, got one of "
                f"{scaler.feature}"
            )
        if not len(chosen):
            raise UserError("expected chunks to learn from, got none")
        self.chunks, self.source, self.scaler = chunks, source, scaler
        self.options, self.share = options, share
        sounds: dict[int, list[int]] = {}
        for number in chosen:
            sounds.setdefault(source.groups[number], []).append(number)
        self.items = list(sounds.values()) if options.group_cameras else [[n] for n in chosen]

    def len_epoch(self, number: int) -> int:  # noqa: ARG002 - all epochs are alike
        """Return the number of batches of an epoch."""
        return -(-len(self.items) // self.options.batch_size)

    def epoch(self, number: int, skip: int = 0) -> Iterator[ChunkBatch]:
        """Yield the batches of an epoch, from 1, without the first `skip`."""
        size, (rank, world_size) = self.options.batch_size, self.share
        order = np.arange(len(self.items))
        if self.options.shuffle:
            order = np.random.default_rng((self.options.seed, number)).permutation(order)
        starts = range(skip * size, len(order), size)
        plans = [order[start : start + size].tolist()[rank::world_size] for start in starts]
        ahead: list[tuple[list[list[int]], list[Future[NDArray[np.floating]]]]] = []
        with ThreadPoolExecutor(self.options.num_threads) as pool:
            for place in range(len(plans) + AHEAD):
                if place < len(plans):
                    views = [self.items[item] for item in plans[place]]
                    reading = [pool.submit(self.source.read, numbers[0]) for numbers in views]
                    ahead.append((views, reading))
                if (place >= AHEAD or place >= len(plans)) and ahead:
                    yield self._batch(*ahead.pop(0))

    def _batch(
        self, views: Sequence[Sequence[int]], reading: Sequence[Future[NDArray[np.floating]]]
    ) -> ChunkBatch:
        """Return a batch; a process may get none of a small one."""
        import torch

        most = max(map(len, views), default=1)
        shape = (len(views), most)
        counted = np.zeros(shape, np.bool_)
        cameras = np.zeros(shape, np.int64)
        positions = np.zeros((*shape, CHUNK_FRAMES), np.float32)
        located, speaking = np.zeros((2, *shape, CHUNK_FRAMES), np.bool_)
        for row, numbers in enumerate(views):
            for column, number in enumerate(numbers):
                chunk = self.chunks[number]
                counted[row, column] = True
                cameras[row, column] = chunk.view.place
                positions[row, column] = chunk.positions
                located[row, column] = chunk.located
                speaking[row, column] = chunk.speaking
        scaled = [self.scaler(done.result()) for done in reading]
        features = np.stack(scaled) if scaled else np.zeros((0, *self._shape()), np.float32)
        arrays = (features, cameras, positions, located, speaking, counted)
        return ChunkBatch(*(torch.from_numpy(array) for array in arrays))

    def _shape(self) -> tuple[int, ...]:
        return self.source.read(self.items[0][0]).shape
