"""The encoder begun from VGGish gives what its published layout gives, and takes its weights."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.layers.vggish import VGGishEncoder


@pytest.fixture(scope="module")
def encoder() -> VGGishEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return VGGishEncoder().eval()


def as_published(encoder: VGGishEncoder, audio: Tensor) -> Tensor:
    """All layers as images, the mean over frequencies last."""
    num_steps = audio.shape[1]
    image = functional.pad(audio, (0, 0, 0, 8 - num_steps % 8))[:, None]
    fine = encoder.features[:10](image)
    coarse = encoder.features[10:](fine)
    joined: Tensor = torch.cat((fine, encoder.deconv(coarse)), dim=1)
    joined = encoder.conv2(encoder.conv1(joined))
    return joined.mean(3)[:, :, : num_steps // 4].transpose(1, 2)


@pytest.mark.parametrize("frames", [1, 2, 5, 25, 26])
def test_mean_over_frequencies_may_be_taken_first(encoder: VGGishEncoder, frames: int) -> None:
    audio = torch.linspace(-4, 14, 2 * 4 * frames * 64).sin().view(2, 4 * frames, 64) * 5
    with torch.inference_mode():
        found = encoder(audio)
        expected = as_published(encoder, audio)
    assert found.shape == (2, frames, 128)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def vggish() -> dict[str, Tensor]:
    """Weights under VGGish's names, the layers after the trunk too."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        state = {f"features.{k}": v for k, v in VGGishEncoder().features.state_dict().items()}
    return state | {
        "embeddings.0.weight": torch.zeros(3, 4),
        "pproc.pca_means": torch.zeros(128, 1),
    }


def test_begins_from_vggish() -> None:
    encoder = VGGishEncoder()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    state = vggish()
    encoder.load_vggish(state)
    for name, value in encoder.state_dict().items():
        expected = state[name] if name.startswith("features.") else before[name]
        assert torch.equal(value, expected), name


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "features.6.weight",
            None,
            r"features\.6\.weight: expected \(256, 128, 3, 3\), found none",
        ),
        ("features.0.bias", torch.zeros(3), r"features\.0\.bias: expected \(64,\), found \(3,\)"),
        (
            "layer1.0.conv1.weight",
            torch.zeros(3),
            r": layer1.0.conv1.weight: expected no such key, found \(3,\)",
        ),
    ],
    ids=["missing", "shape", "unknown"],
)
def test_other_weights_are_refused(key: str, value: Tensor | None, message: str) -> None:
    encoder = VGGishEncoder()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    state = vggish()
    state.pop(key, None)
    if value is not None:
        state[key] = value
    with pytest.raises(ValueError, match=message):
        encoder.load_vggish(state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
