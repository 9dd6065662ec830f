"""Metrics of ava_asd: scores transferred to all rows, and areas under two curves.

Its average precision over windows is that of `utils.metrics.average_precision`.
"""

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError

Reals = NDArray[np.floating]
NUM_THRESHOLDS = 200  # Keras' default for areas


def nearest_scores(
    faces: NDArray[np.int64],
    times: NDArray[np.float64],
    window_faces: NDArray[np.int64],
    window_times: NDArray[np.float64],
    window_scores: Reals,
) -> NDArray[np.float64]:
    """Return for each row (N,) the score of the nearest window of the same face; NaN without one.

    Of two windows at the same distance the earlier one counts.

    Args:
        faces: (N,) number of the face in each row.
        times: (N,) s.
        window_faces: (M,) number of the face of each window.
        window_times: (M,) end of each window, s.
        window_scores: (M,).
    """
    found = np.full(len(faces), np.nan)
    order = np.lexsort((window_times, window_faces))
    ordered_faces = window_faces[order]
    ordered_times, ordered_scores = window_times[order], window_scores[order]
    by_face = np.argsort(faces, kind="stable")
    bounds = np.flatnonzero(np.diff(faces[by_face])) + 1
    for rows in np.split(by_face, bounds):
        if not len(rows):
            continue
        start, stop = np.searchsorted(ordered_faces, (faces[rows[0]], faces[rows[0]] + 1))
        if start == stop:
            continue
        ends = ordered_times[start:stop]
        after = np.clip(np.searchsorted(ends, times[rows]), 1, max(1, len(ends) - 1))
        after = np.minimum(after, len(ends) - 1)
        before = np.maximum(after - 1, 0)
        earlier = times[rows] - ends[before] <= ends[after] - times[rows]
        found[rows] = ordered_scores[start:stop][np.where(earlier, before, after)]
    return found


def step_precision(labels: NDArray[np.bool_], scores: Reals) -> float:
    """Return the average precision as defined by scikit-learn: no envelope, ties are one step.

    Args:
        labels: (N,) True for positives, of which there must be at least one.
        scores: (N,) higher is more likely positive.
    """
    num_true, num_positive = _thresholds(labels, scores)
    if num_true[-1] == 0:
        raise UserError(f"average precision needs a positive label, none of {len(labels)} is")
    steps = np.diff(num_true, prepend=0) / num_true[-1]
    return float(np.sum(steps * num_true / num_positive))


def roc_area(labels: NDArray[np.bool_], scores: Reals) -> float:
    """Return the area under the ROC curve, in [0, 1].

    Args:
        labels: (N,) True for positives; both classes must occur.
        scores: (N,) higher is more likely positive; ties count half.
    """
    num_true, num_positive = _thresholds(labels, scores)
    num_false = num_positive - num_true
    if num_true[-1] == 0 or num_false[-1] == 0:
        raise UserError(
            "a ROC curve needs positive and negative labels, got "
            f"{num_true[-1]} and {num_false[-1]}"
        )
    heights = (num_true + np.append(0, num_true[:-1])) / 2
    area = np.sum(np.diff(num_false, prepend=0) * heights)
    return float(area / num_true[-1] / num_false[-1])


def cross_entropy(labels: NDArray[np.bool_], probabilities: Reals) -> float:
    """Return the mean cross entropy; probabilities are not clipped, as in Keras from logits.

    Args:
        labels: (N,) True for positives.
        probabilities: (N,) of the positive class.
    """
    _check(labels, probabilities)
    of_label = np.where(labels, probabilities, 1 - np.asarray(probabilities, np.float64))
    return float(-np.log(of_label.clip(min=np.finfo(np.float64).eps)).mean())


def keras_roc_area(labels: NDArray[np.bool_], probabilities: Reals) -> float:
    """Return the area under the ROC curve as approximated by Keras: 200 thresholds, trapezoids.

    Args:
        labels: (N,) True for positives.
        probabilities: (N,) of the positive class. Each counts twice, because Keras counts both
            columns of a softmax: p for the positive class and 1 - p for the negative one.
    """
    num_true, num_false = _keras_counts(labels, probabilities)
    rates, false_rates = num_true / len(labels), num_false / len(labels)
    return float(np.sum((false_rates[:-1] - false_rates[1:]) * (rates[:-1] + rates[1:]) / 2))


def keras_precision_area(labels: NDArray[np.bool_], probabilities: Reals) -> float:
    """Return the area under the precision-recall curve as approximated by Keras.

    Between two of 200 thresholds, true positives are interpolated linearly over all predicted
    positives, after Davis and Goadrich (2006), section 3.

    Args:
        labels: As for `keras_roc_area`.
        probabilities: As for `keras_roc_area`.
    """
    num_true, num_false = _keras_counts(labels, probabilities)
    positive = num_true + num_false
    more_true, more = num_true[:-1] - num_true[1:], positive[:-1] - positive[1:]
    slope = np.divide(more_true, more, out=np.zeros(len(more)), where=more > 0)
    start = num_true[1:] - slope * positive[1:]
    both = (positive[:-1] > 0) & (positive[1:] > 0)
    ratio = np.divide(positive[:-1], positive[1:], out=np.ones(len(more)), where=both)
    return float(np.sum(slope * (more_true + start * np.log(ratio))) / len(labels))


def _keras_counts(
    labels: NDArray[np.bool_], probabilities: Reals
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the numbers of true and false positives above each threshold, ascending."""
    _check(labels, probabilities)
    inner = np.arange(1, NUM_THRESHOLDS - 1) / (NUM_THRESHOLDS - 1)
    thresholds = np.concatenate([[-1e-7], inner, [1 + 1e-7]])
    truth = np.concatenate([labels, ~labels])
    columns = np.concatenate([probabilities, 1 - np.asarray(probabilities, np.float64)])
    counts = []
    for part in (np.sort(columns[truth]), np.sort(columns[~truth])):
        counts.append((len(part) - np.searchsorted(part, thresholds, "right")).astype(np.float64))
    return counts[0], counts[1]


def confusion(labels: NDArray[np.bool_], predictions: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the confusion matrix (2, 2): rows are labels, columns predictions, False first."""
    cells = 2 * labels.astype(np.int64) + predictions
    return np.bincount(cells, minlength=4).reshape(2, 2)


def _thresholds(
    labels: NDArray[np.bool_], scores: Reals
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of true and of all predicted positives at each score, descending."""
    _check(labels, scores)
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    num_true = np.cumsum(labels[order], dtype=np.int64)[last_of_ties]
    return num_true, np.asarray(last_of_ties + 1, np.int64)


def _check(labels: NDArray[np.bool_], scores: Reals) -> None:
    """Raise ValueError unless there is a score for each label."""
    if labels.shape != scores.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"expected labels (N,) and as many scores, got {labels.shape} and {scores.shape}"
        )
    if np.isnan(scores).any():
        raise ValueError(f"score {int(np.argmax(np.isnan(scores)))} is NaN")
