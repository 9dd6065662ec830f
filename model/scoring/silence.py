"""Digital silence: where nobody is audible, nobody speaks, whatever the network says."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from model.scoring.scorers import Hear, Scored, Scorer
from utils.media.audio import SILENT_RADIUS, silent_frames
from utils.structures import SAMPLES_PER_FRAME, CropPiece

SILENCE_LOGITS = np.array([10.0, -10.0], np.float32)  # certainly not speaking


class SilenceScorer:
    """Wraps a scorer and replaces its logits where the audio is digitally silent.

    Args:
        scorer: Of any kind.
        hear: Gives the audio.
        keep_logits: Keep the scorer's logits in silence too; `heard` is still filled in.
    """

    def __init__(self, scorer: Scorer, hear: Hear, keep_logits: bool = False) -> None:
        self.form = scorer.form
        self.heard = False  # whether any face so far was seen while the audio was not silent
        self._scorer, self._hear, self._keep_logits = scorer, hear, keep_logits
        self._silent: dict[int, NDArray[np.bool_]] = {}  # by track, of the frames not scored yet

    def add(self, piece: CropPiece) -> Iterator[Scored]:
        """Yield the logits that have become known, of any tracks."""
        silent = self._find_silence(piece.start, piece.start + len(piece.boxes))
        self.heard |= not silent.all()
        earlier = self._silent.get(piece.track, silent[:0])
        self._silent[piece.track] = np.concatenate([earlier, silent])
        yield from map(self._replace, self._scorer.add(piece))

    def finish(self) -> Iterator[Scored]:
        """Yield all logits that are still due: the shot has ended."""
        yield from map(self._replace, self._scorer.finish())
        self._silent = {}

    def _find_silence(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Return for each frame of [start, stop) whether it lies in digital silence."""
        first, last = start - SILENT_RADIUS, stop + SILENT_RADIUS
        waveform = self._hear(first * SAMPLES_PER_FRAME, last * SAMPLES_PER_FRAME)
        return silent_frames(waveform)[SILENT_RADIUS : SILENT_RADIUS + stop - start]

    def _replace(self, scored: Scored) -> Scored:
        num_frames = len(scored.logits)
        silent = self._silent[scored.track]
        self._silent[scored.track] = silent[num_frames:]
        if self._keep_logits:
            return scored
        logits = np.where(silent[:num_frames, None], SILENCE_LOGITS, scored.logits)
        return Scored(scored.track, logits)
