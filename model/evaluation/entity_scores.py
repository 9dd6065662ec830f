"""Scores of the entities of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.scoring.prepared import Precision
from model.scoring.windows import probabilities


@dataclass(frozen=True)
class EvaluationOptions:
    """How entities are scored."""

    windows: Sequence[int] | None = None  # s; None for whole entities, as published
    precision: Precision = "fp32"
    num_workers: int = 0  # reader processes


@dataclass(frozen=True, eq=False)
class EntityScores:
    """Labels and logits of an entity, frame by frame."""

    video: str
    name: str
    timestamps: NDArray[np.float64]  # (T,) s
    labels: NDArray[np.int8]  # (T,)
    logits: NDArray[np.floating]  # (T, 2)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Probability of speaking of each frame, (T,)."""
        return probabilities(self.logits)
