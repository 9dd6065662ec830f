"""From a clip network's logits to the probabilities that are evaluated, as ASC's authors do it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def speaking_probability(
    logits: NDArray[np.floating], width: int = 1, counts: Sequence[int] | None = None
) -> NDArray[np.float64]:
    """Return the probability (N,) of speaking, each column of logits (N, 2) smoothed before.

    Args:
        logits: Rows in the order of time, track after track.
        width: Rows of the median, odd; 1 leaves the logits as they are, which is what the
            published scripts do. Outside a track they count as 0.
        counts: Rows of each track, which do not mix. None takes all rows as one: the published
            median runs over the whole file and across the borders of its tracks.
    """
    if width < 1 or width % 2 == 0:
        raise ValueError(f"the median's width must be odd and 1 or more, got {width}")
    counts = [len(logits)] if counts is None else counts
    if sum(counts) != len(logits):
        raise ValueError(f"expected {sum(counts)} rows of logits, got {len(logits)}")
    smoothed = logits.astype(np.float64)
    if width > 1:
        tracks = np.split(smoothed, np.cumsum(counts)[:-1])
        smoothed = np.concatenate([smooth_logits(track, width) for track in tracks])
    half = (smoothed[:, 1] - smoothed[:, 0]) / 2
    return np.asarray((1 + np.tanh(half)) / 2, np.float64)  # softmax that cannot overflow


def smooth_logits(logits: NDArray[np.floating], width: int) -> NDArray[np.float64]:
    """Return each column of the logits (T, 2) of a track as medians over `width` rows.

    Outside the track they count as 0, as published.
    """
    if not len(logits):
        return logits.astype(np.float64)
    padded = np.pad(logits, ((width // 2, width // 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)
    return np.asarray(np.median(windows, axis=2), np.float64)
