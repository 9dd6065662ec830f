"""Every network can be measured, and what stands in the plain published way is the same network."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import networks, published
from benchmarks.plain import PLAIN, plain
from benchmarks.published import make_batch
from model.checkpoints.build import build_network
from model.contract import ContextNetwork, Model, Network
from model.names import network_names
from utils.datasets.loading.training_batch import TrainingBatch

SMALL: Mapping[str, Mapping[str, Any]] = {
    "asc_encoder": {"clip_length": 1},
    "asdnet_encoder": {"video_backbone": "shufflenetv2", "width": 0.25, "clip_length": 8},
    "ava_asd": {"num_frames": 1},
    "loconet": {"num_layers": 1},
}
SHAPES: Mapping[str, tuple[tuple[int, ...], ...]] = {  # of audio, faces and labels
    "talknet": ((2, 12, 13), (2, 3, 112, 112), (2, 3)),
    "loconet": ((2, 12, 64), (2, 3, 3, 112, 112), (2, 3, 3)),
    "asc_encoder": ((2, 1, 13, 40), (2, 11, 144, 144, 3), (2, 1)),
    "asdnet_encoder": ((2, 9480), (2, 16, 160, 160, 3), (2, 1)),
    "ava_asd": ((2, 13, 20), (2, 5, 100, 100), (2, 1)),
    "asc": ((2, 0), (2, 3, 11, 1024), (2, 1)),
}


@pytest.mark.parametrize(
    ("name", "variant", "parameters", "mmacs"),
    [
        ("asdnet", {}, 3_333_890, 774_144 * 3 * 64 / 1e6 + 64 * (2 * 384 * (928 + 384)) / 1e6),
        ("asdnet_encoder", {"video_backbone": "mobilenetv2"}, 2_320_374, 1514 + 47.7),
        ("asdnet_encoder", {"video_backbone": "shufflenetv2"}, 4_121_830, 1395 + 47.7),
    ],
    ids=["context", "mobilenetv2", "shufflenetv2"],
)
def test_count(name: str, variant: dict[str, str], parameters: int, mmacs: float) -> None:
    cost = networks.count(name, variant)
    assert cost.parameters == parameters
    assert cost.macs / 1e6 == pytest.approx(mmacs, rel=1e-3)


def test_counting_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert networks.main(["--networks", "asc", "--count"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["network", "variant", "parameters", "gflops_per_face_frame"]
    name, parameters, gflops = row.split()
    assert (name, parameters) == ("asc", "1127810")
    assert float(gflops) == pytest.approx(0.0741, rel=1e-3)


@pytest.mark.parametrize("name", ["asc", "lr_asd", "loconet"])
def test_costs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "costs.json"
    given = ["--networks", name, "--frames", "8", "--repeats", "1", "--json", str(target)]
    assert networks.main(given) == 0
    (row,) = json.loads(target.read_text())["rows"]
    assert row["network"] == name
    assert row["ms_per_face_frame"] > 0
    assert capsys.readouterr().out.splitlines()[1].startswith(name)


@pytest.mark.parametrize("has_bf16", [False, True])
def test_published_networks_are_timed(
    has_bf16: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "has_bf16", lambda _: has_bf16)
    target = tmp_path / "times.json"
    given = ["asc", "asdnet", "--contexts", "2", "--repeats", "1", "--device", "cpu"]
    assert published.main([*given, "--json", str(target)]) == 0
    rows = json.loads(target.read_text())["rows"]
    assert [(row["network"], row["what"], row["way"]) for row in rows] == [
        (name, what, way)
        for name in ("asc", "asdnet")
        for what, way in (
            ("scoring", "published"),
            ("scoring", "here"),
            ("scoring", "here, bf16"),
            ("training step", "published"),
            ("training step", "here"),
            *[("training step", "here, bf16")] * has_bf16,
        )
    ]
    assert all(row["ms_per_face_frame"] > 0 and row["times_faster"] > 0 for row in rows)


def test_a_network_of_the_project_has_no_published_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "has_bf16", lambda _: False)
    target = tmp_path / "times.json"
    given = ["synchrony", "--clips", "1", "--frames", "8", "--repeats", "1", "--device", "cpu"]
    assert published.main([*given, "--json", str(target)]) == 0
    rows = json.loads(target.read_text())["rows"]
    assert [(row["what"], row["way"], "times_faster" in row) for row in rows] == [
        ("scoring", "here", False),
        ("scoring", "here, bf16", False),
        ("training step", "here", False),
    ]


def test_a_batch_has_the_shapes_that_a_network_reads() -> None:
    """Colours, speakers and embeddings included."""
    for name, shapes in SHAPES.items():
        with torch.device("meta"):
            network = build_network(name)
        batch = make_batch(network, 2, 3)
        found = (batch.audio.shape, batch.faces.shape, batch.labels.shape)
        assert tuple(map(tuple, found)) == shapes, name
        assert batch.faces.is_floating_point() == (name == "asc"), name


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_plain_networks_give_the_same(name: str) -> None:
    """In training mode, but without what is drawn."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(name, SMALL.get(name)).train()
        for part in network.modules():
            if isinstance(part, torch.nn.Dropout | torch.nn.RNNBase | torch.nn.MultiheadAttention):
                part.eval()
    batch = make_batch(network, 2, 2)
    with torch.no_grad():
        own, published = (run(one, batch) for one in (network, plain(name, network)))
    limit = 1e-3 * float(own.abs().max())
    torch.testing.assert_close(published, own, atol=limit, rtol=0)


def run(network: Model, batch: TrainingBatch) -> torch.Tensor:
    if isinstance(network, ContextNetwork):
        return network(batch.faces).av  # type: ignore[no-any-return]
    if isinstance(network, Network):
        faces = batch.faces.flatten(0, 1) if network.num_speakers > 1 else batch.faces
        return network.encode_faces(faces)
    return network(batch.audio, batch.faces).av  # type: ignore[no-any-return]


def test_all_published_networks_are_compared() -> None:
    assert set(network_names()) - set(PLAIN) == {"synchrony"}  # the project's own
