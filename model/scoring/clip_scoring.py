"""Score face tracks with a clip network: every frame by the clip around it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from model.contract import ClipNetwork
from model.devices import send
from model.scoring.prepared import inference_copy
from model.scoring.scorers import Hear, Scored, WholeSound
from utils.features import feature_module
from utils.structures import FPS, SAMPLES_PER_FRAME, ClipSpec, CropForm, CropPiece

PIECE = 4 * FPS  # frames; short because crops in colour are large


class Encoded(NamedTuple):
    """The outputs of a clip network for consecutive frames of a track."""

    start: int  # video frame of the first
    logits: NDArray[np.float32]  # (T, 2)
    embeddings: NDArray[np.float32]  # (T, C)
    boxes: NDArray[np.float32]  # (T, 4)
    last: bool  # nothing of this track follows


class _Carry(NamedTuple):
    """The frames of a track whose clips, or whose neighbours' clips, reach into the next piece."""

    start: int  # video frame of the first
    crops: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    due: int  # video frame that is scored next


def clip_offsets(clip: ClipSpec) -> NDArray[np.int64]:
    """Return the frames of a clip, relative to the scored one, at the working rate: (length,)."""
    places = np.arange(clip.length) - clip.before
    return np.rint(places * FPS / clip.fps).astype(np.int64)


class ClipSound:
    """Computes the audio inputs of a clip network."""

    def __init__(self, feature: str, hear: Hear, whole: WholeSound | None = None) -> None:
        """Take a module of utils/features; if it has `measure`, it is given the whole audio."""
        module = feature_module(feature)
        self._compute = getattr(module, feature)
        self._lead = int(np.ceil(getattr(module, "LEAD_S", 0.0) * FPS))  # frames
        self._measure = getattr(module, "measure", None) if whole is not None else None
        self._hear, self._whole = hear, whole
        self._known: dict[str, Any] = {}  # what `measure` found, from the first clips on

    def of(self, span: tuple[int, int], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the audio (N, ...) of clips whose frames `rows` counts from the span's first.

        Args:
            span: Video frames [start, stop) that are available.
            rows: (N, length).
        """
        start, stop = span
        if self._measure is not None and not self._known:
            self._known = {"statistics": self._measure(self._whole)}
        first = max(0, start - self._lead)  # before 0 there is no audio, not even silence
        waveform = self._hear(first * SAMPLES_PER_FRAME, stop * SAMPLES_PER_FRAME)
        times = np.arange(start - first, stop - first) / FPS
        found: NDArray[np.float32] = self._compute(waveform, times, rows, **self._known)
        return found


class ClipEncoder:
    """Runs a clip network over tracks that come in pieces; holds the ends of open tracks."""

    def __init__(self, network: ClipNetwork, hear: Hear, whole: WholeSound | None = None) -> None:
        inputs = network.inputs
        self.form = CropForm(inputs.size, inputs.colour, PIECE, inputs.tight)
        self.network = inference_copy(network)
        self._sound = ClipSound(network.inputs.feature, hear, whole)
        self._offsets = clip_offsets(network.clip)
        self.ahead = int(self._offsets[-1])  # frames after a scored one that its clip reads
        self._carries: dict[int, _Carry] = {}

    def encode(self, piece: CropPiece) -> Encoded:
        """Return the outputs for the frames whose clips are complete by now."""
        carry = self._carries.pop(piece.track, None)
        start, crops, boxes, due = piece.start, piece.crops, piece.boxes, piece.start
        if carry is not None:
            start, due = carry.start, carry.due
            crops = np.concatenate([carry.crops, crops])
            boxes = np.concatenate([carry.boxes, boxes])
        stop = start + len(crops)
        until = stop if piece.last else max(due, stop - self.ahead)
        if not piece.last:
            kept = max(until + int(self._offsets[0]), start)
            self._carries[piece.track] = _Carry(
                kept, crops[kept - start :], boxes[kept - start :], until
            )
        scored = np.arange(due - start, until - start)
        rows = np.clip(scored[:, None] + self._offsets, 0, len(crops) - 1)
        logits, embeddings = self._run(start, crops, rows)
        return Encoded(due, logits, embeddings, boxes[due - start : until - start], piece.last)

    def _run(
        self, start: int, crops: NDArray[np.uint8], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return logits (N, 2) and embeddings (N, C) of the clips with the given rows."""
        span = (start, start + len(crops))
        device = next(self.network.parameters()).device
        logits = np.empty((len(rows), 2), np.float32)
        embeddings = np.empty((len(rows), self.network.num_embedding), np.float32)
        with torch.inference_mode():
            for first in range(0, len(rows), self.network.at_once):
                some = slice(first, first + self.network.at_once)
                audio = send(self._sound.of(span, rows[some]), device)
                faces = send(crops[rows[some]], device)
                outputs = self.network(audio, faces)
                assert outputs.embedding is not None
                logits[some] = outputs.av[:, 0].float().cpu().numpy()
                embeddings[some] = outputs.embedding[:, 0].float().cpu().numpy()
        return logits, embeddings


class ClipScorer:
    """Scores every frame by the clip around it."""

    def __init__(self, network: ClipNetwork, hear: Hear, whole: WholeSound | None = None) -> None:
        self._encoder = ClipEncoder(network, hear, whole)
        self.form = self._encoder.form

    def add(self, piece: CropPiece) -> Iterator[Scored]:
        """Yield the logits of the frames whose clips are complete."""
        yield Scored(piece.track, self._encoder.encode(piece).logits)

    def finish(self) -> Iterator[Scored]:
        """Yield nothing: a track's last piece completes it."""
        return iter(())
