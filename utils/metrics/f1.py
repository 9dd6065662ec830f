"""F1 and accuracy of binary predictions."""

import numpy as np
from numpy.typing import NDArray


def f1(labels: NDArray[np.bool_], predictions: NDArray[np.bool_]) -> float:
    """Return 2 TP / (2 TP + FP + FN), in [0, 1]; 0 if there are neither labels nor predictions."""
    check_pairs(labels, predictions)
    num_named = np.count_nonzero(labels) + np.count_nonzero(predictions)
    return 2 * np.count_nonzero(labels & predictions) / num_named if num_named else 0.0


def accuracy(labels: NDArray[np.bool_], predictions: NDArray[np.bool_]) -> float:
    """Return the fraction of correct predictions, in [0, 1]; 0 without labels."""
    check_pairs(labels, predictions)
    return np.count_nonzero(labels == predictions) / len(labels) if len(labels) else 0.0


def check_pairs(labels: NDArray[np.bool_], predictions: NDArray[np.bool_]) -> None:
    """Raise ValueError unless both are boolean vectors of the same length."""
    for name, values in (("labels", labels), ("predictions", predictions)):
        if values.ndim != 1 or values.dtype != np.bool_:
            raise ValueError(f"{name} must be bool (N,), got {values.dtype} {values.shape}")
    if len(labels) != len(predictions):
        raise ValueError(
            f"expected one prediction for each label, got {len(predictions)} for {len(labels)}"
        )
