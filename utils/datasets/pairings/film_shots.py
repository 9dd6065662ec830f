"""Shots of two people, under the voice of one, of either in turn, or of both."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from utils.datasets.pairings.film import FilmPairing, Samples
from utils.datasets.pairings.sound_augmentation import FULL_SCALE, gain
from utils.structures import SAMPLES_PER_FRAME

SHOT_KINDS = ("one", "turns", "both")  # who is heard: one of two, either in turn, both
RIVALS = 2  # others that each track is seen with
MIN_SHOT = 50  # frames
MAX_GAIN_DB = 5  # by which the second of two voices is louder or quieter
SHOT_LEVEL = 1500.0  # of a voice, int16 amplitude


@dataclass(frozen=True, eq=False)
class FilmShot:
    """Two faces that move their lips, and audio made for them."""

    kind: str  # of SHOT_KINDS
    faces: tuple[FilmPairing, FilmPairing]  # the second may be longer
    waveform: NDArray[np.int16]  # (640 T,)
    labels: NDArray[np.int8]  # (2, T)


def shots_of_two(pairings: Iterable[FilmPairing], seed: int) -> Iterator[FilmShot]:
    """Yield shots of two people, made of tracks with the own voice.

    Args:
        pairings: Of all situations; others than the own voice are left out.
        seed: Of what is random.
    """
    own = [one for one in pairings if one.situation == "own" and len(one.labels) >= MIN_SHOT]
    rng = np.random.default_rng(seed)
    for first in own:
        rivals = [
            one
            for one in own
            if one.person != first.person and len(one.labels) >= len(first.labels)
        ]
        for index in rng.permutation(len(rivals))[:RIVALS]:
            for kind in SHOT_KINDS:
                yield _shot(kind, first, rivals[index], rng)


def _shot(kind: str, first: FilmPairing, second: FilmPairing, rng: np.random.Generator) -> FilmShot:
    num_frames = len(first.labels)
    labels = np.stack([first.labels, second.labels[:num_frames]])
    voices = [_levelled(first.waveform), _levelled(second.waveform[: len(first.waveform)])]
    if kind == "both":
        sound = voices[0] + voices[1] * gain(rng.uniform(-MAX_GAIN_DB, MAX_GAIN_DB))
    else:
        turn = num_frames if kind == "one" else num_frames // 2
        labels[0, turn:], labels[1, :turn] = 0, 0
        at = turn * SAMPLES_PER_FRAME
        sound = np.concatenate([voices[0][:at], voices[1][at:]])
    waveform = np.clip(np.rint(SHOT_LEVEL * sound), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return FilmShot(kind, (first, second), waveform, labels)


def _levelled(waveform: NDArray[np.int16]) -> Samples:
    """Return the audio at power 1."""
    sound = waveform.astype(np.float32)
    return sound / np.float32(np.sqrt(np.mean(np.square(sound)) + 1))
