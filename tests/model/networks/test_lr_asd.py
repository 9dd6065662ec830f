"""LR-ASD gives what the published network gives, value by value."""

import os

import pytest

from model.networks.lr_asd import LRASD
from tests.parity.factored import compare_filled, compare_released
from tests.parity.filled import filled, published_name

PRETRAIN = os.environ.get("TALKNET_PRETRAIN", "")


@pytest.fixture(scope="module")
def network() -> LRASD:
    return filled(LRASD())


@pytest.mark.parametrize("frames", [25, 50])
def test_every_stage(network: LRASD, frames: int) -> None:
    compare_filled(network, "lr_asd", frames)


@pytest.mark.weights
@pytest.mark.skipif(not PRETRAIN, reason="needs TALKNET_PRETRAIN")
@pytest.mark.parametrize("trained_on", ["ava", "talkset"])
def test_released_weights(trained_on: str) -> None:
    compare_released(LRASD(), "lr_asd", trained_on, PRETRAIN)


def test_published_names_are_complete(network: LRASD) -> None:
    assert len({published_name(network, name) for name in network.state_dict()}) == 168
    assert sum(parameter.numel() for parameter in network.parameters()) == 837_156
