"""Put faces into longer sequences, in which they are visible only part of the time.

A network that compares speakers reads all of them over the same frames. Where a face is absent its
pictures are black, as the authors of LoCoNet have it. The embeddings of such a sequence are
those of the face alone but for `radius` frames on either side of where it comes, goes or is cut
off, and far from it they are those of blackness. So each face is encoded once, however many
sequences it stands in, and again only beside those borders.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.contract import Network
from model.devices import send

_FRAMES_AT_ONCE = 32  # read by the encoder in one call, bounds the memory


@dataclass(frozen=True, eq=False)
class SeenFace:
    """A face in a sequence of frames: where it is seen, and what was made of it."""

    start: int  # frame of the sequence at which it is first seen, 0 or more
    pictures: NDArray[np.uint8]  # (n, H, W), or (n, H, W, 3); none if it is never seen
    embeddings: Tensor  # (n, C), those within `radius` of either end need not be right

    @property
    def stop(self) -> int:
        """Frame of the sequence from which on it is seen no more."""
        return self.start + len(self.pictures)


class _Piece(NamedTuple):
    """Frames [start, stop) of a sequence, embedded by reading frames [first, last) of it."""

    face: int
    first: int
    last: int
    start: int
    stop: int


def embed_sequences(network: Network, faces: Sequence[SeenFace], length: int) -> Tensor:
    """Return the embeddings (N, length, C) of the sequences in which N faces are seen.

    They are those that `encode_faces` gives for the whole sequences, with black pictures where a
    face is absent; of each face at most 4 `radius` frames are encoded, and 2 `radius` + 1 of
    blackness for all.

    Args:
        network: Its clips must be kept apart from each other.
        faces: One or more, each within [0, length).
        length: Frames of the sequences.
    """
    for face in faces:
        if face.start < 0 or face.stop > length or len(face.embeddings) != len(face.pictures):
            raise ValueError(
                f"expected as many pictures as embeddings, within [0, {length}), got "
                f"{len(face.pictures)} and {len(face.embeddings)} from {face.start} on"
            )
    device = next(network.parameters()).device
    found = _blackness(network, length, device).repeat(len(faces), 1, 1)
    groups = defaultdict(list)
    for number, face in enumerate(faces):
        found[number, face.start : face.stop] = face.embeddings
        for piece in _pieces(number, face, length, network.radius):
            shape = (piece.last - piece.first, piece.start - piece.first, piece.stop - piece.first)
            groups[shape].append(piece)
    for (num_read, start, stop), group in groups.items():
        num_clips = max(1, _FRAMES_AT_ONCE // num_read)
        for index in range(0, len(group), num_clips):
            batch = group[index : index + num_clips]
            clips = np.stack([_read(faces[one.face], one) for one in batch])
            embedded = network.encode_faces(send(clips, device), start, stop)
            for piece, embeddings in zip(batch, embedded, strict=True):
                found[piece.face, piece.start : piece.stop] = embeddings
    return found


def _blackness(network: Network, length: int, device: torch.device) -> Tensor:
    """Return the embeddings (length, C) of a sequence of black pictures.

    All frames that are further than `radius` from its ends are alike.
    """
    radius, inputs = network.radius, network.inputs
    needed = min(length, 2 * radius + 1)
    colours = (3,) if inputs.colour else ()
    pictures = torch.zeros(
        1, needed, inputs.size, inputs.size, *colours, dtype=torch.uint8, device=device
    )
    embeddings = network.encode_faces(pictures)[0]
    frames = torch.arange(length, device=device)
    return embeddings[torch.maximum(frames.clamp(max=radius), frames - (length - needed))]


def _pieces(number: int, face: SeenFace, length: int, radius: int) -> Iterator[_Piece]:
    """Yield what has to be encoded of a sequence beside the ends of where a face is seen."""
    if face.start == face.stop:
        return
    borders = [(edge - radius, edge + radius) for edge in (face.start, face.stop)]
    if borders[0][1] >= borders[1][0]:
        borders = [(borders[0][0], borders[1][1])]
    for begin, end in borders:
        start, stop = max(0, begin), min(length, end)
        if start < stop:
            yield _Piece(number, max(0, start - radius), min(length, stop + radius), start, stop)


def _read(face: SeenFace, piece: _Piece) -> NDArray[np.uint8]:
    """Return the pictures of a piece's frames, black where the face is absent."""
    pictures = np.zeros((piece.last - piece.first, *face.pictures.shape[1:]), np.uint8)
    first, last = max(face.start, piece.first), min(face.stop, piece.last)
    if first < last:
        pictures[first - piece.first : last - piece.first] = face.pictures[
            first - face.start : last - face.start
        ]
    return pictures
