"""Made faces are of several people's parts; spoiled ones remain the same face."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from utils.datasets.face_pictures.made_faces import bend, make_face, mix, shift, spoil

Change = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]


def face_of(level: int, side: int = 64) -> NDArray[np.uint8]:
    """Return something smooth that differs from place to place."""
    rows, columns = np.mgrid[:side, :side] / side
    waves = np.stack([np.sin(7 * rows + level), np.cos(5 * columns), np.sin(4 * rows * columns)], 2)
    return (level + 40 * waves).astype(np.uint8)


@pytest.mark.parametrize("make", [bend, spoil, shift])
@pytest.mark.parametrize("side", [64, 128])
def test_one_face(make: Change, side: int) -> None:
    """The result depends on the generator alone; the face that is given stays as it is."""
    face = face_of(120, side)
    before = face.copy()
    found = [make(face, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    for one in found:
        assert one.shape == face.shape and one.dtype == np.uint8
    np.testing.assert_array_equal(face, before)
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


@pytest.mark.parametrize("num_others", [0, 1, 3])
def test_faces_of_several_people(num_others: int) -> None:
    own, others = face_of(90), [face_of(150), face_of(30), face_of(200)][:num_others]
    changed = [make_face(own, others, np.random.default_rng(seed)) for seed in range(20)]
    assert all(one.shape == own.shape and one.dtype == np.uint8 for one in changed)
    assert len({one.tobytes() for one in changed}) == 20


def test_each_of_the_others_has_a_part() -> None:
    own, others = face_of(90), [face_of(150), face_of(30)]
    for seed in range(5):
        one, two = (make_face(own, others[:n], np.random.default_rng(seed)) for n in (1, 2))
        assert (one != two).any()


def test_the_own_colours_stay() -> None:
    """A part of another's face takes on the light of the own."""
    own, other = face_of(90), face_of(180)
    for seed in range(20):
        found = mix(own, other, np.random.default_rng(seed))
        assert np.abs(found.mean((0, 1)) - own.mean((0, 1))).max() < 20
        assert (found != own).any()


def test_bending_moves_little() -> None:
    """A face stays in its place: nothing is bent by more than a fifth of its side."""
    ramp = np.repeat(np.arange(128, dtype=np.uint8)[None], 128, axis=0)
    face = np.repeat(ramp[..., None], 3, axis=2)
    moved = [bend(face, np.random.default_rng(seed)).astype(int) - face for seed in range(10)]
    assert 3 < max(np.abs(one).max() for one in moved) < 26
    assert np.mean([np.abs(one).mean() for one in moved]) > 1
