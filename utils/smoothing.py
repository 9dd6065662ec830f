"""Smooth what is shown: scores by the published drawing rule, boxes against jitter."""

import numpy as np
from numpy.typing import NDArray

SCORE_RADIUS = 2  # frames on either side
BOX_SIGMA = 2.0  # frames


def smooth_scores(scores: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return, for each frame, the mean of the scores from two frames before to two after.

    The window shrinks at both ends. The published rule is the same, but it never uses the last
    score and gives NaN where a track is longer than its scores; both are mended here.
    """
    total = np.concatenate(([0.0], np.cumsum(scores, dtype=np.float64)))
    index = np.arange(len(scores))
    start = np.maximum(index - SCORE_RADIUS, 0)
    stop = np.minimum(index + SCORE_RADIUS + 1, len(scores))
    return np.asarray((total[stop] - total[start]) / (stop - start), np.float32)


def smooth_boxes(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return boxes (T, 4) averaged in time with Gaussian weights; steady motion stays as it is."""
    if len(boxes) < 2:
        return boxes
    radius = min(round(3 * BOX_SIGMA), len(boxes) - 1)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / BOX_SIGMA) ** 2)
    weights /= weights.sum()
    padding = ((radius, radius), (0, 0))
    padded = np.pad(boxes.astype(np.float64), padding, mode="reflect", reflect_type="odd")
    columns = [np.convolve(column, weights, mode="valid") for column in padded.T]
    return np.stack(columns, axis=1).astype(np.float32)
