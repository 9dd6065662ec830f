"""Light-ASD gives what the published network gives, value by value."""

import os

import pytest

from model.networks.light_asd import LightASD
from tests.parity.factored import compare_filled, compare_released
from tests.parity.filled import filled, published_name

PRETRAIN = os.environ.get("TALKNET_PRETRAIN", "")


@pytest.fixture(scope="module")
def network() -> LightASD:
    return filled(LightASD())


@pytest.mark.parametrize("frames", [25, 50])
def test_every_stage(network: LightASD, frames: int) -> None:
    compare_filled(network, "light_asd", frames)


@pytest.mark.weights
@pytest.mark.skipif(not PRETRAIN, reason="needs TALKNET_PRETRAIN")
@pytest.mark.parametrize("trained_on", ["ava", "talkset"])
def test_released_weights(trained_on: str) -> None:
    compare_released(LightASD(), "light_asd", trained_on, PRETRAIN)


def test_published_names_are_complete(network: LightASD) -> None:
    assert len({published_name(network, name) for name in network.state_dict()}) == 192
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_021_636
