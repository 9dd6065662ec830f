"""Plan the batches of an epoch: which parts of which entities are read together."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

LEAST_PART = 10  # frames; a shorter remainder is padded up to instead of read by itself
KEPT_SHARE = 0.5  # of the longest clip of a batch: no clip is cut to less
PAD_SHARE = 0.1  # of the clip: a longer remainder is read by itself


@dataclass(frozen=True)
class Item:
    """Frames [start, stop) of an entity."""

    entity: int  # index in the data set
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class BatchPlan:
    """What is read together; `number` is its place in the epoch."""

    number: int
    num_frames: int  # T of the batch; shorter clips are padded
    items: tuple[Item, ...]


def rows_of(items: Sequence[Item]) -> NDArray[np.int64]:
    """Return entity, start and stop of each item, (B, 3)."""
    bounds = [(item.entity, item.start, item.stop) for item in items]
    return np.array(bounds, np.int64).reshape(-1, 3)


def plan_batches(
    lengths: Sequence[int], budget: int, max_clip: int, rng: np.random.Generator
) -> list[BatchPlan]:
    """Return the batches of an epoch; every frame of every entity stands in exactly one.

    The longest clips go first; a batch holds as many as fit `budget` frames. In it clips are cut
    to the shortest, and what remains of each comes back as a clip of its own; remainders of a
    few frames stay where they are and the others are padded. Entities of one length are drawn
    in random order, and so are the batches.

    Args:
        lengths: Frames of each entity.
        budget: Frames of a batch.
        max_clip: No clip is longer; 0 leaves that to the budget.
        rng: Chooses the order.
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
            if length - common >= max(LEAST_PART, PAD_SHARE * common):
                heapq.heappush(pool, (common - length, draw, entity, start + common))
                length = common
            items.append(Item(entity, start, start + length))
        batches.append(items)
    return _shuffled(batches, rng)


def plan_published(
    lengths: Sequence[int], budget: int, rng: np.random.Generator
) -> list[BatchPlan]:
    """Return the batches as published: all clips of one cut to the shortest, the rest lost."""
    order = sorted(range(len(lengths)), key=lambda entity: (lengths[entity], entity), reverse=True)
    batches = []
    start = 0
    while start < len(order):
        count = max(1, budget // lengths[order[start]])
        entities = order[start : start + count]
        common = lengths[entities[-1]]
        batches.append([Item(entity, 0, common) for entity in entities])
        start += count
    return _shuffled(batches, rng)


def plan_whole(lengths: Sequence[int]) -> list[BatchPlan]:
    """Return one batch for each entity, whole and in order, as for evaluation."""
    return [
        BatchPlan(number, length, (Item(number, 0, length),))
        for number, length in enumerate(lengths)
    ]


def _pieces(lengths: Sequence[int], longest: int) -> list[Item]:
    """Cut entities into the fewest equal pieces that are not longer than `longest`."""
    items = []
    for entity, length in enumerate(lengths):
        count = -(-length // longest)
        bounds = [length * part // count for part in range(count + 1)]
        items += [Item(entity, start, stop) for start, stop in pairwise(bounds)]
    return items


def _with_draws(items: list[Item], rng: np.random.Generator) -> list[tuple[Item, float]]:
    return list(zip(items, rng.random(len(items)).tolist(), strict=True))


def _shuffled(batches: list[list[Item]], rng: np.random.Generator) -> list[BatchPlan]:
    """Return the batches in random order, numbered."""
    return [
        BatchPlan(number, max(map(len, batches[index])), tuple(batches[index]))
        for number, index in enumerate(rng.permutation(len(batches)).tolist())
    ]
