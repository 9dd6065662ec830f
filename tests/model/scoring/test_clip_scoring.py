"""Clips of a track that comes in pieces are those of the whole track and of the whole sound."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.networks.ava_asd import AvaASD
from model.scoring.clip_scoring import ClipScorer, ClipSound, clip_offsets
from utils.features import ava_asd_mfcc
from utils.structures import CropPiece

NUM_FRAMES = 90
SOUND = (
    np.random.default_rng(0).normal(0, 1, NUM_FRAMES * 640)
    * np.linspace(100, 9000, NUM_FRAMES * 640)
).astype(np.int16)
CROPS = np.random.default_rng(1).integers(0, 256, (NUM_FRAMES, 18, 18), np.uint8)


def hear(start: int, stop: int) -> NDArray[np.int16]:
    """Return the sound, zeros outside it."""
    heard = np.pad(SOUND, (max(0, -start), max(0, stop - len(SOUND))))
    return heard[start + max(0, -start) : stop + max(0, -start)]


@pytest.fixture(scope="module")
def network() -> AvaASD:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return AvaASD("s_av_fc", num_frames=3, size=18).eval()


def score(network: AvaASD, start: int, lengths: list[int]) -> NDArray[np.float32]:
    """Score a track that begins at a frame and comes in pieces."""
    scorer = ClipScorer(network, hear, lambda: [SOUND[:999], SOUND[999:]])
    found, first = [], start
    for number, length in enumerate(lengths):
        boxes = np.zeros((length, 4), np.float32)
        crops, last = CROPS[first : first + length], number == len(lengths) - 1
        piece = CropPiece(7, 0, first, start, boxes, crops, crops[0], last)
        found += [one.logits for one in scorer.add(piece)]
        first += length
    return np.concatenate([*found, *(one.logits for one in scorer.finish())])


@pytest.mark.parametrize("start", [0, 3, 30], ids="from frame {}".format)
def test_pieces_score_as_the_whole_sound_tells(network: AvaASD, start: int) -> None:
    scored = np.arange(start, start + 40)
    rows = np.clip(scored[:, None] + clip_offsets(network.clip), start, None)
    audio = ava_asd_mfcc.ava_asd_mfcc(SOUND, np.arange(NUM_FRAMES) / 25, rows)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(audio), torch.from_numpy(CROPS[rows])).av[:, 0]
    for lengths in ([40], [1, 4, 2, 33], [25, 15]):
        found = score(network, start, lengths)
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4, err_msg=str(lengths))


def test_the_whole_sound_is_measured_once_and_only_where_it_matters() -> None:
    asked: list[int] = []

    def whole() -> list[NDArray[np.int16]]:
        asked.append(0)
        return [SOUND]

    rows = np.tile(np.arange(3), (2, 1))
    sound = ClipSound("ava_asd_mfcc", hear, whole)
    assert asked == []
    assert sound.of((10, 20), rows).shape == (2, 13, 12)
    assert len(asked) == 2  # once for the loudest band, once for the rest
    sound.of((20, 30), rows)
    assert len(asked) == 2
    assert len(ClipSound("asc_mfcc", hear, whole).of((10, 20), rows)) == 2
    assert len(asked) == 2
