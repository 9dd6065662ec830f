"""Join the most similar groups of vectors; some pairs of groups must stay apart."""

import numpy as np
from numpy.typing import NDArray

MARGIN = 0.15  # cosine by which the nearest group must be nearer than the next to be clearly it
# Cosine that the next group is taken to have at least: in a video of two people, nobody else says
# how similar the faces of strangers are.
STRANGER = 0.05
ROWS = 500  # groups that are compared with all others at once


def average_linkage(
    means: NDArray[np.float32],
    sizes: NDArray[np.int64],
    apart: NDArray[np.bool_],
    least: float,
) -> NDArray[np.int64]:
    """Return the cluster of each group (G,), from 0 in order of their first groups.

    The two clusters whose members are the most similar on average are joined first. The mean
    cosine of all pairs is the product of the means, so groups of any size are as exact as
    their members. Memory: 5 G^2 bytes; time: G^2 steps in all, a little more in tight clusters.

    Args:
        means: (G, C) means of the unit vectors of each group, not normalised.
        sizes: (G,) vectors in each group.
        apart: (G, G) pairs of groups that are never joined, nor are clusters that hold them.
        least: Mean cosine down to which clusters are joined.
    """
    counts = sizes.astype(np.float32)
    similar = np.asarray(means @ means.T, np.float32)
    similar[apart] = -np.inf  # stays so in every mean
    np.fill_diagonal(similar, -np.inf)
    owners = np.arange(len(means))
    nearest = similar.argmax(axis=1) if len(means) else owners
    best = similar[owners, nearest]
    while len(means) and best.max() >= least:
        kept = int(best.argmax())
        gone = int(nearest[kept])
        kept, gone = min(kept, gone), max(kept, gone)
        share = counts[kept] / (counts[kept] + counts[gone])
        row = share * similar[kept] + (1 - share) * similar[gone]
        row[[kept, gone]] = -np.inf
        similar[kept] = similar[:, kept] = row
        similar[gone] = similar[:, gone] = best[gone] = -np.inf
        counts[kept] += counts[gone]
        owners[owners == gone] = kept
        changed = np.flatnonzero((nearest == kept) | (nearest == gone))  # a mean is never nearer
        changed = np.union1d(changed, kept)
        nearest[changed] = similar[changed].argmax(axis=1)
        best[changed] = similar[changed, nearest[changed]]
    return np.unique(owners, return_inverse=True)[1].astype(np.int64)


def clear_pairs(
    means: NDArray[np.float32],
    sizes: NDArray[np.int64],
    apart: NDArray[np.bool_],
    least: NDArray[np.float32],
) -> list[tuple[int, int]]:
    """Return pairs of a group and another of at least its size that is clearly nearest to it.

    No group is in two of them. A group that must stay apart from its nearest has no clear one.

    Args:
        means: (G, C) as for `average_linkage`.
        sizes: (G,) how much is known of each group.
        apart: (G, G) as for `average_linkage`.
        least: (G,) mean cosine that a group's nearest must have.
    """
    if len(means) < 2:
        return []
    rows = np.arange(len(means))
    nearest = np.empty(len(means), np.int64)
    best, following = np.empty((2, len(means)), np.float32)
    for start in range(0, len(means), ROWS):
        part = rows[start : start + ROWS]
        similar = np.asarray(means[part] @ means.T, np.float32)
        similar[part - start, part] = -np.inf
        nearest[part] = similar.argmax(axis=1)
        best[part] = similar[part - start, nearest[part]]
        similar[part - start, nearest[part]] = -np.inf
        following[part] = np.maximum(similar.max(axis=1), STRANGER)
    clear = (best >= least) & (best - following >= MARGIN) & ~apart[rows, nearest]
    clear &= sizes <= sizes[nearest]
    pairs: list[tuple[int, int]] = []
    used: set[int] = set()
    for group in rows[clear][np.argsort(-best[clear], kind="stable")].tolist():
        other = int(nearest[group])
        if not used & {group, other}:
            pairs.append((group, other))
            used |= {group, other}
    return pairs
