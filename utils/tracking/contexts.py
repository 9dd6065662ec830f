"""Choose the rows of faces that form the clip or the context around a scored row.

The faces of a context are aligned at the scored moment. Before and after it, each follows its own
track, whose first and last rows are repeated beyond its ends.
"""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from utils.structures import ContextSpec


def rows_around(
    num_rows: int | NDArray[np.int64],
    centres: NDArray[np.int64],
    length: int,
    before: int,
    stride: int = 1,
) -> NDArray[np.int64]:
    """Return the rows of a clip around each of `centres`, (..., length).

    Beyond the ends of the track, its first or last row is repeated.

    Args:
        num_rows: Rows of the track, or of the track of each centre, (...).
        centres: (...) the rows that are scored.
        length: Rows of a clip, odd or even.
        before: How many of them lie before the scored one.
        stride: Rows from one to the next.
    """
    last = np.asarray(num_rows)[..., None] - 1
    offsets = stride * (np.arange(length) - before)
    return np.asarray(np.clip(centres[..., None] + offsets, 0, last), np.int64)


NOBODY = -1  # instead of a row: no face takes this place of the context

Number = TypeVar("Number", bound=np.floating)
Choice = Callable[[int, Sequence[int]], Sequence[int]]  # row, rows at its moment -> S rows


class FaceMoments:
    """Which face and which moment each row of a video, or of a shot, belongs to."""

    def __init__(self, counts: Sequence[int], moments: NDArray[np.int64]) -> None:
        """Take the rows face after face, each face's in order of time.

        Args:
            counts: (E,) rows of each face.
            moments: (N,) a number for the moment of each row; equal for faces seen together.
        """
        if sum(counts) != len(moments) or min(counts, default=1) < 1:
            raise ValueError(
                f"expected one row or more for each face and {len(moments)} in all, "
                f"got {list(counts)}"
            )
        self.counts = np.asarray(counts, np.int64)
        self.starts = np.cumsum(self.counts) - self.counts
        self.face = np.repeat(np.arange(len(counts)), self.counts)  # (N,)
        self.moments = moments
        self._order = np.argsort(moments, kind="stable")
        self._sorted = moments[self._order]

    def present(self, row: int) -> list[int]:
        """Return the rows of all faces at the moment of `row`, face after face."""
        first, last = (
            np.searchsorted(self._sorted, self.moments[row], side=side)
            for side in ("left", "right")
        )
        rows: list[int] = self._order[first:last].tolist()
        return rows


def context_rows(
    faces: FaceMoments, rows: Sequence[int], form: ContextSpec, choose: Choice
) -> NDArray[np.int64]:
    """Return the rows of the context of each of `rows`, (N, S, L); NOBODY in empty places.

    Args:
        faces: Of the video or the shot; a context contains nothing else.
        rows: (N,) to be scored.
        form: What the network reads.
        choose: `drawn_choice` or `ranked_choice`.
    """
    chosen = np.array([choose(row, faces.present(row)) for row in rows], np.int64)
    chosen = chosen.reshape(len(rows), form.num_speakers)
    face = faces.face[chosen]
    starts = faces.starts[face]
    around = rows_around(faces.counts[face], chosen - starts, form.length, form.before, form.stride)
    return np.where(chosen[..., None] == NOBODY, NOBODY, starts[..., None] + around)


def gather(embeddings: NDArray[Number], rows: NDArray[np.int64]) -> NDArray[Number]:
    """Return the embeddings (N, S, L, C) of rows (N, S, L), zeros for NOBODY."""
    found: NDArray[Number] = embeddings[np.maximum(rows, 0)]
    found[rows == NOBODY] = 0
    return found


def drawn_choice(form: ContextSpec, rng: random.Random) -> Choice:
    """Return a random choice, as published, for training.

    The published code draws by the same rule from Python's generator, without a seed.
    """

    def choose(row: int, present: Sequence[int]) -> list[int]:
        others = list(present)
        rng.shuffle(others)
        others.remove(row)
        found = [row, *others][: form.num_speakers]
        while len(found) < form.num_speakers:
            # Kept: drawn from those already chosen, so a repeated one becomes more likely.
            found.append(NOBODY if form.fill == "zero" else rng.choice(found[1:] or [row]))
        return found

    return choose


def ranked_choice(form: ContextSpec, faces: FaceMoments, areas: NDArray[np.floating]) -> Choice:
    """Return a deterministic choice: the largest faces first, then those that came first.

    The size at the scored moment counts, so the choice does not depend on how much of the video
    is known. If there are fewer faces than places, they are repeated in the same order or the
    places stay empty, as in the network's training; a single face is compared with itself.

    Args:
        form: What the network reads.
        faces: The video or the shot.
        areas: (N,) area of each row's box, in any unit.
    """
    if areas.shape != faces.moments.shape:
        raise ValueError(f"expected {len(faces.moments)} areas, one a row, got {areas.shape}")

    def choose(row: int, present: Sequence[int]) -> list[int]:
        others = sorted((-float(areas[other]), other) for other in present if other != row)
        ranked = [other for _, other in others]
        if form.fill == "zero":
            ranked += [NOBODY] * form.num_speakers
        ranked = ranked or [row]
        return [row, *(ranked[place % len(ranked)] for place in range(form.num_speakers - 1))]

    return choose


def moments_of(timestamps: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return whole microseconds, which are equal for equal times, however they were computed."""
    return np.asarray(np.rint(timestamps * 1e6), np.int64)
