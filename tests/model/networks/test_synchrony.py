"""Synchrony begins as LR-ASD on the middle of the face, and sees 20 s to either side only."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.checkpoints.build import load_released, recognise
from model.checkpoints.files import read_weights
from model.checkpoints.registry import find_file
from model.networks.lr_asd import LRASD
from model.networks.synchrony import NUM_REFINERS, SEEN_COLUMNS, SEEN_ROWS, Synchrony, _silence
from model.scoring.prepared import inference_copy
from model.scoring.windows import score_track, track_logits
from model.shipped.synchrony_stages import take_over
from tests.parity.fill import inputs
from tests.parity.filled import filled

REACH = 540  # frames to a side, more than any part of the judgement sees


@pytest.fixture(scope="module")
def teacher() -> LRASD:
    return inference_copy(filled(LRASD()), "fp32")


@pytest.fixture(scope="module")
def student() -> Synchrony:
    made: Synchrony = filled(Synchrony())
    return made


def features(num_frames: int) -> Tensor:
    return torch.from_numpy(inputs("audio", (1, 4 * num_frames, 13), -10, 20))


def crops(num_frames: int) -> Tensor:
    return torch.from_numpy(inputs("faces", (1, num_frames, 112, 112), 0, 255))


def test_it_begins_with_the_opinion_of_lr_asd(teacher: LRASD) -> None:
    begun = Synchrony().eval()
    take_over(begun, teacher)
    audio, faces = features(25), crops(25)
    seen = faces[:, :, SEEN_ROWS, SEEN_COLUMNS]
    with torch.inference_mode():
        theirs = teacher.fuse(teacher.encode_audio(audio), teacher.encode_faces(seen))
        ours = begun(audio, faces)
    assert theirs.visual is not None
    assert ours.visual is not None
    torch.testing.assert_close(ours.visual, theirs.visual, atol=1e-4, rtol=1e-4)
    half = (theirs.av[..., 1] - theirs.av[..., 0]) / 2
    torch.testing.assert_close(ours.av, torch.stack((-half, half), 2), atol=1e-4, rtol=1e-4)


def test_what_lies_far_away_changes_nothing(student: Synchrony) -> None:
    """No worse on ten minutes than on ten seconds: the score of a frame is the same in both."""
    length, place = 2 * REACH + 151, REACH + 75
    rng = np.random.default_rng(0)
    faces = torch.from_numpy(rng.standard_normal((1, length, 128), np.float32))
    audio = features(length)
    with torch.inference_mode():
        whole = student.fuse(student.encode_audio(audio), faces).av[0, place]
        audio[:, : 4 * (place - REACH)] *= 3
        audio[:, 4 * (place + REACH) :] = 0
        faces[:, : place - REACH] = 0
        faces[:, place + REACH :] += 1
        again = student.fuse(student.encode_audio(audio), faces).av[0, place]
    torch.testing.assert_close(again, whole, atol=1e-5, rtol=1e-5)


def test_sound_and_face_both_count(student: Synchrony) -> None:
    audio, faces = features(60), crops(60)
    with torch.inference_mode():
        scores = student(audio, faces).av
        deaf = student(torch.zeros_like(audio), faces).av
        blind = student(audio, torch.zeros_like(faces)).av
    assert (scores - deaf).abs().max() > 1e-3
    assert (scores - blind).abs().max() > 1e-3


@pytest.mark.parametrize("num_frames", [1, 2, 30], ids=["one frame", "two frames", "odd seconds"])
def test_short_tracks_are_scored(student: Synchrony, num_frames: int) -> None:
    faces = crops(num_frames)[0].to(torch.uint8).numpy()
    logits = track_logits(student, faces, features(num_frames)[0].numpy())
    assert logits.shape == (num_frames, 2)
    np.testing.assert_allclose(logits[:, 0], -logits[:, 1], atol=1e-6)


def test_judges_are_heard_on_average(student: Synchrony) -> None:
    audio, faces = features(60), crops(60)
    with torch.inference_mode():
        heard, seen = student.encode_audio(audio), student.encode_faces(faces)
        compared = student.profile(*student.normalised(heard, seen))
        scores = student.scores(compared, heard, seen)
        logits = student.fuse(heard, seen).av
    assert len(scores) == NUM_REFINERS
    assert (scores[0] - scores[1]).abs().max() > 1e-3
    torch.testing.assert_close(logits[..., 1], scores.mean(0))


def test_digital_silence_is_no_trouble(student: Synchrony) -> None:
    silence = torch.full((1, 120, 13), -36.0)
    with torch.inference_mode():
        assert torch.isfinite(student(silence, crops(30)).av).all()


def test_shipped_weights_fit() -> None:
    path = Path(__file__).parents[3] / "pretrain" / "synchrony.safetensors"
    assert path.stat().st_size < 4e6
    network = Synchrony()
    load_released(network, read_weights(find_file(path)).state)
    heads = [one for name, one in network.named_parameters() if name.endswith(".head.weight")]
    assert len(heads) == NUM_REFINERS
    assert all(head.abs().max() > 0 for head in heads)
    assert recognise(read_weights(find_file(path)).state) == "synchrony"


def test_shipped_weights_call_nobody_speaking_without_a_voice() -> None:
    network = Synchrony()
    path = Path(__file__).parents[3] / "pretrain/synchrony.safetensors"
    load_released(network, read_weights(find_file(path)).state)
    hiss = np.random.default_rng(0).integers(-3, 4, 16000 * 4).astype(np.int16)
    face = np.full((100, 112, 112), 140, np.uint8)
    face[::2, 76:92, 40:72] = 30  # a mouth that opens and shuts all the time
    for waveform in (hiss, np.zeros_like(hiss)):
        assert (score_track(network, face, waveform) < 0).all()


def test_what_is_softer_than_any_voice_counts_against_it() -> None:
    level = torch.full((1, 60), -0.9)  # 8.4 on the logarithmic scale of steps
    level[:, 20:40] = -1.5  # 6: 2 below the softest of voices
    level[:, 50] = -3.0  # a moment beside louder ones
    found = _silence(level)[0]
    assert found[25:35].tolist() == pytest.approx([2.0] * 10)
    assert found[:25].max() == found[35:].max() == 0
