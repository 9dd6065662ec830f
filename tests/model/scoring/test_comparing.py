"""Faces of one shot compete for the audio; faces that are seen alone keep their scores."""

import numpy as np
import torch
from numpy.typing import NDArray

from model.networks.synchrony import Synchrony
from model.scoring.comparing import ComparingScorer, compare_tracks
from model.scoring.scorers import SequenceScorer
from tests.parity.filled import filled
from utils.structures import SAMPLES_PER_FRAME, CropPiece


def comparing() -> Synchrony:
    """Return a network in which the match counts once."""
    network = filled(Synchrony())
    with torch.no_grad():
        network.match_weights.fill_(0.5)
    return network


def rows(num_frames: int, score: float, match: float) -> NDArray[np.float32]:
    """Return outputs of a face with the same score and match in all frames."""
    return np.tile(np.array([-score, score, match], np.float32), (num_frames, 1))


def test_the_face_that_fits_gains() -> None:
    tracks = {3: rows(10, 1.0, 2.0), 7: rows(10, 1.0, -2.0)}
    found = compare_tracks(comparing(), tracks, {3: 0, 7: 0})
    speaks = 1 / (1 + np.exp(-2.0))
    for track, gap in ((3, 4.0), (7, -4.0)):
        gain = np.log((1 + speaks) / (1 + speaks * np.exp(-gap))) / 2
        np.testing.assert_allclose(found[track][:, 1], 1 + gain, rtol=1e-4)
        np.testing.assert_allclose(found[track][:, 0], -found[track][:, 1])


def test_a_face_alone_keeps_its_score() -> None:
    """Also beside faces of other times, of the same match, or with closed lips."""
    cases = {
        "alone": ({0: rows(10, 1.0, 2.0)}, {0: 5}),
        "other times": ({0: rows(10, 1.0, 2.0), 1: rows(10, 1.0, 9.0)}, {0: 5, 1: 15}),
        "same match": ({0: rows(10, 1.0, 2.0), 1: rows(10, 1.0, 2.0)}, {0: 5, 1: 5}),
        "closed lips": ({0: rows(10, 1.0, 2.0), 1: rows(10, -9.0, 3.0)}, {0: 5, 1: 5}),
    }
    for name, (tracks, starts) in cases.items():
        found = compare_tracks(comparing(), tracks, starts)[0]
        np.testing.assert_allclose(found, tracks[0][:, :2], atol=1e-4, err_msg=name)


def test_only_common_frames_change() -> None:
    tracks = {0: rows(6000, 1.0, 2.0), 1: rows(100, 1.0, 5.0)}
    found = compare_tracks(comparing(), tracks, {0: 100, 1: 5000})
    changed = np.flatnonzero(np.abs(found[0][:, 1] - 1) > 1e-3)
    np.testing.assert_array_equal(changed, np.arange(4900, 5000))
    assert (found[0][4900:5000, 1] < 1).all()
    assert (found[1][:, 1] > 1).all()


def test_logits_come_at_the_end_of_the_shot() -> None:
    """Each shot is compared by itself, and a face that is alone is scored as without comparing."""
    network, rng = comparing(), np.random.default_rng(0)

    def hear(start: int, stop: int) -> NDArray[np.int16]:
        return ((np.arange(start, stop) * 7919) % 2000 - 1000).astype(np.int16)

    def piece(track: int, start: int) -> CropPiece:
        return CropPiece(
            track=track,
            shot=0,
            start=start,
            track_start=start,
            boxes=np.zeros((30, 4), np.float32),
            crops=rng.integers(0, 256, (30, 112, 112), np.uint8),
            thumbnail=np.zeros((112, 112), np.uint8),
            last=True,
        )

    assert hear(0, SAMPLES_PER_FRAME).any()
    scorer = ComparingScorer(network, SequenceScorer(network, hear))
    first, second, third = piece(0, 0), piece(1, 10), piece(2, 0)
    assert [*scorer.add(first), *scorer.add(second)] == []
    both = {scored.track: scored.logits for scored in scorer.finish()}
    assert [*scorer.add(third)] == []
    (alone,) = scorer.finish()
    separate = SequenceScorer(network, hear)
    for one, logits in ((first, both[0]), (second, both[1]), (third, alone.logits)):
        (expected,) = separate.add(one)
        assert logits.shape == (30, 2)
        seen_alone = (
            slice(None) if one is third else slice(0, 10) if one is first else slice(20, 30)
        )
        np.testing.assert_allclose(logits[seen_alone], expected.logits[seen_alone, :2], atol=1e-4)
    assert list(scorer.finish()) == []
