"""The rule that turns scores into speech.

It works on integers, so that every program that reads result.json decides alike.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SCORE_UNITS = 10_000  # result.json rounds scores to multiples of 1 / SCORE_UNITS
RADIUS = 2  # frames on either side that are averaged
JOIN_FRAMES = 5  # a pause shorter than this (0.2 s) does not end a segment
MIN_FRAMES = 3  # speech shorter than this (0.12 s) is no segment
COMMON = 60  # multiple of all window lengths, 1 to 5

Scores = NDArray[np.floating]


def stored_scores(scores: Scores) -> NDArray[np.int64]:
    """Return scores (T,) as result.json has them, in units of 1 / SCORE_UNITS."""
    return np.asarray(np.rint(scores.astype(np.float64) * SCORE_UNITS), np.int64)


def speech_ranges(scores: Scores, threshold: float = 0.0) -> list[tuple[int, int]]:
    """Return the ranges [start, stop) of a track's frames in which its face speaks.

    That is where the mean of the scores over five frames reaches `threshold`, after short pauses
    were joined and then short speech was dropped.
    """
    sums, counts = _smoothed_sums(scores)
    reached = sums >= round(threshold * SCORE_UNITS) * counts
    speaking = np.concatenate(([False], reached, [False]))
    edges = np.flatnonzero(speaking[1:] != speaking[:-1]).reshape(-1, 2)
    ranges: list[tuple[int, int]] = []
    for start, stop in edges.tolist():
        if ranges and start - ranges[-1][1] < JOIN_FRAMES:
            ranges[-1] = (ranges[-1][0], stop)
        else:
            ranges.append((start, stop))
    shortest = min(MIN_FRAMES, len(scores))
    return [(start, stop) for start, stop in ranges if stop - start >= shortest]


def mean_scores(scores: Scores, ranges: Sequence[tuple[int, int]]) -> list[float]:
    """Return the mean of the smoothed scores in each range of a track's frames, rounded as stored.

    Args:
        scores: Of the track, (T,).
        ranges: [start, stop), none of them empty.
    """
    sums, counts = _smoothed_sums(scores)
    total = np.concatenate(([0], np.cumsum(sums * (COMMON // counts))))
    means = []
    for start, stop in ranges:
        parts = COMMON * (stop - start)
        rounded = (2 * int(total[stop] - total[start]) + parts) // (2 * parts)
        means.append(rounded / SCORE_UNITS)
    return means


def _smoothed_sums(scores: Scores) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sum of the stored scores around each frame, and how many they are, both (T,)."""
    total = np.concatenate(([0], np.cumsum(stored_scores(scores))))
    index = np.arange(len(scores))
    start = np.maximum(index - RADIUS, 0)
    stop = np.minimum(index + RADIUS + 1, len(scores))
    return total[stop] - total[start], stop - start
