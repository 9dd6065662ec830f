"""Plan the batches of an epoch: which frames of which entities go into which batch."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MIN_REMAINDER = 10  # frames; for a shorter remainder, the batch is padded instead
KEPT_SHARE = 0.5  # of the longest item of a batch: no item is cut to less
PAD_SHARE = 0.1  # of an item: a longer remainder becomes a separate item


@dataclass(frozen=True)
class EntityRange:
    """Frames [start, stop) of an entity."""

    entity: int  # index in the data set
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class BatchPlan:
    """One batch; `number` is its position in the epoch."""

    number: int
    num_frames: int  # T of the batch; shorter items are padded
    items: tuple[EntityRange, ...]


def rows_of(items: Sequence[EntityRange]) -> NDArray[np.int64]:
    """Return entity, start and stop of each item, (B, 3)."""
    bounds = [(item.entity, item.start, item.stop) for item in items]
    return np.array(bounds, np.int64).reshape(-1, 3)


def plan_batches(
    lengths: Sequence[int], budget: int, max_clip: int, rng: np.random.Generator
) -> list[BatchPlan]:
    """Return the batches of an epoch; every frame of every entity is in exactly one.

    Items are batched by descending length; a batch holds as many as fit `budget` frames. They are
    cut to the shortest of them, and each remainder is batched again as a separate item. Short
    remainders are not cut off; the other items are padded instead. Items of equal length are in
    random order, and so are the batches.

    Args:
        lengths: Frames of each entity.
        budget: Frames of a batch.
        max_clip: Maximum length of an item; 0 for the budget.
        rng: Draws the order.
    """
    pool = [
        (-len(item), float(draw), item.entity, item.start)
        for item, draw in _with_draws(_pieces(lengths, min(budget, max_clip or budget)), rng)
    ]
    heapq.heapify(pool)
    batches = []
    while pool:
        longest = -pool[0][0]
        taken = [heapq.heappop(pool)]
        while pool and len(taken) < budget // longest and -pool[0][0] >= KEPT_SHARE * longest:
            taken.append(heapq.heappop(pool))
        common = -taken[-1][0]
        items = []
        for negative, draw, entity, start in taken:
            length = -negative
            if length - common >= max(MIN_REMAINDER, PAD_SHARE * common):
                heapq.heappush(pool, (common - length, draw, entity, start + common))
                length = common
            items.append(EntityRange(entity, start, start + length))
        batches.append(items)
    return _shuffled(batches, rng)


def plan_original(lengths: Sequence[int], budget: int, rng: np.random.Generator) -> list[BatchPlan]:
    """Return the batches as in TalkNet: items are cut to the shortest, remainders are dropped."""
    order = sorted(range(len(lengths)), key=lambda entity: (lengths[entity], entity), reverse=True)
    batches = []
    start = 0
    while start < len(order):
        count = max(1, budget // lengths[order[start]])
        entities = order[start : start + count]
        common = lengths[entities[-1]]
        batches.append([EntityRange(entity, 0, common) for entity in entities])
        start += count
    return _shuffled(batches, rng)


def plan_whole(lengths: Sequence[int]) -> list[BatchPlan]:
    """Return one batch per entity, whole and in order, for evaluation."""
    return [
        BatchPlan(number, length, (EntityRange(number, 0, length),))
        for number, length in enumerate(lengths)
    ]


def _pieces(lengths: Sequence[int], longest: int) -> list[EntityRange]:
    """Cut entities into as few equal parts as possible, of at most `longest` frames."""
    items = []
    for entity, length in enumerate(lengths):
        count = -(-length // longest)
        bounds = [length * part // count for part in range(count + 1)]
        items += [EntityRange(entity, start, stop) for start, stop in pairwise(bounds)]
    return items


def _with_draws(
    items: list[EntityRange], rng: np.random.Generator
) -> list[tuple[EntityRange, float]]:
    return list(zip(items, rng.random(len(items)).tolist(), strict=True))


def _shuffled(batches: list[list[EntityRange]], rng: np.random.Generator) -> list[BatchPlan]:
    """Return the batches in random order, numbered."""
    return [
        BatchPlan(number, max(map(len, batches[index])), tuple(batches[index]))
        for number, index in enumerate(rng.permutation(len(batches)).tolist())
    ]
