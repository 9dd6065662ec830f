"""How well a similarity tells pairs of one person from pairs of two."""

import numpy as np
from numpy.typing import NDArray


def same_person_auc(similarities: NDArray[np.floating], same: NDArray[np.bool_]) -> float:
    """Return the probability that a pair of one person is more similar than a pair of two.

    Ties count half; NaN if one of the kinds is missing.

    Args:
        similarities: (N,) of pairs.
        same: (N,) whether a pair is of one person.
    """
    num_same, num_other = int(same.sum()), int((~same).sum())
    if not num_same or not num_other:
        return float("nan")
    _, places, counts = np.unique(similarities, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]  # of ties, their mean
    return float((ranks[same].sum() - num_same * (num_same + 1) / 2) / (num_same * num_other))
