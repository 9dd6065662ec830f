"""The choice of the faces to compare: as published, and for scoring."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from utils.datasets.entities import EntityInfo, EntityPart
from utils.datasets.loading.speaker_choice import (
    ABSENT,
    SpeakerIndex,
    SpeakerOptions,
    draw_speakers,
    rows_at,
)

VALIDATION = SpeakerOptions(min_share=0.0)


def span(start: int, stop: int, length: int = 10) -> NDArray[np.int64]:
    """Rows of an entity that is visible at frames [start, stop) of a clip."""
    rows = np.full(length, ABSENT, np.int64)
    rows[start:stop] = np.arange(stop - start)
    return rows


def draws(rows: dict[int, NDArray[np.int64]], options: SpeakerOptions) -> Counter[tuple[int, ...]]:
    """Draw many times."""
    return Counter(
        tuple(draw_speakers(9, rows, options, np.random.default_rng(seed))) for seed in range(300)
    )


@pytest.mark.parametrize(
    ("spans", "train", "validation"),
    [
        ({}, {(9, 9, 9)}, {(9, 9, 9)}),
        ({1: (0, 5), 2: (6, 10)}, {(9, 9, 9)}, {(9, 9, 9)}),  # not at frame 5
        ({1: (0, 6)}, {(9, 1, 1)}, {(9, 1, 1)}),
        ({1: (5, 10)}, {(9, 9, 9)}, {(9, 1, 1)}),  # more than half is required
        (
            {1: (0, 10), 2: (5, 6), 3: (4, 10)},
            {(9, 1, 3), (9, 3, 1)},
            {(9, a, b) for a in (1, 2, 3) for b in (1, 2, 3) if a != b},
        ),
    ],
    ids=["alone", "not at the middle", "one", "half", "more than fit"],
)
def test_published_draw(
    spans: dict[int, tuple[int, int]],
    train: set[tuple[int, ...]],
    validation: set[tuple[int, ...]],
) -> None:
    rows = {entity: span(*frames) for entity, frames in spans.items()}
    assert set(draws(rows, SpeakerOptions())) == train
    assert set(draws(rows, VALIDATION)) == validation


def test_too_few_are_repeated_at_random() -> None:
    rows = {entity: span(0, 10) for entity in (1, 2)}
    found = draws(rows, SpeakerOptions(num_speakers=5))
    assert {frozenset(drawn[1:3]) for drawn in found} == {frozenset((1, 2))}
    assert {drawn[3:] for drawn in found} == {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert min(found.values()) > 15  # of 300, eight ways


@pytest.mark.parametrize(
    ("times", "moments", "expected"),
    [
        ([1.0, 1.04, 1.08], [1.0, 1.04, 1.08], [0, 1, 2]),
        ([1.0, 1.04, 1.08], [0.96, 1.0, 1.08, 1.12], [-1, 0, 2, -1]),
        ([1.0, 1.12], [1.0, 1.04, 1.08, 1.12], [0, -1, -1, 1]),
        ([1.001, 1.042, 1.083], [1.0, 1.04, 1.08], [0, 1, 2]),
        ([1.0, 1.017, 1.033], [1.017, 1.05], [1, -1]),
        ([2.0], [1.96, 2.0], [-1, 0]),
    ],
    ids=["same", "ends", "gap", "rounded", "60 frames/s", "one"],
)
def test_rows_at(times: list[float], moments: list[float], expected: list[int]) -> None:
    assert rows_at(np.array(times), np.array(moments)).tolist() == expected


class Plain:
    """Two videos whose entities are visible for a range of frames; counts the reads."""

    spans = (("a", 0, 30), ("a", 10, 20), ("b", 0, 30), ("a", 40, 50), ("a", 5, 45))

    def __init__(self) -> None:
        self.entities: Sequence[EntityInfo] = [
            EntityInfo(f"{video}{first}", video, last - first, Fraction(25), 0)
            for video, first, last in self.spans
        ]
        self.read_entities: list[int] = []

    def read(self, index: int, start: int = 0, stop: int | None = None) -> EntityPart:
        self.read_entities.append(index)
        _, first, last = self.spans[index]
        times = np.arange(first, last)[start:stop] / 25
        nothing = np.zeros((len(times), 4, 4), np.uint8)
        return EntityPart(nothing, np.zeros(0, np.int16), np.zeros(len(times), np.int8), times)


class Timed(Plain):
    def timestamps(self, index: int) -> NDArray[np.float64]:
        return self.read(index).timestamps + 0.0


@pytest.mark.parametrize("make", [Plain, Timed])
def test_index(make: type[Plain]) -> None:
    data = make()
    index = SpeakerIndex(data)
    assert data.read_entities == []
    moments = np.arange(8, 12) / 25
    found = index.rows(0, moments)
    assert {entity: rows.tolist() for entity, rows in found.items()} == {
        1: [-1, -1, 0, 1],
        4: [3, 4, 5, 6],
    }
    assert index.rows(2, moments) == {}
    assert set(index.rows(3, np.arange(40, 50) / 25)) == {4}
    assert sorted(data.read_entities) == [0, 1, 2, 3, 4]  # each once
    np.testing.assert_array_equal(index.times(3), np.arange(40, 50) / 25)
