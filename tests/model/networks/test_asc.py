"""The context network gives what the published one gives, for any number of faces and moments."""

import pytest
import torch
from torch import Tensor

from model.checkpoints.build import load_released
from model.layers.folding import fold_norms
from model.networks.asc import ASC
from tests.parity.fill import array, inputs
from tests.parity.filled import filled, published_name
from tests.parity.references import assert_near, reference, reference_table

EXPECTED = reference("asc_context")
KEYS: dict[str, list[int]] = reference_table("asc_keys")["asc"]


def contexts(num: int, speakers: int, length: int) -> Tensor:
    return torch.from_numpy(inputs("contexts", (num, speakers, length, 1024), 0, 0.7))


@pytest.mark.parametrize(("length", "speakers"), [(11, 3), (11, 1), (5, 2), (3, 4)])
def test_published_outputs(length: int, speakers: int) -> None:
    """As stored, and with normalisations folded."""
    name = f"L{length}S{speakers}"
    network = filled(ASC(length, speakers))
    shape = EXPECTED[f"{name}.input_shape"].tolist()
    features = torch.from_numpy(inputs(f"{name}.features", shape, 0, 0.7))  # (B, C, L, S)
    for folded in (False, True):
        if folded:
            fold_norms(network)
        with torch.inference_mode():
            found = {
                "logits": network(features.permute(0, 3, 2, 1)).av[:, 0],
                "refined": network.refine(features)[:1],
            }
        for part, values in found.items():
            assert_near(values, EXPECTED[f"{name}.{part}"], f"{part}, folded: {folded}")


def test_published_names_load_strictly() -> None:
    state = {name: torch.from_numpy(array(name, shape)) for name, shape in KEYS.items()}
    assert ASC.variant_of(state) == {"length": 11, "num_speakers": 3}
    network = ASC()
    load_released(network, state)
    for name, values in network.state_dict().items():
        torch.testing.assert_close(values.float(), state[published_name(network, name)].float())


@pytest.mark.parametrize(
    ("length", "speakers", "num_parameters", "guess"),
    [
        (11, 1, 1_122_178, (11, 1)),
        (11, 2, 1_124_994, (11, 2)),
        (9, 3, 1_126_274, (9, 3)),
        (5, 2, 1_121_922, (5, 2)),
        (15, 3, 1_130_882, (15, 3)),
        (3, 4, None, (3, 4)),
        (15, 1, None, (5, 3)),
    ],
)
def test_variants(
    length: int, speakers: int, num_parameters: int | None, guess: tuple[int, int]
) -> None:
    with torch.device("meta"):
        network = ASC(length, speakers)
    if num_parameters is not None:
        assert sum(parameter.numel() for parameter in network.parameters()) == num_parameters
    found = ASC.variant_of(network.state_dict())
    assert (found["length"], found["num_speakers"]) == guess
    with torch.device("meta"):
        same = ASC(*guess)
    assert same.head_av.weight.shape == network.head_av.weight.shape


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ({"length": 10}, "length must be odd.*got 10"),
        ({"num_speakers": 0}, "num_speakers and stride must be 1 or more, got 0 and 4"),
    ],
    ids=["even", "nobody"],
)
def test_wrong_variants_are_refused(variant: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ASC(**variant)


def test_a_context_of_another_shape_is_refused() -> None:
    with torch.device("meta"):
        network = ASC(3, 2)
    with pytest.raises(ValueError, match=r"contexts of 2 faces, 3 moments.*got \(1, 3, 3, 1024\)"):
        network(contexts(1, 3, 3))


def test_alone_as_together_again_and_in_bf16() -> None:
    network = filled(ASC(5, 2))
    given = contexts(3, 2, 5)
    with torch.inference_mode():
        together = network(given).av
        alone = torch.cat([network(given[i : i + 1]).av for i in range(3)])
        assert together.shape == (3, 1, 2)
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
        assert torch.equal(together, network(given).av)
        with torch.autocast("cpu", torch.bfloat16):
            coarse = network(given).av.float()
    torch.testing.assert_close(coarse, together, atol=0.05, rtol=0)


def test_the_recurrence_stays_in_fp32() -> None:
    """Few processors have an LSTM in bf16; the others refuse to run one."""
    network = filled(ASC(3, 1))
    found: list[torch.dtype] = []
    network.recurrence.register_forward_hook(
        lambda _, inputs, outputs: found.extend((inputs[0].dtype, outputs[0].dtype))
    )
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        network(contexts(1, 1, 3).bfloat16())
    assert found == [torch.float32, torch.float32]
