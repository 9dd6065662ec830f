"""The audio CRNN equals the reference: outputs, stages, gradients, loss, published names."""

from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from model.arrays.objective import LocalisationObjective, localisation_loss
from model.checkpoints.build import load_released
from model.localizers.tragic_crnn import TragicCRNN
from tests.parity.fill import inputs
from tests.parity.filled import filled
from tests.parity.references import reference
from utils.datasets.tragic_talkers.loader import ChunkBatch

REFERENCE = reference("tragic_crnn")


def network(pooling: Literal["avg", "max"] = "avg") -> TragicCRNN:
    return filled(TragicCRNN(pooling))


def sound(name: str, num_steps: int) -> Tensor:
    return torch.from_numpy(inputs(name, (2, 16, num_steps, 64), -1, 1))


def cameras(name: str) -> Tensor:
    return torch.from_numpy(REFERENCE[name].astype(np.int64) - 1)


@pytest.fixture(scope="module")
def batch() -> ChunkBatch:
    known = [inputs(name, (2, 1, 10)) for name in ("target_x", "pseudo", "activity")]
    return ChunkBatch(
        sound("x1", 160),
        cameras("cams1")[:, None],
        torch.from_numpy(known[0]),
        torch.from_numpy(known[1]) > 0.4,
        torch.from_numpy(known[2]) > 0.5,
        torch.ones(2, 1, dtype=torch.bool),
    )


def test_number_of_parameters() -> None:
    assert sum(weight.numel() for weight in TragicCRNN().parameters()) == 7_076_728


@pytest.mark.parametrize(
    ("output", "name", "num_steps"), [("0", "x0", 960), ("1", "x1", 160)], ids=["2 s", "short"]
)
def test_output_equals_the_reference(output: str, name: str, num_steps: int) -> None:
    with torch.inference_mode():
        found = network()(sound(name, num_steps), cameras(f"cams{output}"))
    np.testing.assert_allclose(found, REFERENCE[f"out{output}"], atol=1e-5, rtol=0)


def test_steps_equal_the_reference() -> None:
    crnn = network()
    with torch.inference_mode():
        convolved = crnn.convolve(sound("x1", 160))
        steps = {
            "pre_gru1": convolved,
            "gru1": crnn.gru_block(convolved)[0],
            "fc11": crnn.encode(sound("x1", 160)),
        }
    for name, found in steps.items():
        np.testing.assert_allclose(found, REFERENCE[name], atol=1e-5, rtol=0, err_msg=name)


def test_max_pooling_equals_the_reference() -> None:
    with torch.inference_mode():
        found = network("max")(sound("x1", 160), cameras("cams1"))
    np.testing.assert_allclose(found, REFERENCE["out_maxpool"], atol=1e-5, rtol=0)


def test_training_equals_the_reference(batch: ChunkBatch) -> None:
    # In float32 the rounding of gradients alone takes up the tolerance of some norms.
    crnn = network().train().double()
    objective = LocalisationObjective(crnn)
    found = objective.locate(batch.features.double(), batch.cameras)
    np.testing.assert_allclose(found.detach().squeeze(1), REFERENCE["train_out"], atol=1e-5, rtol=0)
    loss = localisation_loss(found, batch)
    assert loss.item() == pytest.approx(float(REFERENCE["train_loss"]), rel=1e-4)
    loss.backward()  # type: ignore[no-untyped-call]
    weights = dict(crnn.named_parameters())
    names = REFERENCE["grad_names"].tolist()
    assert set(names) == set(weights)
    norms = []
    for name in names:
        gradient = weights[name].grad
        assert gradient is not None, name
        norms.append(gradient.norm().item())
    np.testing.assert_allclose(norms, REFERENCE["grad_norms"], rtol=1e-3)


def test_loss_equals_the_reference() -> None:
    found = torch.from_numpy(inputs("loss_out", (2, 1, 7, 2)))
    batch = ChunkBatch(
        torch.empty(0),
        torch.empty(0),
        torch.from_numpy(inputs("loss_x", (2, 1, 7))),
        torch.from_numpy(REFERENCE["loss_pseudo"] > 0)[:, None],
        torch.from_numpy(REFERENCE["loss_activity"] > 0)[:, None],
        torch.ones(2, 1, dtype=torch.bool),
    )
    loss = localisation_loss(found, batch)
    assert loss.item() == pytest.approx(float(REFERENCE["loss_fixed"]), rel=1e-4)
    assert loss.item() == pytest.approx(7.12892, rel=1e-4)


def test_names_are_the_published_ones() -> None:
    names = set(TragicCRNN(width=2).state_dict())
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {f"{part}.{kind}" for part in ("fc1", "fc2") for kind in ("weight", "bias")}
    for block in range(1, 5):
        expected |= {f"conv_block{block}.conv{number}.weight" for number in (1, 2)}
        expected |= {f"conv_block{block}.bn{number}.{kind}" for number in (1, 2) for kind in norm}
    for layer in ("l0", "l1", "l0_reverse", "l1_reverse"):
        kinds = [f"{kind}_{side}" for kind in ("weight", "bias") for side in ("ih", "hh")]
        expected |= {f"gru_block.{kind}_{layer}" for kind in kinds}
    assert names == expected


def test_weights_load_strictly() -> None:
    own, other = TragicCRNN(width=3), TragicCRNN(width=3)
    state = own.state_dict()
    assert TragicCRNN.variant_of(state) == {"width": 3}
    load_released(other, state)
    torch.testing.assert_close(other.state_dict(), state)
    with pytest.raises(ValueError, match="tragic_crnn"):
        load_released(TragicCRNN(width=2), state)
    state["more"] = torch.zeros(1)
    with pytest.raises(ValueError, match="more"):
        load_released(other, state)


def test_cameras_share_what_is_heard() -> None:
    crnn = filled(TragicCRNN(width=2))
    heard = torch.randn(1, 16, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        encoded = crnn.encode(heard).expand(11, -1, -1)
        found = crnn.locate(encoded, torch.arange(11))
        for camera in range(11):
            alone = crnn(heard, torch.tensor([camera]))
            torch.testing.assert_close(found[camera : camera + 1], alone)
    assert len({tuple(row.flatten().tolist()) for row in found}) == 11


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [({"pooling": "frac"}, "avg or max, got 'frac'"), ({"width": 0}, "width of at least 1")],
    ids=["pooling", "width"],
)
def test_wrong_variants_are_errors(arguments: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        TragicCRNN(**arguments)  # type: ignore[arg-type]
