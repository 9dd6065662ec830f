"""The example without torch gives the scores of `talkNet.score_track` for the same track.

Compared are all frames of the same crops and samples, averaged over the same windows: those that
are the network's default.
"""

import json
import os
import wave
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

import talkNet
from docs.examples.score_onnx import score
from model.contract import Network
from model.export.onnx_file import write_onnx
from tests.programs import run_python

PRETRAIN = os.environ.get("TALKNET_PRETRAIN", "")


@cache
def network(name: str) -> Network:
    torch.manual_seed(1)
    made = talkNet.load_network(name) if name == "synchrony" else talkNet.build_network(name)
    assert isinstance(made, Network)
    return made.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exported")


def track(num_frames: int, num_samples: int) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Crops with moving texture, and noise of changing loudness."""
    generator = np.random.default_rng(num_frames)
    texture = generator.integers(0, 256, (112, 112), dtype=np.uint8)
    faces = np.stack([np.roll(texture, 3 * frame, axis=1) for frame in range(num_frames)])
    loudness = 3000 * (1 + np.sin(np.arange(num_samples) / 2000))
    return faces, (loudness * generator.normal(size=num_samples)).clip(-32768, 32767).astype("i2")


def session_of(made: Network, folder: Path) -> onnxruntime.InferenceSession:
    path = folder / f"{type(made).__name__}.onnx"
    if not path.exists():
        write_onnx(made, path)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("name", "num_frames", "num_samples"),
    [
        ("synchrony", 61, 61 * 640),
        ("lr_asd", 61, 61 * 640),  # two windows and a rest
        ("lr_asd", 1, 640),
        ("lr_asd", 30, 20 * 640 + 77),  # too little audio
        ("light_asd", 27, 40 * 640),  # too much
        ("talknet", 53, 53 * 640),  # the mean over windows of 1, 2 and 3 to 6 s
    ],
)
def test_scores(name: str, num_frames: int, num_samples: int, folder: Path) -> None:
    faces, samples = track(num_frames, num_samples)
    found = score(session_of(network(name), folder), faces, samples)
    expected = talkNet.score_track(network(name), faces, samples)
    assert found.shape == (num_frames,)
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.weights
@pytest.mark.skipif(not PRETRAIN, reason="needs TALKNET_PRETRAIN")
@pytest.mark.parametrize("name", ["lr_asd", "light_asd"])
def test_released_weights(name: str, tmp_path: Path) -> None:
    made = talkNet.load_network(name)
    assert isinstance(made, Network)
    faces, samples = track(77, 77 * 640)
    found = score(session_of(made, tmp_path), faces, samples)
    expected = talkNet.score_track(made, faces, samples)
    assert np.abs(found - expected).max() < 1e-4


def test_as_a_program_without_torch(folder: Path, tmp_path: Path) -> None:
    session_of(network("synchrony"), folder)
    faces, samples = track(12, 12 * 640)
    np.save(tmp_path / "faces.npy", faces)
    with wave.open(str(tmp_path / "audio.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    given = [folder / "Synchrony.onnx", tmp_path / "faces.npy", tmp_path / "audio.wav"]
    code = (
        "import json, runpy, sys; sys.argv = sys.argv[1:];"
        "runpy.run_path(sys.argv[0], run_name='__main__');"
        "names = {name.partition('.')[0] for name in sys.modules};"
        "print(json.dumps(sorted(names & {'torch', 'model', 'utils', 'talkNet'})))"
    )
    found = run_python("-c", code, "docs/examples/score_onnx.py", *given)
    *lines, ours = found.stdout.splitlines()
    assert json.loads(ours) == []
    expected = talkNet.score_track(network("synchrony"), faces, samples)
    assert [line.split(" s ")[0] for line in lines] == [f"{one / 25:.2f}" for one in range(12)]
    printed = np.array([float(line.split(" s ")[1]) for line in lines])
    assert np.abs(printed - expected).max() < 1e-3
