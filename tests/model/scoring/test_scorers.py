"""Faces that are seen at the same time share their audio; their scores are those of each alone."""

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.contract import Logits, Network
from model.networks.lr_asd import LRASD
from model.scoring.prepared import Precision
from model.scoring.scorers import SequenceScorer
from tests.parity.filled import filled
from utils.structures import SAMPLES_PER_FRAME, CropPiece


class CountedVoices(Network):
    """A small network that counts the windows whose audio it encodes."""

    radius = 1
    windows = (1, 2)
    encoded = 0

    def __init__(self) -> None:
        super().__init__()
        self.audio = torch.nn.Linear(4 * 13, 6)
        self.head = torch.nn.Linear(6, 2)

    def encode_audio(self, audio: Tensor) -> Tensor:
        CountedVoices.encoded += len(audio)
        return self.audio(audio.reshape(len(audio), -1, 52))  # type: ignore[no-any-return]

    def encode_faces(self, faces: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        return faces[:, start:stop].float().mean((2, 3))[..., None].expand(-1, -1, 6) / 255

    def fuse(self, audio: Tensor, faces: Tensor) -> Logits:
        return Logits(self.head(torch.tanh(audio + faces - (audio + faces).mean(1, keepdim=True))))


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return CountedVoices().eval()


def piece(track: int, start: int, stop: int, track_start: int, last: bool = True) -> CropPiece:
    generator = np.random.default_rng(track)
    crops = generator.integers(0, 256, (stop - start, 112, 112), dtype=np.uint8)
    boxes = np.zeros((len(crops), 4), np.float32)
    return CropPiece(track, 0, start, track_start, boxes, crops, crops[0], last)


class Microphone:
    """Noise at any time, and the spans that were read."""

    def __init__(self) -> None:
        self.read: list[tuple[int, int]] = []
        self._noise = np.random.default_rng(9).integers(-9000, 9000, 200 * SAMPLES_PER_FRAME)

    def __call__(self, start: int, stop: int) -> NDArray[np.int16]:
        self.read.append((start // SAMPLES_PER_FRAME, stop // SAMPLES_PER_FRAME))
        return self._noise[start:stop].astype(np.int16)


def scored(network: Network, pieces: list[CropPiece]) -> Iterator[NDArray[np.float32]]:
    """Yield the logits of each piece, scored by itself."""
    for one in pieces:
        (found,) = SequenceScorer(network, Microphone()).add(one)
        yield found.logits


@pytest.mark.parametrize(
    ("pieces", "spans", "num_windows"),
    [
        ([piece(0, 10, 70, 10), piece(1, 10, 70, 10), piece(2, 10, 70, 10)], [(10, 70)], 4),
        ([piece(0, 10, 70, 10), piece(1, 11, 70, 11)], [(10, 70), (11, 70)], 8),
        ([piece(0, 10, 70, 10), piece(1, 10, 60, 10)], [(10, 70), (10, 60)], 7),
        ([piece(0, 10, 70, 10), piece(1, 10, 70, 5)], [(10, 70), (9, 70)], 8),
        ([piece(0, 10, 70, 10), piece(1, 10, 70, 10, False)], [(10, 70), (10, 71)], 8),
        ([piece(0, 0, 9, 0), piece(1, 10, 19, 10)], [(0, 9), (10, 19)], 2),
    ],
    ids=["at the same time", "later", "shorter", "continued", "goes on", "afterwards"],
)
def test_audio_of_the_same_time_is_encoded_once(  # and a rest once for all window lengths
    network: Network, pieces: list[CropPiece], spans: list[tuple[int, int]], num_windows: int
) -> None:
    microphone = Microphone()
    scorer = SequenceScorer(network, microphone)
    CountedVoices.encoded = 0
    found = [one.logits for part in pieces for one in scorer.add(part)]
    assert (microphone.read, CountedVoices.encoded) == (spans, num_windows)
    for logits, alone in zip(found, scored(network, pieces), strict=True):
        np.testing.assert_array_equal(logits, alone)
    assert np.ptp(found[0]) > 0.1


def test_the_copy_for_inference_is_made_once(network: Network) -> None:
    """Comparing all weights before each short track took up to 5 % of the time."""
    scorer = SequenceScorer(network, Microphone())
    before = [one.logits for one in scorer.add(piece(0, 0, 30, 0))]
    with torch.no_grad():
        network.head.weight.add_(1)  # type: ignore[union-attr, operator]
    after = [one.logits for one in scorer.add(piece(0, 0, 30, 0))]
    with torch.no_grad():
        network.head.weight.sub_(1)  # type: ignore[union-attr, operator]
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("has_bf16", "agreement", "chosen"),
    [(True, 10.0, "bf16"), (True, 0.0, "fp32"), (False, 10.0, "fp32")],
    ids=["agrees", "differs", "emulated"],
)
def test_bf16_is_chosen_where_it_is_fast_and_the_first_piece_agrees(
    has_bf16: bool,
    agreement: float,
    chosen: Precision,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = filled(LRASD())
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_bf16})
    monkeypatch.setattr("model.scoring.scorers.AGREEMENT", agreement)
    parts = [piece(0, 0, 6, 0), piece(1, 6, 12, 6)]
    with caplog.at_level(logging.INFO):
        automatic = SequenceScorer(network, Microphone(), precision="auto")
        found = [one.logits for part in parts for one in automatic.add(part)]
    (first,) = SequenceScorer(network, Microphone()).add(parts[0])
    (second,) = SequenceScorer(network, Microphone(), precision=chosen).add(parts[1])
    np.testing.assert_array_equal(found[0], first.logits)
    np.testing.assert_array_equal(found[1], second.logits)
    assert [line.split(",")[0] for line in caplog.messages] == [f"precision: {chosen}"] * has_bf16
