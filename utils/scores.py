"""Convert logits to probabilities, and smooth scores by the published rules."""

import numpy as np
from numpy.typing import NDArray

RADIUS = 2  # frames on either side


def sigmoid(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the probabilities in [0, 1] of scores with the boundary at 0, without overflow."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * scores.astype(np.float64)), np.float64)


def speaking_probability(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the softmax of logits (T, 2) for speaking, the second column: (T,)."""
    return sigmoid(logits[:, 1].astype(np.float64) - logits[:, 0])


def smooth_scores(scores: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return, for each frame, the mean of the scores from two frames before to two after.

    The window shrinks at both ends. The published rule is the same, but it never uses the last
    score and gives NaN if a track is longer than its scores; both are fixed here.
    """
    total = np.concatenate(([0.0], np.cumsum(scores, dtype=np.float64)))
    index = np.arange(len(scores))
    start = np.maximum(index - RADIUS, 0)
    stop = np.minimum(index + RADIUS + 1, len(scores))
    return np.asarray((total[stop] - total[start]) / (stop - start), np.float32)


def smooth_logits(logits: NDArray[np.floating], width: int) -> NDArray[np.float64]:
    """Return each column of the logits (T, 2) of a track as medians over `width` rows.

    Outside the track the logits count as 0, as published for ASC.

    Args:
        logits: Of one track; the published median runs over a whole file, across its tracks.
        width: Odd; 1 changes nothing, as in the published scripts.
    """
    if width < 1 or width % 2 == 0:
        raise ValueError(f"the median's width must be odd and 1 or more, got {width}")
    if not len(logits):
        return logits.astype(np.float64)
    padded = np.pad(logits, ((width // 2, width // 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)
    return np.asarray(np.median(windows, axis=2), np.float64)
