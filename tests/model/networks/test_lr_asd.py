"""LR-ASD gives what the published network gives, value by value."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.building import load_released
from model.networks.lr_asd import LRASD
from model.states import load_state
from tests.parity.fill import inputs
from tests.parity.filled import filled, published_name
from tests.parity.references import reference

PRETRAIN = os.environ.get("TALKNET_PRETRAIN")


@pytest.fixture(scope="module")
def network() -> LRASD:
    return filled(LRASD())


def stages(network: LRASD, frames: int) -> dict[str, Tensor]:
    """Return everything that the reference names, from its inputs."""
    audio = inputs(f"lr_asd.audio.T{frames}", (1, 4 * frames, 13), -10, 20)
    faces = inputs(f"lr_asd.visual.T{frames}", (1, frames, 112, 112), 0, 255)
    with torch.inference_mode():
        voice = network.encode_audio(torch.from_numpy(audio))
        visual = network.encode_faces(torch.from_numpy(faces))
        logits = network(torch.from_numpy(audio), torch.from_numpy(faces))
        assert logits.visual is not None
        fusion = network.fusion(voice, visual)
        backend = network.recurrence(fusion)
        return {
            "audio_embed": voice,
            "visual_embed": visual,
            "fusion": fusion,
            "av_backend": backend[0],
            "logits_av": logits.av[0],
            "logits_v": logits.visual[0],
            "score_av": logits.av[0, :, 1],
            "prob_av": torch.softmax(logits.av[0], dim=1)[:, 1],
            "audio_head8": torch.from_numpy(audio).flatten()[:8],
            "visual_head8": torch.from_numpy(faces).flatten()[:8],
        }


def compare(
    found: dict[str, Tensor], expected: dict[str, NDArray[np.float32]], prefix: str, atol: float
) -> None:
    names = {name.removeprefix(prefix) for name in expected if name.startswith(prefix)}
    assert names == set(found)
    for name, values in found.items():
        limit = 1e-4 if name == "prob_av" else atol
        wanted = expected[prefix + name]
        np.testing.assert_allclose(values, wanted, atol=limit, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("frames", [25, 50])
def test_every_stage(network: LRASD, frames: int) -> None:
    compare(stages(network, frames), reference("lr_asd"), f"T{frames}_", atol=1e-3)


@pytest.mark.weights
@pytest.mark.skipif(not PRETRAIN, reason="needs TALKNET_PRETRAIN")
@pytest.mark.parametrize("trained_on", ["ava", "talkset"])
def test_released_weights(trained_on: str) -> None:
    network = LRASD().eval()
    load_released(network, load_state(Path(PRETRAIN or "") / f"lr_asd_{trained_on}.model"))
    for frames in (25, 50):
        prefix = f"{trained_on}_T{frames}_"
        compare(stages(network, frames), reference("lr_asd_real"), prefix, atol=1e-4)


def test_published_names_are_complete(network: LRASD) -> None:
    assert len({published_name(network, name) for name in network.state_dict()}) == 168
    assert sum(parameter.numel() for parameter in network.parameters()) == 837_156
