"""ONNX files compute in ONNX Runtime what the networks compute in torch, at any length."""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from model.checkpoints.build import load_released
from model.contract import Network
from model.export.onnx_file import write_onnx
from model.networks.light_asd import LightASD
from model.networks.lr_asd import LRASD
from model.networks.synchrony import Synchrony
from model.networks.talknet import TalkNet
from utils.errors import ResourceError

NETWORKS: dict[str, type[Network]] = {
    "lr_asd": LRASD,
    "light_asd": LightASD,
    "talknet": TalkNet,
    "synchrony": Synchrony,
}


@cache
def network(name: str) -> Network:
    torch.manual_seed(0)
    made = NETWORKS[name]()
    for module in made.modules():  # so that folding a normalisation has an effect
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return made.eval()


@pytest.fixture(scope="module", params=NETWORKS)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Network, onnxruntime.InferenceSession]:
    made = network(request.param)
    path = tmp_path_factory.mktemp("onnx") / f"{request.param}.onnx"
    write_onnx(made, path)
    return made, onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("num_windows", "num_frames"),
    [(1, 1), (1, 2), (2, 3), (1, 13), (3, 25), (1, 26), (1, 57)],
)
def test_the_file_computes_what_the_network_does(
    exported: tuple[Network, onnxruntime.InferenceSession], num_windows: int, num_frames: int
) -> None:
    made, session = exported
    generator = np.random.default_rng(num_frames)
    shape = (num_windows, num_frames, 112, 112)
    faces = generator.integers(0, 256, shape, dtype=np.uint8)
    audio = generator.normal(0, 5, (num_windows, 4 * num_frames, 13)).astype(np.float32)
    audio[..., 0] += 12  # log energy
    with torch.inference_mode():
        expected = made(torch.from_numpy(audio), torch.from_numpy(faces)).av.numpy()
    (logits,) = session.run(["logits"], {"audio": audio, "faces": faces})
    assert logits.shape == (num_windows, num_frames, 2)
    assert np.abs(logits - expected).max() < 1e-4
    assert expected.std() > 1e-2  # the comparison means something


def test_metadata(exported: tuple[Network, onnxruntime.InferenceSession]) -> None:
    made, session = exported
    name = next(name for name, kind in NETWORKS.items() if isinstance(made, kind))
    assert session.get_modelmeta().custom_metadata_map == {
        "network": name,
        "weights": "",
        "sha256": "",
        "feature": "mfcc",
        "windows": {"talknet": "1,2,3,4,5,6", "synchrony": "60"}.get(name, "1"),
        "fps": "25",
        "sample_rate": "16000",
    }


def test_exporting_changes_nothing(tmp_path: Path) -> None:
    made = TalkNet().eval()
    before = {key: value.clone() for key, value in made.state_dict().items()}
    write_onnx(made, tmp_path / "talknet.onnx")
    load_released(made, before)  # the same keys and shapes
    assert all(torch.equal(value, before[key]) for key, value in made.state_dict().items())
    assert isinstance(made.self_attention.self_attn, torch.nn.MultiheadAttention)
    assert [path.name for path in tmp_path.iterdir()] == ["talknet.onnx"]


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ResourceError, match="python -m pip install onnx=="):
        write_onnx(network("lr_asd"), tmp_path / "lr_asd.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_advice_names_the_tested_version() -> None:
    root = Path(__file__).parents[3]
    pins = (root / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    (pin,) = (line for line in pins if line.startswith("onnx=="))
    for place in ("model/export/onnx_file.py", "docs/usage.md"):
        assert f"python -m pip install {pin}`" in (root / place).read_text(encoding="utf-8")
