"""The silence rule wraps any scorer, whatever order its scores come in."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from model.scoring.scorers import Scored
from model.scoring.silence import SilenceScorer
from utils.structures import SAMPLES_PER_FRAME, CropForm, CropPiece

SILENT = range(20, 40)  # frames; silence is trusted from 5 frames after the audio ends


class LateScorer:
    """Gives each frame its own number as logits, all but the first ten when the shot ends."""

    form = CropForm(30)

    def __init__(self) -> None:
        self.due: list[Scored] = []

    def add(self, piece: CropPiece) -> Iterator[Scored]:
        numbers = np.arange(piece.start, piece.start + len(piece.boxes), dtype=np.float32)
        logits = np.stack([numbers, numbers], axis=1)
        self.due.append(Scored(piece.track, logits[10:]))
        yield Scored(piece.track, logits[:10])

    def finish(self) -> Iterator[Scored]:
        yield from reversed(self.due)
        self.due = []


def hear(start: int, stop: int) -> NDArray[np.int16]:
    """Return noise with a silent part."""
    frames = np.arange(start, stop) // SAMPLES_PER_FRAME
    return np.where((frames >= SILENT.start) & (frames < SILENT.stop), 0, 99).astype(np.int16)


def piece(track: int, start: int, num_frames: int) -> CropPiece:
    boxes, crops = np.zeros((num_frames, 4), np.float32), np.zeros((num_frames, 30, 30), np.uint8)
    return CropPiece(track, 0, start, start, boxes, crops, crops[0], last=True)


def score(scorer: SilenceScorer) -> dict[int, NDArray[np.float32]]:
    found: dict[int, list[NDArray[np.float32]]] = {0: [], 1: []}
    for one in (piece(0, 15, 20), piece(1, 22, 30)):
        for scored in scorer.add(one):
            found[scored.track].append(scored.logits)
    for scored in scorer.finish():
        found[scored.track].append(scored.logits)
    return {track: np.concatenate(parts) for track, parts in found.items()}


def test_silent_frames_do_not_speak() -> None:
    scorer = SilenceScorer(LateScorer(), hear)
    assert scorer.form == LateScorer.form and not scorer.heard
    found = score(scorer)
    for track, start, stop in ((0, 15, 35), (1, 22, 52)):
        expected = [
            (10.0, -10.0) if frame in range(25, 35) else (frame, frame)
            for frame in range(start, stop)
        ]
        assert [tuple(row) for row in found[track].tolist()] == expected
        assert found[track].dtype == np.float32
    assert scorer.heard


def test_logits_are_kept_if_wanted() -> None:
    scorer = SilenceScorer(LateScorer(), hear, keep_logits=True)
    assert score(scorer)[0][:, 1].tolist() == list(range(15, 35))
    assert scorer.heard


def test_silence_throughout_is_noticed() -> None:
    scorer = SilenceScorer(LateScorer(), lambda start, stop: np.zeros(stop - start, np.int16))
    assert set(score(scorer)[1][:, 0].tolist()) == {10.0}
    assert not scorer.heard
