"""Score face tracks with a context network: each frame beside the other faces of its shot."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from model.contract import ContextNetwork
from model.devices import send
from model.scoring.clip_scoring import ClipEncoder, Encoded
from model.scoring.prepared import inference_copy
from model.scoring.scorers import Scored, still_needed
from utils.structures import CropPiece
from utils.tracking.contexts import FaceMoments, context_rows, gather, ranked_choice

BATCH = 128  # frames per forward pass


class _ContextFace:
    """The part of one track that is held."""

    def __init__(self, first: Encoded) -> None:
        self.start = self.due = self.stop = first.start  # frames held, and scored next
        self.ended = False
        self.embeddings = np.empty((0, first.embeddings.shape[1]), np.float32)
        self.areas = np.empty(0, np.float32)

    def append(self, more: Encoded) -> None:
        """Take the next frames."""
        sides = np.maximum(more.boxes[:, 2:] - more.boxes[:, :2], 0)
        self.embeddings = np.concatenate([self.embeddings, more.embeddings])
        self.areas = np.concatenate([self.areas, sides.prod(axis=1)])
        self.stop += len(more.embeddings)
        self.ended = more.last

    def forget(self, before: int) -> None:
        """Drop the frames before a video frame."""
        count = min(max(before - self.start, 0), len(self.areas))
        self.embeddings, self.areas = self.embeddings[count:], self.areas[count:]
        self.start += count


class ContextScorer:
    """Encodes each frame of a face once, and scores it in its context as soon as that is complete.

    It holds the embeddings within the context's length, and of frames that other faces may join.
    """

    def __init__(self, encoder: ClipEncoder, network: ContextNetwork, delay: int) -> None:
        """Take the networks; pieces come at most `delay` frames after they are full or ended."""
        self.form = encoder.form
        self._encoder, self._network = encoder, inference_copy(network)
        context = network.context
        self._behind = context.stride * context.before
        self._ahead = context.stride * (context.length - context.before - 1)
        self._delay = delay + encoder.form.piece + encoder.ahead
        self._newest = 0  # frames of the shot have come up to here at least
        self._faces: dict[int, _ContextFace] = {}

    def add(self, piece: CropPiece) -> Iterator[Scored]:
        """Yield the logits that have become known, of any tracks."""
        encoded = self._encoder.encode(piece)
        self._faces.setdefault(piece.track, _ContextFace(encoded)).append(encoded)
        self._newest = max(self._newest, piece.start + len(piece.crops))
        whole = self._newest - self._delay  # of all faces, all frames before this one have come
        yield from self._score(whole - self._ahead)
        self._faces = still_needed(self._faces, whole, self._behind)

    def finish(self) -> Iterator[Scored]:
        """Yield all logits that are still due."""
        yield from self._score(None)
        self._faces = {}
        self._newest = 0

    def _score(self, until: int | None) -> Iterator[Scored]:
        """Score the frames before `until` that are still due."""
        tracks = sorted(self._faces)
        faces = [self._faces[track] for track in tracks]
        last = [face.stop if until is None else min(face.stop, until) for face in faces]
        if not any(stop > face.due for stop, face in zip(last, faces, strict=True)):
            return
        moments = np.concatenate([np.arange(face.start, face.stop) for face in faces])
        held = FaceMoments([len(face.areas) for face in faces], moments)
        areas = np.concatenate([face.areas for face in faces])
        embeddings = np.concatenate([face.embeddings for face in faces])
        choose = ranked_choice(self._network.context, held, areas)
        for track, face, stop, first in zip(tracks, faces, last, held.starts, strict=True):
            if stop > face.due:
                due = range(int(first) + face.due - face.start, int(first) + stop - face.start)
                rows = context_rows(held, due, self._network.context, choose)
                yield Scored(track, self._run(embeddings, rows))
                face.due = stop

    def _run(self, embeddings: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the logits (N, 2) of contexts whose rows are given (N, S, L)."""
        device = next(self._network.parameters()).device
        logits = np.empty((len(rows), 2), np.float32)
        with torch.inference_mode():
            for first in range(0, len(rows), BATCH):
                some = slice(first, first + BATCH)
                contexts = send(gather(embeddings, rows[some]), device)
                logits[some] = self._network(contexts).av[:, 0].float().cpu().numpy()
        return logits
