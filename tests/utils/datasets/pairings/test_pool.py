"""A pool keeps what was embedded and makes no pairing twice."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.made_people import make_people
from utils.datasets.pairings.pairings import Pairer
from utils.datasets.pairings.pool import PairingPool, stacked

LENGTH = 40


class Embedder:
    """Gives the mean of rows and pictures, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(
        self, features: NDArray[np.float32], crops: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.calls += 1
        audio = features.reshape(LENGTH, -1)[:, :5]
        return audio, crops.reshape(LENGTH, -1)[:, :3].astype(np.float32)


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    pairer = Pairer(*make_people(tmp_path / "people"), LENGTH)
    embed = Embedder()
    pool = PairingPool(tmp_path / "pool", pairer, 3)
    pool.fill(2, embed, changed=True)
    pool.fill(3, embed, changed=True)
    assert embed.calls == 3
    again = PairingPool(tmp_path / "pool", pairer, 3)
    again.fill(4, embed, changed=True)
    assert embed.calls == 4
    for own, other in zip(pool.pairings, again.pairings, strict=False):
        for first, second in zip(own, other, strict=True):
            np.testing.assert_array_equal(first, second)


def test_seeds_and_situations(tmp_path: Path) -> None:
    pairer = Pairer(*make_people(tmp_path / "people"), LENGTH)
    pool = PairingPool(tmp_path / "pool", pairer, 3, "silent")
    pool.fill(2, Embedder(), changed=False)
    whole = stacked(pool.pairings)
    assert whole.audio.shape == (2, LENGTH, 5)
    assert whole.faces.dtype == np.float16
    assert (whole.labels == 0).all()
    other = PairingPool(tmp_path / "other", pairer, 5, "silent")
    other.fill(1, Embedder(), changed=False)
    assert (other.pairings[0].audio != pool.pairings[0].audio).any()
