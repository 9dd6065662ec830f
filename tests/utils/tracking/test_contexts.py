"""Clips and contexts have the rows of the published code or of the stated rule."""

import random
from typing import Literal

import numpy as np
import pytest

from tests.parity.fill import inputs
from tests.parity.references import reference
from utils.structures import ContextSpec
from utils.tracking.contexts import (
    NOBODY,
    FaceMoments,
    context_rows,
    drawn_choice,
    gather,
    moments_of,
    ranked_choice,
    rows_around,
)

Fill = Literal["repeat", "zero"]

SYSTEMS: dict[str, Fill] = {"asc": "repeat", "asdnet": "zero"}
PARITY = {system: reference(f"{system}_sampling") for system in SYSTEMS}


def cases(kind: str) -> list[tuple[str, str]]:
    return [
        (system, name) for system in SYSTEMS for name in PARITY[system] if name.startswith(kind)
    ]


def spec(
    length: int = 1, before: int = 0, num_speakers: int = 3, fill: Fill = "repeat", stride: int = 1
) -> ContextSpec:
    return ContextSpec(length, before, num_speakers, fill, stride)


def numbers(name: str) -> list[int]:
    """Return the numbers of a case's name: clip.n20h5 gives 20 and 5."""
    text = "".join(character if character.isdigit() else " " for character in name)
    return [int(part) for part in text.split()]


@pytest.mark.parametrize(("system", "name"), cases("clip."))
def test_rows_of_a_clip(system: str, name: str) -> None:
    num_rows, size = numbers(name)
    length = 2 * size + 1 if system == "asc" else size
    found = rows_around(num_rows, np.arange(num_rows), length, length // 2)
    assert found.tolist() == PARITY[system][name].tolist()


@pytest.mark.parametrize(("system", "name"), cases("time."))
def test_rows_of_the_time_around(system: str, name: str) -> None:
    num_rows, length, stride = numbers(name)
    found = rows_around(num_rows, np.arange(num_rows), length, length // 2, stride)
    assert found.tolist() == PARITY[system][name].tolist()


@pytest.mark.parametrize(("system", "name"), cases("speakers."))
def test_drawn_speakers(system: str, name: str) -> None:
    num_faces, num_speakers = numbers(name)
    form = spec(num_speakers=num_speakers, fill=SYSTEMS[system])
    faces = FaceMoments([1] * num_faces, np.zeros(num_faces, np.int64))
    for seed, expected in enumerate(PARITY[system][name].tolist()):
        choose = drawn_choice(form, random.Random(seed))
        found = context_rows(faces, [num_faces - 1], form, choose)
        assert found[0, :, 0].tolist() == expected


@pytest.mark.parametrize("system", SYSTEMS)
def test_whole_contexts(system: str) -> None:
    """The reference's feature file, its items in order, one generator for all."""
    expected = PARITY[system]
    length, stride, num_speakers = expected["item.LstrideS"].tolist()
    form = spec(length, length // 2, num_speakers, SYSTEMS[system], stride)
    names, spans = expected["item.entities"].tolist(), expected["item.spans"].tolist()
    width = {"asc": 1024, "asdnet": 672}[system]
    frames = np.concatenate([np.arange(*span) for span in spans])
    faces = FaceMoments([stop - start for start, stop in spans], moments_of(900 + 0.04 * frames))
    embeddings = np.concatenate(
        [
            np.round(inputs(f"feat.{name}", (stop - start, width)), 4)
            for name, (start, stop) in zip(names, spans, strict=True)
        ]
    )
    choose = drawn_choice(form, random.Random(123))
    rows = context_rows(faces, range(len(frames)), form, choose)
    speakers = np.array([*names, "zero_entity"])[
        np.where(rows[:, :, 0] == NOBODY, len(names), faces.face[rows[:, :, 0]])
    ]
    assert speakers.tolist() == expected["item.contexts"].tolist()
    for item in expected["item.pick"].tolist():
        found = gather(embeddings, rows[item]).transpose(2, 1, 0)  # (C, L, S), as published
        np.testing.assert_array_equal(found[:8], expected[f"item.{item}.channels_0_8"])
        mean = expected[f"item.{item}.mean_over_channels"]
        np.testing.assert_allclose(found.mean(0), mean, atol=1e-6)


@pytest.mark.parametrize(
    ("fill", "num_speakers", "row", "expected"),
    [
        ("repeat", 3, 0, [0, 6, 4]),  # the largest other face first
        ("repeat", 6, 0, [0, 6, 4, 2, 6, 4]),
        ("zero", 6, 0, [0, 6, 4, 2, NOBODY, NOBODY]),
        ("repeat", 3, 6, [6, 0, 4]),  # of equal size, the one that came first
        ("repeat", 3, 1, [1, 1, 1]),  # alone
        ("zero", 3, 1, [1, NOBODY, NOBODY]),
        ("repeat", 1, 0, [0]),
    ],
    ids=["fit", "again", "nobody", "tie", "alone", "alone, nobody", "no others"],
)
def test_ranked_speakers(fill: Fill, num_speakers: int, row: int, expected: list[int]) -> None:
    form = spec(num_speakers=num_speakers, fill=fill)
    moments = np.array([0, 1, 0, 5, 0, 6, 0, 7])  # four faces of two rows
    faces = FaceMoments([2, 2, 2, 2], moments)
    areas = np.array([20.0, 99, 10, 99, 20, 99, 40, 99])
    found = context_rows(faces, [row], form, ranked_choice(form, faces, areas))
    assert found[0, :, 0].tolist() == expected


def test_others_follow_their_own_tracks() -> None:
    form = spec(length=5, before=2, num_speakers=2, fill="zero", stride=2)
    faces = FaceMoments([6, 2], np.array([0, 1, 2, 3, 4, 5, 3, 4]))
    choose = ranked_choice(form, faces, np.ones(8))
    found = context_rows(faces, [3, 5], form, choose).tolist()
    assert found[0] == [[0, 1, 3, 5, 5], [6, 6, 6, 7, 7]]
    assert found[1] == [[1, 3, 5, 5, 5], [NOBODY] * 5]
    gathered = gather(np.arange(8, dtype=np.float16)[:, None] + 1, np.array(found))
    assert gathered[1, 1].tolist() == [[0]] * 5 and gathered[0, 1].tolist() == [[7]] * 3 + [[8]] * 2


def test_wrong_counts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one row or more .* 3 in all, got \[2, 2\]"):
        FaceMoments([2, 2], np.arange(3))
    with pytest.raises(ValueError, match="expected 4 areas, one a row"):
        ranked_choice(spec(), FaceMoments([2, 2], np.arange(4)), np.ones(2))
