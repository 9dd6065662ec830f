"""TalkNet gives what the published network gives, value by value."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.networks.talknet import TalkNet
from tests.parity.fill import inputs
from tests.parity.filled import filled, published_name
from tests.parity.references import reference


def assert_close(found: Tensor | None, expected: NDArray[np.float32], name: str = "") -> None:
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=1e-3, rtol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def network() -> TalkNet:
    return filled(TalkNet())


@pytest.fixture(scope="module")
def expected() -> dict[str, NDArray[np.float32]]:
    return reference("talknet")


def audio(name: str, clips: int, frames: int) -> Tensor:
    return torch.from_numpy(inputs(f"talknet.audio.{name}", (clips, 4 * frames, 13), -10, 20))


def faces(name: str, clips: int, frames: int) -> Tensor:
    shape = (clips, frames, 112, 112)
    return torch.from_numpy(inputs(f"talknet.visual.{name}", shape, 0, 255))


@pytest.mark.parametrize("frames", [25, 50])
def test_every_stage(
    network: TalkNet, expected: dict[str, NDArray[np.float32]], frames: int
) -> None:
    name = f"T{frames}"
    with torch.inference_mode():
        voice = network.encode_audio(audio(name, 1, frames))
        frontend = network.encode_faces(faces(name, 1, frames))
        temporal = network.visual_temporal(frontend.transpose(1, 2))
        visual = network.visual_projection(temporal).transpose(1, 2)
        cross_audio = network.cross_audio(voice, visual)
        cross_visual = network.cross_visual(visual, voice)
        joined = torch.cat((cross_audio, cross_visual), dim=2)
        found = {
            "audio_embed": voice,
            "visual_frontend512": frontend,
            "visual_tcn512": temporal.transpose(1, 2),
            "visual_embed": visual,
            "cross_audio": cross_audio,
            "cross_visual": cross_visual,
            "av_backend": network.self_attention(joined, joined)[0],
        }
    for stage, values in found.items():
        if f"{name}_{stage}" in expected:
            assert_close(values, expected[f"{name}_{stage}"], stage)


@pytest.mark.parametrize("frames", [25, 50])
def test_logits(network: TalkNet, expected: dict[str, NDArray[np.float32]], frames: int) -> None:
    name = f"T{frames}"
    with torch.inference_mode():
        logits = network(audio(name, 1, frames), faces(name, 1, frames))
    assert_close(logits.av[0], expected[f"{name}_logits_av"])
    assert logits.audio is not None and logits.visual is not None
    assert_close(logits.audio[0], expected[f"{name}_logits_a"])
    assert_close(logits.visual[0], expected[f"{name}_logits_v"])
    assert_close(logits.av[0, :, 1], expected[f"{name}_score_av"])
    probability = torch.softmax(logits.av[0], dim=1)[:, 1]
    np.testing.assert_allclose(probability, expected[f"{name}_prob_av"], atol=1e-4, rtol=0)


def test_joined_clips_mix_as_published(expected: dict[str, NDArray[np.float32]]) -> None:
    network = filled(TalkNet(join_clips=True))
    with torch.inference_mode():
        voice = network.encode_audio(audio("B2", 2, 10))
        frontend = network.encode_faces(faces("B2", 2, 10))
        visual = network.visual_projection(network.visual_temporal(frontend.transpose(1, 2)))
        logits = network.fuse(voice, frontend)
        part = network.encode_faces(faces("B2", 2, 10), 3, 7)
    assert_close(voice, expected["B2_audio_embed"])
    assert_close(visual.transpose(1, 2), expected["B2_visual_embed"])
    assert_close(logits.av[:, :, 1].flatten(), expected["B2_score_av"])
    torch.testing.assert_close(part, frontend[:, 3:7])


def test_clips_of_a_batch_are_kept_apart(network: TalkNet) -> None:
    clips, voices = faces("B2", 2, 10), audio("B2", 2, 10)
    with torch.inference_mode():
        together = network(voices, clips).av
        alone = torch.cat([network(voices[i : i + 1], clips[i : i + 1]).av for i in range(2)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_published_names_are_complete(network: TalkNet) -> None:
    names = {published_name(network, name) for name in network.state_dict()}
    assert len(names | network.released_unused) == 487
    assert sum(parameter.numel() for parameter in network.parameters()) == 15_744_481 - 64 * 64
