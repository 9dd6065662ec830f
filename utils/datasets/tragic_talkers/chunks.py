"""Split TragicTalkers into chunks of 2 s, the input of its network, and into five folds."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from utils.arrays.spectra import FPS, RATE
from utils.datasets.tragic_talkers.labels import ViewLabels
from utils.datasets.tragic_talkers.layout import CameraView
from utils.errors import UserError

CHUNK_S = 2
CHUNK_FRAMES = CHUNK_S * FPS
CHUNK_SAMPLES = CHUNK_S * RATE
TRAIN_STEP_S, TEST_STEP_S = 1, 2
FOLD_SEED = 42
NUM_FOLDS = 5


@dataclass(frozen=True, eq=False)
class AudioChunk:
    """Two seconds of a view, with the labels of their 60 frames."""

    view: CameraView
    start_s: float
    positions: NDArray[np.float32]  # (60,) fraction of the width
    located: NDArray[np.bool_]  # (60,)
    speaking: NDArray[np.bool_]  # (60,)

    @property
    def first_sample(self) -> int:
        """First sample of the chunk's audio."""
        return first_sample(self.start_s)

    @property
    def key(self) -> tuple[str, int, int]:
        """Sequence, rig and first sample, which determine the audio."""
        return self.view.sequence, self.view.rig, self.first_sample


def first_sample(start_s: float) -> int:
    """Return the first sample of the frame at a time."""
    return int(round(start_s * FPS) / FPS * RATE)


def start_rows(times: NDArray[np.float64], step_s: int) -> list[int]:
    """Return the rows at which chunks start: those at multiples of `step_s`."""
    return np.flatnonzero(times % step_s == 0).tolist()


def cut(labels: Mapping[CameraView, ViewLabels], step_s: int = TRAIN_STEP_S) -> list[AudioChunk]:
    """Return all chunks of all views, in order.

    Frames after the end of a view are labelled silent, at position 1.

    Raises:
        UserError: A view is shorter than a chunk; the message names it.
    """
    chunks = []
    for view, view_labels in labels.items():
        if len(view_labels) < CHUNK_FRAMES:
            raise UserError(
                f"{view.name}: expected at least {CHUNK_FRAMES} frames, a chunk of {CHUNK_S} s, "
                f"found {len(view_labels)}; remove the sequence"
            )
        rows = start_rows(view_labels.times, step_s)
        chunks += [_chunk(view, view_labels, row) for row in rows]
    return chunks


def _chunk(view: CameraView, labels: ViewLabels, row: int) -> AudioChunk:
    part = slice(row, row + CHUNK_FRAMES)
    missing = (0, CHUNK_FRAMES - len(labels.times[part]))
    return AudioChunk(
        view,
        float(labels.times[row]),
        np.pad(labels.positions[part], missing, constant_values=1),
        np.pad(labels.located[part], missing),
        np.pad(labels.speaking[part], missing),
    )


def folds(sequences: Iterable[str], seed: int = FOLD_SEED) -> list[list[str]]:
    """Return the groups of sequences that are used for validation in turn.

    Kept: a group has a fifth of the names, rounded down; with 26 names, the last one forms a sixth
    group, which is always used for training.
    """
    names = sorted(sequences)
    if len(names) < NUM_FOLDS:
        raise UserError(f"expected at least {NUM_FOLDS} sequences for folds, found {len(names)}")
    random.Random(seed).shuffle(names)
    size = len(names) // NUM_FOLDS
    return [names[start : start + size] for start in range(0, len(names), size)]


def split_fold(
    chunks: Sequence[AudioChunk], groups: Sequence[Sequence[str]], fold: int
) -> tuple[list[AudioChunk], list[AudioChunk]]:
    """Return the training and the validation chunks of a fold, counted from 0."""
    if not 0 <= fold < NUM_FOLDS:
        raise UserError(f"expected a fold from 0 to {NUM_FOLDS - 1}, got {fold}")
    held_out = set(groups[fold])
    train = [chunk for chunk in chunks if chunk.view.sequence not in held_out]
    return train, [chunk for chunk in chunks if chunk.view.sequence in held_out]
