"""ASDNet's encoder gives what the published network gives, with every backbone."""

import logging

import numpy as np
import pytest
import torch
from torch import Tensor

from model.checkpoints.build import load_released, recognise
from model.layers.folding import fold_norms
from model.networks.asdnet_encoder import FACE_MEAN, FACE_STD, ASDNetEncoder, normalise
from tests.parity.fill import array, inputs
from tests.parity.filled import assert_scores_near, filled, published_name
from tests.parity.references import assert_near, reference, reference_table

EXPECTED = reference("asdnet_av_enc")
BACKBONES = ("resnext101", "resnet18", "mobilenet", "mobilenetv2", "shufflenet", "shufflenetv2")
KEYS: dict[str, dict[str, list[int]]] = reference_table("asdnet_keys")


def published(network: ASDNetEncoder, name: str) -> ASDNetEncoder:
    """Fill a network as the reference outputs were made."""
    filled(network)
    with torch.no_grad():
        network.audio_encoder.sinc_conv.low_hz_.mul_(1500)
        network.audio_encoder.sinc_conv.band_hz_.mul_(1000)
        for parameter in network.video_encoder.parameters():
            if name == "mobilenet" and parameter.ndim >= 2:
                parameter.mul_(1.5)
    return network


def case(name: str) -> tuple[Tensor, Tensor]:
    shape = EXPECTED[f"{name}.audio_shape"].astype(int).tolist()
    ramp = np.linspace(0, 1, shape[-1], dtype=np.float32)
    audio = inputs(f"{name}.audio", shape, -8000, 8000) * ramp
    video = inputs(f"{name}.video", EXPECTED[f"{name}.video_shape"].astype(int).tolist(), -2, 2)
    return torch.from_numpy(audio), torch.from_numpy(video)


def made_clips(num_clips: int, length: int = 8, size: int = 32) -> tuple[Tensor, Tensor]:
    audio = inputs("audio", (num_clips, 4740), -8000, 8000)
    faces = inputs("faces", (num_clips, length, size, size, 3), 0, 255)
    return torch.from_numpy(audio), torch.from_numpy(faces)


@pytest.mark.parametrize("name", BACKBONES)
def test_published_outputs(name: str) -> None:
    network = published(ASDNetEncoder(name), name)
    assert sum(one.numel() for one in network.parameters()) == int(EXPECTED[f"{name}.params"])
    assert len(network.state_dict()) == int(EXPECTED[f"{name}.n_keys"])
    fold_norms(network)
    with torch.inference_mode():
        found = network.score(*case(name))
    assert_scores_near(found, EXPECTED, name)
    assert found.embedding is not None
    assert_near(found.embedding[..., :160], EXPECTED[f"{name}.features"][:, None, :160], "heard")


@pytest.mark.parametrize(
    ("backbone", "keys"),
    [("mobilenetv2", "asdnet_mobilenetv2_w1"), ("shufflenet", "asdnet_shufflenet_g3w2")],
)
def test_published_names_load_strictly(backbone: str, keys: str) -> None:
    shapes = {
        **{f"audio_base.base.{key}": shape for key, shape in KEYS["asdnet_sincdsnet"].items()},
        **{f"video_base.base.{key}": shape for key, shape in KEYS[keys].items()},
        **KEYS["asdnet_av_enc_heads"],
    }
    state = {key: torch.from_numpy(array(key, shape)) for key, shape in shapes.items()}
    assert ASDNetEncoder.variant_of(state) == {"video_backbone": backbone}
    network = ASDNetEncoder(backbone)
    load_released(network, state)
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[published_name(network, name)].to(value.dtype))
    assert ASDNetEncoder.variant_of(network.state_dict()) == {"video_backbone": backbone}
    assert recognise(state) == "asdnet_encoder"
    with torch.device("meta"):
        other = ASDNetEncoder("shufflenetv2")
    with pytest.raises(ValueError, match=f"fits asdnet_encoder with video_backbone={backbone}"):
        load_released(other, state)
    del state["fc_final.bias"]
    with pytest.raises(ValueError, match="1 missing keys"):
        load_released(network, state)


@pytest.mark.parametrize(
    ("length", "found"), [(8, (8, 4)), (16, (16, 8)), (15, (15, 7))], ids=["8", "16", "15"]
)
def test_clip(length: int, found: tuple[int, int]) -> None:
    with torch.device("meta"):
        clip = ASDNetEncoder("shufflenetv2", length).clip
    assert (clip.length, clip.before) == found


def test_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 8; got 12"):
        ASDNetEncoder("shufflenet", 12)
    with pytest.raises(ValueError, match="above 0"):
        ASDNetEncoder("mobilenet", 0)
    with torch.device("meta"):
        network = ASDNetEncoder("shufflenetv2", 16)
    with pytest.raises(ValueError, match=r"clips of 16 colour faces.*got \(1, 8, 32, 32, 3\)"):
        network(*made_clips(1))
    audio, faces = made_clips(1, 16)
    with pytest.raises(ValueError, match=r"got \(1, 16, 32, 32\)"):
        network(audio, faces[..., 0])


def test_faces_are_normalised_by_colour() -> None:
    faces = made_clips(2)[1].to(torch.uint8)
    found = normalise(faces)
    assert found.shape == (2, 3, 8, 32, 32)
    for colour in range(3):
        wanted = (faces[..., colour] / 255 - FACE_MEAN[colour]) / FACE_STD[colour]
        torch.testing.assert_close(found[:, colour], wanted)
    torch.testing.assert_close(normalise(faces.float()), found)


@pytest.mark.parametrize("name", ["mobilenet", "mobilenetv2", "shufflenet", "shufflenetv2"])
def test_batch_is_clips_one_by_one(name: str) -> None:
    network = published(ASDNetEncoder(name, 8), name)
    audio, faces = made_clips(3, size=64)
    with torch.inference_mode():
        together, again = network(audio, faces), network(audio, faces)
        alone = [network(audio[i : i + 1], faces[i : i + 1]) for i in range(3)]
    assert together.av.shape == (3, 1, 2) and together.embedding.shape == (3, 1, 672)
    for part in ("av", "audio", "visual", "embedding"):
        whole = getattr(together, part)
        assert torch.equal(whole, getattr(again, part))
        parts = torch.cat([getattr(one, part) for one in alone])
        torch.testing.assert_close(parts, whole, atol=1e-4 * float(whole.abs().max()), rtol=0)


@pytest.mark.parametrize("name", ["resnet10", "mobilenet", "mobilenetv2", "shufflenet"])
def test_trains(name: str) -> None:
    """Every parameter gets a gradient, and steps lower the loss."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ASDNetEncoder(name, 8).train()
    audio, faces = made_clips(3)
    labels = torch.tensor([0, 1, 1])
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(4):
        logits = network(audio, faces)
        assert logits.audio is not None and logits.visual is not None
        heads = (logits.av, logits.audio, logits.visual)
        loss = sum(torch.nn.functional.cross_entropy(head[:, 0], labels) for head in heads)
        assert isinstance(loss, Tensor)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for key, parameter in network.named_parameters():
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all() and parameter.grad.any(), key
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_kinetics_weights_are_begun_from(caplog: pytest.LogCaptureFixture) -> None:
    network = ASDNetEncoder("shufflenetv2")
    state = {
        f"module.{key}": torch.from_numpy(array(key, shape))
        for key, shape in KEYS["asdnet_shufflenetv2_w2"].items()
        if "num_batches" not in key
    }
    state["module.classifier.weight"] = torch.zeros(600, 2048)
    with caplog.at_level(logging.INFO):
        network.begin_from(state)
    assert caplog.messages == ["initial weights: skipped classifier.weight: unknown"]
    stem = network.video_encoder.base.conv1[0].weight  # type: ignore[index,union-attr]
    assert torch.equal(stem.detach(), state["module.conv1.0.weight"])
