"""Scores follow the published rule, for every frame, whatever the windows share."""

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.checkpoints.build import load_released
from model.checkpoints.files import read_weights
from model.checkpoints.registry import find_file
from model.contract import Network
from model.networks.light_asd import LightASD
from model.networks.lr_asd import LRASD
from model.networks.talknet import TalkNet
from model.scoring.prepared import inference_copy
from model.scoring.windows import probabilities, score_track, scores, track_logits
from tests.parity.fill import fill, inputs
from tests.parity.filled import filled
from tests.parity.references import reference
from utils.features.mfcc import mfcc

NETWORKS = [TalkNet, LightASD, LRASD]
PUBLISHED = (1, 2, 3, 4, 5, 6)
PRETRAIN = os.environ.get("TALKNET_PRETRAIN")


@cache
def real(make: type[Network]) -> Network:
    return filled(make())


class CheapEyes(nn.Module):
    """Reads 16 pixels of every frame and as many frames around it as the real encoder does."""

    def __init__(self, channels: int, radius: int) -> None:
        super().__init__()
        self.look = nn.Conv1d(16, channels, 2 * radius + 1, padding=radius)

    def forward(self, faces: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        pixels = faces[:, :, ::28, ::28].flatten(2).float() / 128 - 1
        embeddings: Tensor = self.look(pixels.transpose(1, 2)).transpose(1, 2)[:, start:stop]
        COUNTED.append(embeddings.shape[0] * embeddings.shape[1])
        return embeddings


class CheapEars(nn.Module):
    """Averages the features of every frame."""

    def __init__(self) -> None:
        super().__init__()
        self.listen = nn.Linear(13, 128)

    def forward(self, audio: Tensor) -> Tensor:
        embeddings: Tensor = self.listen(audio.reshape(len(audio), -1, 4, 13).mean(2) / 10)
        return embeddings


COUNTED: list[int] = []  # frames that CheapEyes embedded, by call


@cache
def cheap(make: type[Network]) -> Network:
    """Return a network with the real one's radius and fusion behind cheap encoders."""
    network = filled(make())
    name = "visual_frontend" if make is TalkNet else "visual_encoder"
    eyes, ears = CheapEyes(512 if make is TalkNet else 128, make.radius), CheapEars()
    fill(eyes)
    fill(ears)
    setattr(network, name, eyes)
    network.audio_encoder = ears
    return network.eval()


def crops(num_frames: int) -> NDArray[np.uint8]:
    """Return a track whose frames differ, cheap to make at any length."""
    few = inputs("crops", (40, 112, 112), 0, 255).astype(np.uint8)
    order = np.random.default_rng(0).integers(0, len(few), num_frames)
    return few[order]


def rows(num_rows: int) -> NDArray[np.float32]:
    return inputs("features", (num_rows, 13), -10, 20)


def separate_passes(
    network: Network,
    faces: NDArray[np.uint8],
    features: NDArray[np.float32],
    windows: Sequence[int],
) -> NDArray[np.float32]:
    """Score the published way: every window of every length by itself."""
    num_frames = min(len(faces), len(features) // 4)
    total = np.zeros((num_frames, 2), np.float32)
    with torch.inference_mode():
        for length in windows:
            for start in range(0, num_frames, 25 * length):
                stop = min(start + 25 * length, num_frames)
                voice = torch.from_numpy(features[None, 4 * start : 4 * stop])
                images = torch.from_numpy(faces[None, start:stop])
                total[start:stop] += network(voice, images).av[0].numpy()
    return total / np.float32(len(windows))


def assert_shared_equals_separate(
    network: Network, num_frames: int, windows: Sequence[int] = PUBLISHED
) -> None:
    faces, features = crops(num_frames), rows(4 * num_frames)
    found = track_logits(network, faces, features, windows)
    assert found.dtype == np.float32
    expected = separate_passes(network, faces, features, windows)
    np.testing.assert_allclose(found, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("num_frames", [1, 2, 5, 24, 25, 26])
@pytest.mark.parametrize("make", NETWORKS)
def test_short_tracks(make: type[Network], num_frames: int) -> None:
    assert_shared_equals_separate(real(make), num_frames)


@pytest.mark.slow
@pytest.mark.parametrize("make", NETWORKS)
def test_track_with_several_borders(make: type[Network]) -> None:
    assert_shared_equals_separate(real(make), 78)


@pytest.mark.parametrize("num_frames", [149, 150, 151, 1501, 2000])
@pytest.mark.parametrize("make", NETWORKS)
def test_long_tracks(make: type[Network], num_frames: int) -> None:
    assert_shared_equals_separate(cheap(make), num_frames)


@pytest.mark.parametrize("windows", [(1,), (2,), (1, 2), (2, 5), (3, 7), (60,)], ids=str)
def test_other_windows(windows: tuple[int, ...]) -> None:
    assert_shared_equals_separate(cheap(LRASD), 510, windows)


@pytest.mark.parametrize("make", NETWORKS)
def test_the_number_of_frames_encoded_at_once_changes_nothing(
    make: type[Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU, many more are encoded at once."""
    track = cheap(make), crops(190), rows(760)
    expected = track_logits(*track, PUBLISHED)
    monkeypatch.setattr("model.scoring.windows._chunk_size", lambda _: 512)
    np.testing.assert_allclose(track_logits(*track, PUBLISHED), expected, atol=1e-5)


def test_shared_windows_cost_little_more_than_one_pass() -> None:
    network = cheap(TalkNet)
    COUNTED.clear()
    track_logits(network, crops(1500), rows(6000), PUBLISHED)
    assert sum(COUNTED) == 1500 + 59 * 4  # of the 59 borders, each changes 2 frames on either side
    COUNTED.clear()
    track_logits(network, crops(1500), rows(6000), (2,))
    assert sum(COUNTED) == 1500


def test_frames_beyond_the_features_take_the_last_score() -> None:
    network, faces = cheap(LightASD), crops(30)
    logits = track_logits(network, faces, rows(4 * 27 + 3))
    expected = separate_passes(network, faces, rows(4 * 27), network.windows)
    np.testing.assert_allclose(logits[:27], expected, atol=1e-3)
    np.testing.assert_array_equal(logits[27:], np.repeat(logits[26:27], 3, axis=0))


@pytest.mark.parametrize("num_rows", [1, 3])
def test_few_rows_of_features(num_rows: int) -> None:
    logits = track_logits(cheap(LightASD), crops(3), rows(num_rows))
    assert logits.shape == (3, 2)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize(
    ("num_frames", "num_samples"),
    [(1, 640), (1, 0), (2, 0), (30, 0), (30, 5000), (30, 19200), (30, 60000)],
)
@pytest.mark.parametrize("fps", [25, 23.976])
def test_every_frame_has_a_score(num_frames: int, num_samples: int, fps: float) -> None:
    waveform = inputs("sound", (num_samples,), -4000, 4000).astype(np.int16)
    found = score_track(cheap(LightASD), crops(num_frames), waveform, fps)
    assert found.shape == (num_frames,)
    assert np.isfinite(found).all()


def test_short_sound_is_continued_by_silence() -> None:
    network, faces = cheap(LightASD), crops(30)
    waveform = inputs("sound", (30 * 640,), -4000, 4000).astype(np.int16)
    waveform[5000:] = 0
    short = score_track(network, faces, waveform[:5000])
    np.testing.assert_array_equal(short, score_track(network, faces, waveform))


def test_scores_and_probabilities() -> None:
    logits = np.array([[0, 0], [-1, 2], [800, -800], [-800, 800]], np.float32)
    np.testing.assert_array_equal(scores(logits), [0, 2, -800, 800])
    expected = [0.5, 1 / (1 + np.exp(-3)), 0, 1]
    np.testing.assert_allclose(probabilities(logits), expected, atol=1e-7)


@pytest.mark.parametrize("windows", [(), (0,), (2, -1), (1.5,)], ids=str)
def test_wrong_windows(windows: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="windows must be one or more whole numbers"):
        track_logits(cheap(LightASD), crops(2), rows(8), windows)


def test_windows_named_twice_count_once() -> None:
    network = cheap(LightASD)
    np.testing.assert_array_equal(
        track_logits(network, crops(60), rows(240), (2, 1, 1, 2)),
        track_logits(network, crops(60), rows(240), (2, 1)),
    )


@pytest.mark.parametrize(("num_frames", "num_rows"), [(0, 8), (2, 0)])
def test_nothing_to_score(num_frames: int, num_rows: int) -> None:
    with pytest.raises(ValueError, match=f"found {num_frames} faces and {num_rows} rows"):
        track_logits(cheap(LightASD), crops(num_frames), rows(num_rows))


@pytest.mark.parametrize("make", NETWORKS)
def test_a_changed_network_gives_changed_scores(make: type[Network]) -> None:
    """Scoring works on a copy: the network stays as it is, the copy follows it."""
    network = filled(make()).train()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    before = track_logits(network, crops(4), rows(16))
    assert network.training
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    fill(network, salt="other")
    after = track_logits(network, crops(4), rows(16))
    expected = separate_passes(network.eval(), crops(4), rows(16), network.windows)
    np.testing.assert_allclose(after, expected, atol=1e-3)
    assert np.abs(after - before).max() > 0.01
    network.load_state_dict(state)
    np.testing.assert_array_equal(track_logits(network, crops(4), rows(16)), before)


def test_the_copy_follows_writes_through_data() -> None:
    """Torch's version counters do not tell of them."""
    network = filled(LightASD())
    copy = inference_copy(network)
    assert inference_copy(network) is copy
    before = track_logits(network, crops(4), rows(16))
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():
            tensor.data.mul_(1.05)
    expected = separate_passes(network, crops(4), rows(16), network.windows)
    after = track_logits(network, crops(4), rows(16))
    np.testing.assert_allclose(after, expected, atol=1e-3)
    assert np.abs(after - before).max() > 0.01
    assert inference_copy(network) is not copy


def test_a_network_made_in_inference_mode_is_copied_once() -> None:
    with torch.inference_mode():
        network = filled(LightASD())
    assert next(network.parameters()).is_inference()
    copies = [inference_copy(network) for _ in range(3)]
    assert copies[0] is copies[1] is copies[2]
    with torch.inference_mode():
        next(network.parameters()).zero_()
        assert inference_copy(network) is not copies[0]


@pytest.mark.parametrize("make", NETWORKS)
def test_bf16_is_close(make: type[Network]) -> None:
    network, faces, features = real(make), crops(26), rows(104)
    exact = track_logits(network, faces, features)
    rounded = track_logits(network, faces, features, precision="bf16")
    difference = np.abs(rounded - exact).max()
    assert 0 < difference < 0.05


def test_unknown_precision() -> None:
    with pytest.raises(ValueError, match="precision must be fp32 or bf16, found 'fp16'"):
        track_logits(cheap(LightASD), crops(2), rows(8), precision="fp16")  # type: ignore[arg-type]


@pytest.mark.weights
@pytest.mark.skipif(not PRETRAIN, reason="needs TALKNET_PRETRAIN")
@pytest.mark.parametrize("num_frames", [25, 60, 110])
def test_published_scores(num_frames: int) -> None:
    network = LightASD()
    path = Path(PRETRAIN or "") / "light_asd_talkset.model"
    load_released(network, read_weights(find_file(path)).state)
    expected = reference("windows")
    name = f"frames{num_frames}_samples{640 * num_frames}"
    waveform = np.rint(inputs("windows.waveform", (640 * num_frames,), -4000, 4000))
    small = np.rint(inputs("windows.face", (num_frames, 28, 28), 0, 255)).astype(np.uint8)
    faces = small.repeat(8, axis=1).repeat(8, axis=2)[:, 56:168, 56:168]
    found = score_track(network, faces, waveform.astype(np.int16), windows=PUBLISHED)
    per_length = expected[f"{name}_per_duration"]
    np.testing.assert_allclose(found[:-1], per_length.mean(axis=0), atol=1e-3)
    assert found[-1] == found[-2]
    final = expected[f"{name}_final"]
    exact = per_length.astype(np.float64).mean(axis=0)
    at_border = np.abs(np.abs(10 * exact) % 1 - 0.5) < 1e-2
    steps = np.abs(np.round(found[:-1].astype(np.float64), 1) - final)
    assert (steps[~at_border] < 1e-6).all()
    assert (steps < 0.1 + 1e-6).all()
    features = mfcc(waveform.astype(np.int16))
    for length, wanted in zip(PUBLISHED, per_length, strict=True):
        one = track_logits(network, faces, features, (length,))
        np.testing.assert_allclose(scores(one)[:-1], wanted, atol=1e-3)
