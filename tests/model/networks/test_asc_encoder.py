"""The short-term encoder gives what the published one gives, and starts where it starts."""

import sys

import pytest
import torch
from torch import Tensor

from model.checkpoints.build import load_released
from model.layers.folding import fold_norms
from model.layers.resnet18 import imagenet_weights
from model.networks.asc_encoder import FACE_MEAN, FACE_STD, ASCEncoder, stack
from tests.parity.fill import array, inputs
from tests.parity.filled import assert_scores_near, filled, published_name
from tests.parity.references import reference, reference_table
from utils.errors import UserError, WeightsUnavailableError

EXPECTED = reference("asc_ste")
KEYS: dict[str, list[int]] = reference_table("asc_keys")["asc_encoder"]


def case(name: str) -> tuple[Tensor, Tensor]:
    shapes = [EXPECTED[f"{name}.{part}_shape"].tolist() for part in ("audio", "video")]
    audio = inputs(f"{name}.audio", shapes[0], -10, 10)
    video = inputs(f"{name}.video", shapes[1], -2, 2)
    return torch.from_numpy(audio), torch.from_numpy(video)


def clips(num_clips: int, length: int, size: int = 32) -> tuple[Tensor, Tensor]:
    audio = inputs("audio", (num_clips, 1, 13, 40), -10, 20)
    faces = inputs("faces", (num_clips, length, size, size, 3), 0, 255)
    return torch.from_numpy(audio), torch.from_numpy(faces)


@pytest.mark.parametrize(("name", "length"), [("k11", 11), ("k5", 5)])
def test_published_outputs(name: str, length: int) -> None:
    """As stored, and with normalisations folded."""
    network = filled(ASCEncoder(length))
    for folded in (False, True):
        if folded:
            fold_norms(network)
        with torch.inference_mode():
            found = network.score(*case(name))
        assert_scores_near(found, EXPECTED, name)


def test_published_names_load_strictly() -> None:
    state = {name: torch.from_numpy(array(name, shape)) for name, shape in KEYS.items()}
    assert ASCEncoder.variant_of(state) == {"clip_length": 11}
    network = ASCEncoder()
    load_released(network, state)
    for name, values in network.state_dict().items():
        torch.testing.assert_close(values.float(), state[published_name(network, name)].float())


@pytest.mark.parametrize(
    ("length", "num_parameters"), [(1, 22_479_110), (3, 22_497_926), (11, 22_573_190)]
)
def test_variants(length: int, num_parameters: int) -> None:
    with torch.device("meta"):
        network = ASCEncoder(length)
    assert sum(parameter.numel() for parameter in network.parameters()) == num_parameters
    assert (network.clip.length, network.clip.before) == (length, length // 2)
    assert ASCEncoder.variant_of(network.state_dict()) == {"clip_length": length}
    assert ASCEncoder.variant_of({"other.weight": torch.zeros(1)}) == {}


def test_a_clip_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"clip_length must be odd.*got 4"):
        ASCEncoder(4)
    with torch.device("meta"):
        network = ASCEncoder(3).eval()
    with pytest.raises(ValueError, match=r"expected clips of 3 RGB faces.*got \(1, 5, 32, 32, 3\)"):
        network(*clips(1, 5))


def test_faces_are_normalised_and_stacked_frame_by_frame() -> None:
    _, faces = clips(2, 3, 8)
    for given in (faces, faces.to(torch.uint8)):
        stacked = stack(given)
        for frame in range(3):
            for colour in range(3):
                level = given[:, frame, :, :, colour] / 255
                wanted = (level - FACE_MEAN[colour]) / FACE_STD[colour]
                torch.testing.assert_close(stacked[:, 3 * frame + colour], wanted)


def test_alone_as_together_again_and_in_bf16() -> None:
    network = filled(ASCEncoder(3))
    audio, faces = clips(3, 3)
    with torch.inference_mode():
        together = network(audio, faces).av
        alone = torch.cat([network(audio[i : i + 1], faces[i : i + 1]).av for i in range(3)])
        assert together.shape == (3, 1, 2)
        torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
        assert torch.equal(together, network(audio, faces).av)
        with torch.autocast("cpu", torch.bfloat16):
            coarse = network(audio, faces).av.float()
    torch.testing.assert_close(coarse, together, atol=0.05 * float(together.abs().max()), rtol=0)


def test_imagenet_weights_fill_both_trunks() -> None:
    network = ASCEncoder(5)
    made = {
        name.removeprefix("visual."): torch.from_numpy(array(name, values.shape))
        for name, values in network.state_dict().items()
        if name.startswith("visual.")
    }
    made["conv1.weight"] = torch.from_numpy(array("stem.weight", (64, 3, 7, 7)))
    made["fc.weight"] = torch.zeros(1000, 512)
    head = network.head_av.weight.clone()
    network.begin_from(made)
    for trunk in (network.audio, network.visual):
        own = trunk.state_dict()
        assert all(torch.equal(own[name], made[name]) for name in own if name != "conv1.weight")
    for frame in network.visual.conv1.weight.view(64, 5, 3, 7, 7).unbind(1):
        assert torch.equal(frame, made["conv1.weight"])
    torch.testing.assert_close(network.audio.conv1.weight[:, 0], made["conv1.weight"].mean(1))
    assert torch.equal(network.head_av.weight, head)


def test_without_torchvision_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(WeightsUnavailableError, match=r"are not available .* from scratch"):
        imagenet_weights()


@pytest.mark.parametrize("keys", [(), ("conv1.weight",)], ids=["no stem", "stem alone"])
def test_other_weights_to_begin_from(keys: tuple[str, ...]) -> None:
    state = {name: torch.zeros(64, 3, 7, 7) for name in keys}
    with torch.device("meta"):
        network = ASCEncoder()
    with pytest.raises(UserError, match="these are not ResNet-18 weights: "):
        network.begin_from(state)
