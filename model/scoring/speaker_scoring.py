"""Score face tracks with a network that compares whole sequences of several speakers.

A track is scored in windows that overlap by half; where two windows meet, one fades into the
other, so there are no seams. In each window a face is compared with those of its shot that are
chosen by `utils.tracking.neighbours.choose_speakers`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.contract import Network
from model.devices import send
from model.scoring.prepared import Precision, inference_copy
from model.scoring.scorers import Hear, Scored, still_needed
from model.scoring.seen_faces import SeenFace, embed_sequences
from utils.errors import UserError
from utils.features import feature_function
from utils.structures import FPS, SAMPLES_PER_FRAME, STEPS_PER_FRAME, CropForm, CropPiece, FaceTrack
from utils.tracking.neighbours import choose_speakers, tracks_beside

PIECE = 4 * FPS
_ENCODED = 32  # frames that the encoder reads at once


class _SpeakerFace:
    """The part of one track that is held: crops, embeddings, boxes and audio features."""

    def __init__(self, piece: CropPiece) -> None:
        self.start = self.due = piece.start  # the first frame held, and the one scored next
        self.ended = False
        self.crops = piece.crops[:0]
        self.boxes = piece.boxes[:0]
        self.embeddings: Tensor | None = None
        self.features: NDArray[np.float32] | None = None
        self.sums = np.empty((0, 3), np.float32)  # from `due` on: weighted logits, and weights

    @property
    def stop(self) -> int:
        """Video frame after the last one that has come."""
        return self.start + len(self.boxes)

    def append(self, network: Network, piece: CropPiece, features: NDArray[np.float32]) -> None:
        """Add a piece; embeddings of earlier frames that depend on it are computed again."""
        known = len(self.boxes)
        self.crops = np.concatenate([self.crops, piece.crops])
        self.boxes = np.concatenate([self.boxes, piece.boxes])
        self.features = _join(self.features, features)
        again = max(known - network.radius, 0)
        more = encode_pictures(network, self.crops, again)
        old = self.embeddings
        self.embeddings = more if old is None else torch.cat([old[:again], more])
        self.ended = piece.last

    def forget(self, before: int) -> None:
        """Drop the frames before a video frame."""
        count = min(max(before - self.start, 0), len(self.boxes))
        assert self.embeddings is not None and self.features is not None
        self.crops, self.boxes = self.crops[count:], self.boxes[count:]
        self.embeddings = self.embeddings[count:]
        self.features = self.features[STEPS_PER_FRAME * count :]
        self.start += count

    def seen(self, start: int, stop: int) -> SeenFace:
        """Return the face as seen in frames [start, stop)."""
        first, last = max(start, self.start), min(stop, self.stop)
        held = slice(first - self.start, last - self.start)
        assert self.embeddings is not None
        return SeenFace(first - start, self.crops[held], self.embeddings[held])


class SpeakerScorer:
    """Encodes each frame of a face once, and compares faces window by window."""

    def __init__(
        self,
        network: Network,
        hear: Hear,
        delay: int,
        windows: Sequence[int] | None = None,
        precision: Precision = "fp32",
    ) -> None:
        """Take the network; pieces come at most `delay` frames after they are full or ended."""
        inputs = network.inputs
        self.form = CropForm(inputs.size, inputs.colour, PIECE, inputs.tight)
        lengths = network.windows if windows is None else windows
        if len(lengths) != 1:
            raise UserError(
                f"a network that compares speakers takes windows of one length, got {lengths}"
            )
        self._length = lengths[0] * FPS
        self._network = inference_copy(network, precision)
        self._hear, self._delay = hear, delay + PIECE
        self._compute = feature_function(network.inputs.feature)
        self._newest = 0
        self._faces: dict[int, _SpeakerFace] = {}

    def add(self, piece: CropPiece) -> Iterator[Scored]:
        """Yield the logits that have become known, of any tracks."""
        with torch.inference_mode():
            face = self._faces.setdefault(piece.track, _SpeakerFace(piece))
            face.append(self._network, piece, self._features(piece))
            self._newest = max(self._newest, piece.start + len(piece.crops))
            whole = self._newest - self._delay
            yield from self._score(whole)
        self._faces = still_needed(self._faces, whole, 2 * self._network.radius)

    def finish(self) -> Iterator[Scored]:
        """Yield all logits that are still due."""
        with torch.inference_mode():
            yield from self._score(None)
        self._faces = {}
        self._newest = 0

    def _features(self, piece: CropPiece) -> NDArray[np.float32]:
        """Return four rows of audio features per frame, computed with the audio around them."""
        first, stop = piece.start - 1, piece.start + len(piece.crops) + 1
        heard = self._hear(first * SAMPLES_PER_FRAME, stop * SAMPLES_PER_FRAME)
        rows = STEPS_PER_FRAME * len(piece.crops)
        return self._compute(heard, FPS, STEPS_PER_FRAME, STEPS_PER_FRAME + rows)

    def _score(self, whole: int | None) -> Iterator[Scored]:
        """Score the windows before frame `whole`, of which all faces have come; None: all."""
        for track in sorted(self._faces):
            face, found = self._faces[track], []
            while face.due < face.stop:
                stop = min(face.due + self._length, face.stop)
                reaches_end = (face.ended or whole is None) and stop == face.stop
                if whole is not None and (stop > whole or not (reaches_end or stop < face.stop)):
                    break
                found.append(self._window(track, face, stop, reaches_end))
            if found:
                yield Scored(track, np.concatenate(found))

    def _window(self, track: int, face: _SpeakerFace, stop: int, last: bool) -> NDArray[np.float32]:
        """Score one window of a face; return the logits that no later window changes."""
        logits = self._compare(track, face.due, stop)
        ramp = np.minimum(np.arange(1, len(logits) + 1), self._length // 2).astype(np.float32)
        weights = np.minimum(ramp, ramp[::-1] if not last else ramp[-1:].repeat(len(ramp)))
        sums = np.concatenate([logits * weights[:, None], weights[:, None]], axis=1)
        sums[: len(face.sums)] += face.sums
        final = len(sums) if last else self._length // 2
        face.sums = sums[final:]
        face.due += final
        done: NDArray[np.float32] = sums[:final, :2] / sums[:final, 2:]
        return done

    def _compare(self, track: int, start: int, stop: int) -> NDArray[np.float32]:
        """Return the logits (T, 2) of a face in frames [start, stop), beside others."""
        tracks = {
            number: FaceTrack(other.start, other.boxes)
            for number, other in self._faces.items()
            if number != track
        }
        chosen = choose_speakers(
            track, tracks_beside(start, stop, tracks), self._network.num_speakers
        )
        single = list(dict.fromkeys(chosen))
        faces = [self._faces[number].seen(start, stop) for number in single]
        embedded = embed_sequences(self._network, faces, stop - start)
        speakers = torch.stack([embedded[single.index(number)] for number in chosen])
        target = self._faces[track]
        assert target.features is not None
        steps = slice(*(STEPS_PER_FRAME * (frame - target.start) for frame in (start, stop)))
        audio = send(target.features[steps], embedded.device)
        outputs = self._network.fuse(self._network.encode_audio(audio[None]), speakers[None])
        logits: NDArray[np.float32] = outputs.av[0, 0].float().cpu().numpy()
        return logits


def encode_pictures(network: Network, crops: NDArray[np.uint8], start: int = 0) -> Tensor:
    """Return the embeddings of frames [start, T) of a face, encoded with the frames before them."""
    device = next(network.parameters()).device
    radius, found = network.radius, []
    for first in range(start, len(crops), _ENCODED):
        last = min(first + _ENCODED, len(crops))
        low, high = max(first - radius, 0), min(last + radius, len(crops))
        clip = send(crops[low:high], device)
        found.append(network.encode_faces(clip[None], first - low, last - low)[0])
    return torch.cat(found)


def _join(old: NDArray[np.float32] | None, new: NDArray[np.float32]) -> NDArray[np.float32]:
    return new if old is None else np.concatenate([old, new])
