"""Metrics of speaker detection and localisation across a view, as on TragicTalkers.

Errors are averaged over groups, one per sequence and rig; counts of precision and recall are pooled
over all groups.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WIDTH = 2448  # px, of a view
TOLERANCES = (89, 222)  # px: 2 and 5 degrees
COLUMNS = ("confidence", "true pos", "GT pos", "predict pos", "precision", "recall")
DETECTED = 0.5  # minimum confidence of a detection
DECIMALS = 12  # of precision and recall

Matrix = NDArray[np.float64]  # (thresholds, 6), see COLUMNS


@dataclass(frozen=True, eq=False)
class LocalisedFrames:
    """Truth and prediction of the frames of one or more views."""

    true_x: NDArray[np.floating]  # (N,) px
    speaking: NDArray[np.bool_]  # (N,) whether anybody speaks
    found_x: NDArray[np.floating]  # (N,) px
    confidences: NDArray[np.floating]  # (N,) in [0, 1]

    def __post_init__(self) -> None:
        shapes = {values.shape for values in vars(self).values()}
        if len(shapes) != 1 or self.speaking.ndim != 1:
            raise ValueError(f"expected truth and prediction of (N,) frames, got {sorted(shapes)}")
        if not np.isfinite(self.confidences).all():
            raise ValueError("expected finite confidences, found NaN or infinity")

    def __len__(self) -> int:
        return len(self.speaking)


class Errors(NamedTuple):
    """Means over groups, and their standard errors."""

    distance: float  # px, "aD": of detected speakers; NaN if a group has none
    distance_error: float
    detection: float  # percentage of misclassified frames
    detection_error: float  # a fraction, as published


def pool(parts: Sequence[LocalisedFrames]) -> LocalisedFrames:
    """Concatenate the frames of several parts."""
    names = ("true_x", "speaking", "found_x", "confidences")
    return LocalisedFrames(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def active_truth(
    positions: NDArray[np.floating], speaking: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the position of the speaker in each frame, and whether anybody speaks.

    Kept: if several people speak, the first of them counts; if nobody speaks, the position is that
    of the last person.

    Args:
        positions: (people, T) px.
        speaking: (people, T).
    """
    anybody = np.asarray(speaking.any(axis=0), np.bool_)
    chosen = np.where(anybody, speaking.argmax(axis=0), len(speaking) - 1)
    return positions[chosen, np.arange(positions.shape[1])].astype(np.float64), anybody


def errors(groups: Sequence[LocalisedFrames]) -> Errors:
    """Return average distance and detection error, at a confidence of 0.5.

    Args:
        groups: One for each sequence and rig.
    """
    distances, accuracies = [], []
    for frames in groups:
        detected = frames.confidences >= DETECTED
        both = detected & frames.speaking
        apart = np.abs(frames.found_x[both] - frames.true_x[both])
        distances.append(float(apart.mean()) if len(apart) else math.nan)
        accuracies.append(float((detected == frames.speaking).mean()))
    detection = 100 * (1 - float(np.mean(accuracies)))
    return Errors(
        float(np.mean(distances)), standard_error(distances), detection, standard_error(accuracies)
    )


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of a mean; NaN of fewer than two values."""
    if len(values) < 2:
        return math.nan
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))


def thresholds() -> NDArray[np.float64]:
    """Return the 101 thresholds in percent, falling: a sigmoid's values, then 0."""
    steps = np.arange(50, -50, -1)
    return np.append(100 / (1 + np.exp(-steps / 4)), 0.0)


def precision_recall(frames: LocalisedFrames, tolerance: float = TOLERANCES[0]) -> Matrix:
    """Return the published matrix, (101, 6), a row for each threshold; see COLUMNS.

    A detection is correct if somebody speaks at most `tolerance` px away.
    """
    limits = thresholds()
    percent = 100 * frames.confidences
    near = np.abs(frames.found_x - frames.true_x) <= tolerance
    num_true = _count_from(percent[frames.speaking & near], limits)
    num_positive = _count_from(percent, limits)
    total = int(frames.speaking.sum())
    precision = np.divide(num_true, num_positive, out=np.zeros(len(limits)), where=num_positive > 0)
    recall = num_true / total if total else np.zeros(len(limits))
    columns = (
        limits,
        num_true,
        np.full(len(limits), total),
        num_positive,
        precision.round(DECIMALS),
        recall.round(DECIMALS),
    )
    return np.stack(columns, axis=1).astype(np.float64)


def _count_from(values: NDArray[np.floating], limits: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number of values at or above each limit."""
    counts: NDArray[np.int64] = len(values) - np.searchsorted(np.sort(values), limits)
    return counts


def smoothed_precision(matrix: Matrix) -> NDArray[np.float64]:
    """Return the highest precision at each row's recall or above, (101,)."""
    envelope: NDArray[np.float64] = np.maximum.accumulate(matrix[::-1, 4])[::-1]
    return envelope


def area(matrix: Matrix) -> float:
    """Return the average precision, in [0, 1]: the area under the smoothed precision.

    Kept: the last row is left out if its smoothed precision differs from that of the row before.
    """
    smoothed, recall = smoothed_precision(matrix), matrix[:, 5]
    parts = smoothed * np.diff(recall, prepend=0.0)
    if len(parts) > 1 and smoothed[-1] != smoothed[-2]:
        parts = parts[:-1]
    return float(parts.sum())


def best_f1(matrix: Matrix) -> tuple[float, int]:
    """Return the highest F1 of smoothed precision and recall, and the first row that has it."""
    scores = _f1(smoothed_precision(matrix), matrix[:, 5])
    row = int(scores.argmax())
    return float(scores[row]), row


def group_f1(matrices: Sequence[Matrix], row: int) -> NDArray[np.float64]:
    """Return the F1 of each group's precision and recall, not smoothed, at one threshold."""
    rows = np.stack([matrix[row] for matrix in matrices])
    return _f1(rows[:, 4], rows[:, 5])


def _f1(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> NDArray[np.float64]:
    both = precision + recall
    return np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)


class TTest(NamedTuple):
    """A paired one-sided t-test."""

    t: float
    p: float


def is_greater(ours: NDArray[np.float64], others: NDArray[np.float64]) -> TTest:
    """Return the paired t-test of whether `ours` is greater than `others` over the groups."""
    from scipy.stats import ttest_rel

    found = ttest_rel(ours, others, alternative="greater")
    return TTest(float(found.statistic), float(found.pvalue))
