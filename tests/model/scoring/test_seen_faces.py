"""Faces put into sequences are embedded as the whole sequences are, at a small part of the work."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.contract import Logits, Network
from model.layers.face_encoder import temporal_pads
from model.scoring.seen_faces import SeenFace, embed_sequences
from utils.structures import InputSpec

SIZE = 4
TRACK = np.random.default_rng(0).integers(1, 256, (60, SIZE, SIZE)).astype(np.uint8)


class Eyes(Network):
    """Sees `radius` frames to either side; zeros beyond a sequence are not blackness."""

    inputs = InputSpec(size=SIZE)
    released_names: ClassVar[Mapping[str, str]] = {}

    def __init__(self, radius: int) -> None:
        super().__init__()
        self.radius = radius  # type: ignore[misc]
        self.look = nn.Conv1d(SIZE * SIZE, 3, 2 * radius + 1)
        self.counted = 0

    def encode_audio(self, audio: Tensor) -> Tensor:
        return audio

    def encode_faces(self, faces: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        length = faces.shape[1]
        first, last, pads = temporal_pads(
            length, start, length if stop is None else stop, (self.radius,)
        )
        pixels = (faces[:, first:last].float() / 100 - 1).flatten(2).transpose(1, 2)
        found: Tensor = self.look(nn.functional.pad(pixels, pads[0])).transpose(1, 2)
        self.counted += found.shape[0] * found.shape[1]
        return found

    def fuse(self, audio: Tensor, faces: Tensor) -> Logits:
        return Logits(av=faces + audio)


def seen(network: Eyes, start: int, stop: int, spoilt: bool) -> SeenFace:
    """Frames [start, stop) of a sequence show part of a track; its ends may be anything."""
    with torch.inference_mode():
        whole = network.encode_faces(torch.from_numpy(TRACK)[None])[0]
    part = slice(15 + start, 15 + stop)
    embeddings = whole[part].clone()
    if spoilt:
        embeddings[: network.radius] = 1e6
        embeddings[max(0, len(embeddings) - network.radius) :] = 1e6
    return SeenFace(start, TRACK[part], embeddings)


@pytest.mark.parametrize("radius", [0, 1, 2, 6])
@pytest.mark.parametrize("length", [1, 2, 4, 5, 13, 30])
def test_sequences_are_as_if_encoded_whole(radius: int, length: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(radius)
        network = Eyes(radius)
    spans = [(a, b) for a in range(length) for b in range(a, length + 1) if b - a < 8 or b > 20]
    faces = [seen(network, start, stop, spoilt=True) for start, stop in spans]
    sequences = np.zeros((len(spans), length, SIZE, SIZE), np.uint8)
    for sequence, face in zip(sequences, faces, strict=True):
        sequence[face.start : face.stop] = face.pictures
    with torch.inference_mode():
        found = embed_sequences(network, faces, length)
        expected = network.encode_faces(torch.from_numpy(sequences))
    assert found.shape == (len(spans), length, 3)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_little_is_encoded_again() -> None:
    network = Eyes(2)
    faces = [seen(network, start, stop, spoilt=False) for start, stop in [(0, 30), (4, 21), (9, 9)]]
    network.counted = 0
    with torch.inference_mode():
        embed_sequences(network, faces, 30)
    blackness, borders, comes_and_goes = 5, 2 + 2, 4 + 4
    assert network.counted == blackness + borders + comes_and_goes


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (8, 11)], ids=["before", "after"])
def test_faces_outside_are_refused(start: int, stop: int) -> None:
    network = Eyes(1)
    with pytest.raises(ValueError, match=rf"within \[0, 10\), got .* from {start} on"):
        embed_sequences(network, [seen(network, start, stop, spoilt=False)], 10)
