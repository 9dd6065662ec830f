"""The nearest groups are joined first; what must stay apart stays apart."""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.made_faces import directions
from utils.people.linkage import MARGIN, average_linkage, clear_pairs


def made_vectors(num: int, seed: int, noise: float = 0.15) -> NDArray[np.float32]:
    """Return noisy unit vectors (num, C) of three people."""
    rng = np.random.default_rng(seed)
    vectors = directions(3)[rng.integers(0, 3, num)] + noise * rng.normal(size=(num, 64))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(unit, np.float32)


def slow_linkage(
    vectors: NDArray[np.float32], apart: NDArray[np.bool_], least: float
) -> list[set[int]]:
    """Join by the definition: compare all pairs of clusters anew each time."""
    clusters = [{i} for i in range(len(vectors))]
    while True:
        pairs = []
        for one, two in combinations(clusters, 2):
            members = np.ix_(sorted(one), sorted(two))
            if not apart[members].any():
                pairs.append(((vectors @ vectors.T)[members].mean(), one, two))
        best = max(pairs, key=lambda pair: pair[0], default=None)
        if best is None or best[0] < least:
            return clusters
        clusters = [one for one in clusters if one not in best[1:]] + [best[1] | best[2]]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("least", [0.3, 0.6, -1.0])
def test_average_linkage_follows_its_definition(seed: int, least: float) -> None:
    vectors = made_vectors(16, seed)
    rng = np.random.default_rng(seed)
    apart = rng.random((16, 16)) < 0.05
    apart |= apart.T
    np.fill_diagonal(apart, False)
    labels = average_linkage(vectors, np.ones(16, np.int64), apart, least)
    found = [set(np.flatnonzero(labels == one).tolist()) for one in range(labels.max() + 1)]
    assert found == sorted(slow_linkage(vectors, apart, least), key=min)


def test_groups_count_by_their_size() -> None:
    """Joining the halves of a set first gives what their members would give."""
    vectors = made_vectors(24, 1, noise=0.1)
    halves = [range(12), range(12, 24)]
    groups: list[NDArray[np.float32]] = []
    owners = np.zeros(24, np.int64)
    for half in halves:
        part = vectors[half.start : half.stop]
        free = np.zeros((12, 12), bool)
        labels = average_linkage(part, np.ones(12, np.int64), free, 0.5)
        owners[half.start : half.stop] = len(groups) + labels
        groups += [part[labels == one] for one in range(labels.max() + 1)]
    means = np.stack([group.mean(axis=0) for group in groups])
    sizes = np.array([len(group) for group in groups])
    apart = np.zeros((len(groups),) * 2, bool)
    labels = average_linkage(means, sizes, apart, 0.3)[owners]
    whole = average_linkage(vectors, np.ones(24, np.int64), np.zeros((24, 24), bool), 0.3)
    assert labels.tolist() == whole.tolist()


def test_nothing_to_join() -> None:
    none = np.zeros((0, 64), np.float32)
    assert average_linkage(none, np.zeros(0, np.int64), np.zeros((0, 0), bool), 0.5).tolist() == []
    one = directions(1)
    assert average_linkage(one, np.ones(1, np.int64), np.zeros((1, 1), bool), 0.5).tolist() == [0]
    sizes, least = np.ones(1, np.int64), np.zeros(1, np.float32)
    assert clear_pairs(one, sizes, np.zeros((1, 1), bool), least) == []


def at(*similarities: float) -> NDArray[np.float32]:
    """Return vectors whose first has these cosines with the others, all at right angles."""
    first = [*similarities, np.sqrt(1 - np.sum(np.square(similarities)))]
    return np.array([first, *np.eye(len(first))[: len(similarities)]], np.float32)


@pytest.mark.parametrize(
    ("similarities", "sizes", "apart", "pairs"),
    [
        ((0.4, 0.1), (1, 3, 3), None, [(0, 1)]),
        ((0.2, 0.0), (1, 3, 3), None, []),
        ((0.4, 0.4 - MARGIN + 0.01), (1, 3, 3), None, []),
        ((0.4, 0.1), (1, 3, 3), 1, []),
        ((0.4, 0.3), (1, 3, 3), 2, []),
        ((0.4, 0.1), (4, 3, 3), None, [(1, 0)]),
        ((0.4, 0.35), (4, 3, 3), None, [(1, 0)]),
    ],
    ids=[
        "clear",
        "too far",
        "two are as near",
        "the nearest is seen beside it",
        "a rival counts even if it is seen beside it",
        "the smaller one moves",
        "one at a time",
    ],
)
def test_clear_pairs(
    similarities: tuple[float, ...],
    sizes: tuple[int, ...],
    apart: int | None,
    pairs: list[tuple[int, int]],
) -> None:
    together = np.zeros((3, 3), bool)
    if apart is not None:
        together[0, apart] = together[apart, 0] = True
    least = np.full(3, 0.25, np.float32)
    assert clear_pairs(at(*similarities), np.array(sizes), together, least) == pairs
