"""Light-ASD and LR-ASD stage by stage beside the published networks."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.checkpoints.build import load_released
from model.checkpoints.files import read_weights
from model.checkpoints.registry import find_file
from model.networks.light_asd import LightASD
from model.networks.lr_asd import LRASD
from tests.parity.fill import inputs
from tests.parity.references import reference


def stages(network: LightASD | LRASD, name: str, frames: int) -> dict[str, Tensor]:
    """Return everything that the reference names, from its inputs."""
    audio = inputs(f"{name}.audio.T{frames}", (1, 4 * frames, 13), -10, 20)
    faces = inputs(f"{name}.visual.T{frames}", (1, frames, 112, 112), 0, 255)
    with torch.inference_mode():
        voice = network.encode_audio(torch.from_numpy(audio))
        visual = network.encode_faces(torch.from_numpy(faces))
        logits = network(torch.from_numpy(audio), torch.from_numpy(faces))
        assert logits.visual is not None
        gated = {"fusion": network.fusion(voice, visual)} if isinstance(network, LRASD) else {}
        backend = network.recurrence(gated.get("fusion", voice + visual))
        return {
            **gated,
            "audio_embed": voice,
            "visual_embed": visual,
            "av_backend": backend[0],
            "logits_av": logits.av[0],
            "logits_v": logits.visual[0],
            "score_av": logits.av[0, :, 1],
            "prob_av": torch.softmax(logits.av[0], dim=1)[:, 1],
            "audio_head8": torch.from_numpy(audio).flatten()[:8],
            "visual_head8": torch.from_numpy(faces).flatten()[:8],
        }


def compare(
    found: dict[str, Tensor], expected: dict[str, NDArray[Any]], prefix: str, atol: float
) -> None:
    """Assert that all stages, and no others, are those of the reference."""
    names = {name.removeprefix(prefix) for name in expected if name.startswith(prefix)}
    assert names == set(found)
    for name, values in found.items():
        limit = 1e-4 if name == "prob_av" else atol
        wanted = expected[prefix + name]
        np.testing.assert_allclose(values, wanted, atol=limit, rtol=1e-4, err_msg=name)


def compare_filled(network: LightASD | LRASD, name: str, frames: int) -> None:
    """Assert that a network with drawn weights gives every stage."""
    compare(stages(network, name, frames), reference(name), f"T{frames}_", atol=1e-3)


def compare_released(
    network: LightASD | LRASD, name: str, trained_on: str, folder: str | Path
) -> None:
    """Assert that a network with the released weights of that folder gives every stage."""
    path = Path(folder) / f"{name}_{trained_on}.model"
    load_released(network, read_weights(find_file(path)).state)
    network.eval()
    for frames in (25, 50):
        prefix = f"{trained_on}_T{frames}_"
        compare(stages(network, name, frames), reference(f"{name}_real"), prefix, atol=1e-4)
