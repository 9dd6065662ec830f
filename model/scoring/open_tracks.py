"""What is known of a track before its shot has ended."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.scoring.windows import probabilities, scores
from utils.structures import CropPiece, ScoredTrack, TrackEmbeddings


@dataclass(eq=False)
class OpenTrack:
    """What is known of a track before its shot has ended."""

    latest: CropPiece
    boxes: list[NDArray[np.float32]] = field(default_factory=list)
    logits: list[NDArray[np.float32]] = field(default_factory=list)
    embeddings: TrackEmbeddings | None = None  # once it has ended, under its crops' number

    def scored(self, number: int) -> ScoredTrack:
        """Return the whole track under its number in the video."""
        logits = np.concatenate(self.logits)
        return ScoredTrack(
            id=number,
            shot=self.latest.shot,
            start=self.latest.track_start,
            boxes=np.concatenate(self.boxes),
            scores=scores(logits),
            probabilities=probabilities(logits),
            thumbnail=self.latest.thumbnail,
        )
