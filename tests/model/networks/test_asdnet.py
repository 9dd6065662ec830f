"""ASDNet's context network gives what the published one gives, stage by stage."""

import pytest
import torch
from torch import Tensor

from model.checkpoints.build import load_released, recognise
from model.networks.asdnet import ASDNet
from tests.parity.fill import array, inputs
from tests.parity.filled import filled, published_name
from tests.parity.references import assert_near, reference, reference_table

EXPECTED = reference("asdnet_tm_isrm")
KEYS: dict[str, list[int]] = reference_table("asdnet_keys")["asdnet_tm_isrm_S4"]


def contexts(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return embeddings (B, S, L, 672) made as the published (B, 672, L, S)."""
    return torch.from_numpy(inputs(name, shape, 0, 1)).permute(0, 3, 2, 1)


@pytest.mark.parametrize(
    ("case", "steps", "parameters"),
    [("S4T64", 4, 3_333_890), ("S3T32", 1, 2_559_746), ("S2T64", 4, 1_785_602)],
)
def test_published_outputs(case: str, steps: int, parameters: int) -> None:
    shape = tuple(EXPECTED[f"{case}.input_shape"].astype(int).tolist())
    network = filled(ASDNet(num_speakers=shape[3], length=shape[2]))
    assert sum(one.numel() for one in network.parameters()) == parameters
    embeddings = contexts(f"{case}.features", shape)
    with torch.inference_mode():
        related = network.relation(embeddings)
        assert_near(related[:1].transpose(1, 2)[:, :, ::steps], EXPECTED[f"{case}.isrm"])
        assert_near(network.temporal(related), EXPECTED[f"{case}.tm"])
        assert_near(network(embeddings).av[:, 0], EXPECTED[f"{case}.logits"])


def test_published_names_load_strictly() -> None:
    state = {key: torch.from_numpy(array(key, shape)) for key, shape in KEYS.items()}
    assert ASDNet.variant_of(state) == {"num_speakers": 4}
    network = ASDNet()
    load_released(network, state)
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[published_name(network, name)].to(value.dtype))
    assert ASDNet.variant_of(network.state_dict()) == {"num_speakers": 4}
    assert recognise(state) == "asdnet"
    with torch.device("meta"):
        other = ASDNet(num_speakers=3)
    with pytest.raises(ValueError, match="fits asdnet with num_speakers=4"):
        load_released(other, state)


@pytest.mark.parametrize("num_speakers", [2, 3, 4, 5, 6])
def test_variants(num_speakers: int) -> None:
    with torch.device("meta"):
        network = ASDNet(num_speakers, length=8)
    counted = sum(one.numel() for one in network.parameters())
    assert counted == 774_144 * (num_speakers - 1) + 256 + 1_010_688 + 514
    assert ASDNet.variant_of(network.state_dict()) == {"num_speakers": num_speakers}
    assert network.context.before == 4 and network.context.fill == "zero"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1, 64), "num_speakers of at least 2"), ((4, 63), "even length"), ((4, 0), "even length")],
)
def test_refused(arguments: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ASDNet(*arguments)


@pytest.mark.parametrize("shape", [(1, 3, 8, 672), (1, 4, 64, 672), (1, 4, 8, 512)])
def test_other_features_are_refused(shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = ASDNet(length=8)
    with pytest.raises(ValueError, match=r"S, L, C = \(4, 8, 672\), got \(1, "):
        network(torch.zeros(shape))


def test_batch_is_contexts_one_by_one() -> None:
    network = filled(ASDNet(length=8))
    embeddings = contexts("batch", (3, 672, 8, 4))
    embeddings[1, 1:] = 0  # a face alone
    with torch.inference_mode():
        together = network(embeddings).av
        alone = torch.cat([network(embeddings[i : i + 1]).av for i in range(3)])
        assert torch.equal(network(embeddings).av, together)
    assert together.shape == (3, 1, 2) and together.isfinite().all()
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
