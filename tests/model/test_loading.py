"""Which network is taken where nobody asked for one."""

from pathlib import Path

import pytest

from model.loading import choose_network
from model.weights import default_checkpoint
from utils.settings import ModelOptions

SHIPPED = Path(__file__).parents[2] / "pretrain" / "synchrony.safetensors"


def test_the_shipped_network_takes_over(offline: Path) -> None:
    (offline / SHIPPED.name).write_bytes(SHIPPED.read_bytes())
    network, reason = choose_network(ModelOptions(), "cpu")
    assert type(network).__name__ == "Synchrony"
    missing = default_checkpoint("talknet").file
    assert reason == (
        f"synchrony ({SHIPPED.name}), because {missing} cannot be had (--model talknet says why)"
    )


def test_a_network_that_is_named_is_never_replaced(offline: Path) -> None:
    (offline / SHIPPED.name).write_bytes(SHIPPED.read_bytes())
    with pytest.raises(RuntimeError, match=r"talknet"):
        choose_network(ModelOptions(model="talknet"), "cpu")


def test_no_network_can_be_had(offline: Path) -> None:
    with pytest.raises(RuntimeError, match=r"no network can be had.*TALKNET_PRETRAIN") as failure:
        choose_network(ModelOptions(), "cpu")
    assert SHIPPED.name in str(failure.value)
    assert list(offline.iterdir()) == []
