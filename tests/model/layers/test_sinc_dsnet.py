"""SincDSNet gives what the published network gives, filter by filter."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor

from model.layers.folding import fold_norms
from model.layers.sinc_dsnet import SincDSNet
from tests.parity.fill import fill, inputs
from tests.parity.references import assert_near, reference

EXPECTED = reference("asdnet_sincdsnet")


def spread_filters(network: SincDSNet) -> None:
    """Pull the filled frequencies apart: filled alone, all filters would be nearly the same."""
    with torch.no_grad():
        network.sinc_conv.low_hz_.mul_(1500)
        network.sinc_conv.band_hz_.mul_(1000)


@pytest.fixture
def network() -> SincDSNet:
    made = SincDSNet()
    fill(made)
    spread_filters(made)
    return made.eval()


def sound(case: str) -> Tensor:
    shape = EXPECTED[f"{case}.input_shape"].astype(int).tolist()
    ramp = np.linspace(0, 1, shape[-1], dtype=np.float32)
    return torch.from_numpy(inputs(f"{case}.audio", shape, -8000, 8000) * ramp)


def assert_published(found: Tensor, name: str) -> None:
    assert_near(found, EXPECTED[name], name)


def test_fresh_filters() -> None:
    fresh = SincDSNet().sinc_conv
    assert_published(fresh.low_hz_, "init.low_hz_")
    assert_published(fresh.band_hz_, "init.band_hz_")
    assert_published(fresh.filters(), "init.filters")


@pytest.mark.parametrize("case", ["n9480", "n4740", "n777"])
def test_published_outputs(network: SincDSNet, case: str) -> None:
    assert_published(network.sinc_conv.low_hz_, "low_hz_")
    assert_published(network.sinc_conv.band_hz_, "band_hz_")
    with torch.inference_mode():
        assert_published(network.sinc_conv.filters(), "filters")
        assert_published(network.sinc_conv(sound(case))[:1, :4], f"{case}.sinc_channels_0_4")
        assert_published(network(sound(case))[..., None], f"{case}.output")
        fold_norms(network)
        assert_published(network(sound(case))[..., None], f"{case}.output")


def test_filters_are_made_once_and_follow_the_weights(network: SincDSNet) -> None:
    conv = network.sinc_conv
    with torch.inference_mode():
        first = conv.filters()
        assert conv.filters() is first
        deepcopy(network)
    with torch.no_grad():
        conv.low_hz_.add_(1)
        assert not torch.equal(conv.filters(), first)
        conv.load_state_dict({name: value - 1 for name, value in conv.state_dict().items()})
        changed = conv.filters()
    network.train()
    assert conv.filters().requires_grad
    torch.testing.assert_close(conv.filters().detach(), changed, atol=1e-6, rtol=0)


def test_mixed_precision_leaves_samples_whole(network: SincDSNet) -> None:
    with torch.no_grad():
        before = network.sinc_conv(sound("n777"))
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(network.sinc_conv(sound("n777")), before)
