"""Keep pairings as what fixed encoders made of them, so that thousands can be learned from."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from utils.datasets.pairings.crop_augmentation import change_crops
from utils.datasets.pairings.pairings import Pairer
from utils.features.mfcc import align, mfcc
from utils.files import check_folder, replacing

Embed = Callable[
    [NDArray[np.float32], NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]
]


class EmbeddedFace(NamedTuple):
    """What is heard, seen and true in the frames of a pairing, or of several of one length."""

    audio: NDArray[np.float16]  # (..., T, C)
    faces: NDArray[np.float16]  # (..., T, C)
    labels: NDArray[np.int8]  # (..., T)
    own: NDArray[np.bool_]  # (..., T) where the voice is the face's own
    seams: NDArray[np.bool_]  # (..., T) where voice and face must not be compared


def stacked(pairings: Sequence[EmbeddedFace]) -> EmbeddedFace:
    """Return several as one."""
    return EmbeddedFace(*(np.stack(part) for part in zip(*pairings, strict=True)))


class PairingPool:
    """A folder of embedded pairings; what is missing is made.

    Args:
        folder: Where they are kept.
        pairer: Draws them.
        seed: Of each, together with its number.
        situation: The one situation of all, or None for several in each.
    """

    def __init__(
        self, folder: Path, pairer: Pairer, seed: int, situation: str | None = None
    ) -> None:
        self.folder, self.pairer, self.seed, self.situation = folder, pairer, seed, situation
        self.pairings: list[EmbeddedFace] = []
        check_folder(folder)

    def fill(self, count: int, embed: Embed, changed: bool) -> None:
        """Read pairings from the folder and make those that it lacks, up to a number.

        Args:
            count: How many there are to be in all.
            embed: Gives embeddings (T, C) of features (4 T, F) and crops (T, 112, 112).
            changed: Whether the crops are changed, for training.
        """
        for number in range(len(self.pairings), count):
            path = self.folder / f"{self.situation or 'mixed'}_{number:05d}.npz"
            if not path.is_file():
                self._make(number, path, embed, changed)
            with np.load(path) as found:
                self.pairings.append(EmbeddedFace(*(found[name] for name in EmbeddedFace._fields)))

    def _make(self, number: int, path: Path, embed: Embed, changed: bool) -> None:
        rng = np.random.default_rng((self.seed, number))
        pairing = self.pairer.draw(rng, self.situation)
        crops = self.pairer.crops(pairing)
        audio, faces = embed(
            align(mfcc(pairing.waveform), len(crops)),
            change_crops(crops, rng) if changed else crops,
        )
        halves = audio.astype(np.float16), faces.astype(np.float16)
        embedded = EmbeddedFace(*halves, pairing.labels, pairing.own, pairing.seams)
        with replacing(path) as temporary:
            np.savez(temporary, **embedded._asdict())
