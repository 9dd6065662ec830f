"""The four networks of ava_asd give what the published ones give, and refuse what does not fit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model.checkpoints.build import load_released, recognise
from model.checkpoints.keras import MODES
from model.contract import Logits
from model.networks.ava_asd import AvaASD
from tests.parity.fill import fill, inputs
from tests.parity.references import reference

EXPECTED = reference("ava_asd_models")
SMALL: dict[str, Any] = {"num_frames": 2, "size": 18}


def published_name(mode: str) -> Callable[[str], str]:
    both = mode in ("s_av", "s_av_fc")
    names = {
        "audio.": "s_av_a_" if both else "s_a_",
        "video.": "s_av_v_" if both else "s_v_",
        "fusion.": "s_av_fc1.",
        "head_audio.": "a_out.",
        "head_visual.": "v_out.",
        "head_av.": "main_out.",
    }
    return lambda name: next(
        layer + name.removeprefix(own) for own, layer in names.items() if name.startswith(own)
    )


def filled(mode: str, **variant: Any) -> AvaASD:
    network = AvaASD(mode, **variant)
    fill(network, rename=published_name(mode))
    return network.eval()


def clips(network: AvaASD, num_clips: int = 2) -> tuple[Tensor, Tensor]:
    length, size = network.clip.length, network.inputs.size
    colours = (3,) if network.inputs.colour else ()
    audio = inputs("audio", (num_clips, 13, 4 * length), -2, 2)
    faces = inputs("faces", (num_clips, length, size, size, *colours), 0, 255)
    return torch.from_numpy(audio), torch.from_numpy(faces)


def watch(network: AvaASD) -> dict[str, Tensor]:
    """Keep what some layers read and give, under the published names, channels last."""
    seen: dict[str, Tensor] = {}
    watched = {
        "a_pool2": ("audio.conv3", 0, (0, 2, 3, 1)),
        "a_conv6": ("audio.conv6", 1, (0, 2, 3, 1)),
        "v_pool5": ("video.conv6", 0, (0, 2, 3, 1)),
        "a_fc7": ("audio.fc7", 1, (0, 1)),
        "v_fc7": ("video.fc7", 1, (0, 1)),
    }
    modules = dict(network.named_modules())

    def keep(name: str, which: int, order: tuple[int, ...]) -> Callable[..., None]:
        def hook(_: nn.Module, read: tuple[Tensor], given: Tensor) -> None:
            seen[name] = (read[0], given)[which].permute(order).relu()

        return hook

    for name, (layer, which, order) in watched.items():
        if isinstance(modules.get(layer), nn.Module):
            modules[layer].register_forward_hook(keep(name, which, order))
    return seen


@pytest.mark.parametrize("mode", MODES)
def test_published_outputs(mode: str) -> None:
    network = filled(mode)
    seen = watch(network)
    audio = torch.from_numpy(inputs("audio", (3, 13, 20, 1), -2, 2))[..., 0]
    pictures = torch.from_numpy(inputs("video", (3, 5, 100, 100, 1)))
    with torch.inference_mode():
        logits = network.score(audio, pictures)
    assert logits.embedding is not None
    found: dict[str, Tensor] = {"s_av_fc1": logits.embedding[:, 0]}
    for name, head in (("main_out", logits.av), ("a_out", logits.audio), ("v_out", logits.visual)):
        if head is not None:
            found[name] = head[:, 0].softmax(1).flip(1)  # published: speaking comes first
    prefix = {"s_a": "s_", "s_v": "s_"}.get(mode, "s_av_")
    for name, values in seen.items():
        is_mean = name.endswith(("pool2", "pool5"))  # frames are folded into the batch
        channels = values.reshape(3, -1, values.shape[-1])
        found[prefix + name] = channels.mean(1) if is_mean else values
    wanted = {
        name.partition(".")[2]: torch.from_numpy(a)
        for name, a in EXPECTED.items()
        if name.startswith(f"{mode}.")
    }
    assert wanted.pop("params") == sum(one.numel() for one in network.parameters())
    penalty = network.penalty()
    if penalty is not None:
        wanted_penalty = wanted.pop("l2_penalty").float()
        torch.testing.assert_close(penalty, wanted_penalty, rtol=1e-5, atol=0)
    for name, values in wanted.items():
        torch.testing.assert_close(found[name], values, atol=1e-5, rtol=0, msg=name)


@pytest.mark.parametrize("mode", MODES)
def test_published_names_load_strictly(mode: str) -> None:
    network = AvaASD(mode)
    name = published_name(mode)
    state = {name(own): torch.rand_like(tensor) for own, tensor in network.state_dict().items()}
    assert recognise(state) == "ava_asd"
    assert AvaASD(**AvaASD.variant_of(state)).mode == mode
    load_released(network, state)
    for own, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name(own)])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("channels", "num_frames"), [(1, 5), (3, 5), (3, 10), (1, 15)])
def test_checkpoints_show_their_variant(mode: str, channels: int, num_frames: int) -> None:
    variant: dict[str, Any] = {"mode": mode, "channels": channels, "num_frames": num_frames}
    with torch.device("meta"):
        state = AvaASD(**variant).state_dict()
        found = AvaASD.variant_of(state)
        again = AvaASD(**found).state_dict()
    assert {key: one.shape for key, one in again.items()} == {k: v.shape for k, v in state.items()}
    if mode != "s_a":  # sound alone has the same shapes for some numbers of frames
        assert found == variant


def test_a_checkpoint_of_another_mode_is_named() -> None:
    with torch.device("meta"):
        network, state = AvaASD("s_av"), AvaASD("s_av_fc").state_dict()
    with pytest.raises(ValueError, match="fits ava_asd with mode=s_av_fc"):
        load_released(network, state)


def test_wrong_variants_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a mode of s_av.* got 'av'"):
        AvaASD("av")
    with pytest.raises(ValueError, match="1 channel or 3, got 2"):
        AvaASD(channels=2)
    with pytest.raises(ValueError, match="got 0 and 100"):
        AvaASD(num_frames=0)


@pytest.mark.parametrize(
    ("audio", "faces", "found"),
    [
        ((2, 13, 20), (2, 2, 18, 18), r"MFCC \(13, 8\).*got \(13, 20\)"),
        ((2, 13, 8), (2, 5, 18, 18), r"images \(2, 18, 18, 1\).*got \(5, 18, 18, 1\)"),
        ((2, 13, 8), (2, 2, 20, 20), r"got \(2, 20, 20, 1\)"),
    ],
    ids=["sound", "length", "size"],
)
def test_clips_of_another_form_are_refused(
    audio: tuple[int, ...], faces: tuple[int, ...], found: str
) -> None:
    with torch.device("meta"):
        network = AvaASD(**SMALL)
    with pytest.raises(ValueError, match=found):
        network(torch.zeros(audio), torch.zeros(faces))


@pytest.mark.parametrize("mode", MODES)
def test_every_weight_learns(mode: str) -> None:
    network = AvaASD(mode, **SMALL).train()
    logits: Logits = network(*clips(network, 8))
    heads = [head for head in (logits.av, logits.audio, logits.visual) if head is not None]
    assert len(heads) == (3 if mode in ("s_av", "s_av_fc") else 1)
    torch.stack([head[..., 1].sum() for head in heads]).sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("mode", MODES)
def test_clips_are_judged_one_by_one(mode: str) -> None:
    network = filled(mode, **SMALL)
    audio, faces = clips(network, 3)
    with torch.inference_mode():
        whole = network(audio, faces)
        again = network(audio, faces)
        single = [network(audio[i : i + 1], faces[i : i + 1]) for i in range(3)]
    assert whole.av.shape == (3, 1, 2)
    assert whole.embedding is not None and whole.embedding.shape == (3, 1, network.num_embedding)
    assert torch.equal(whole.av, again.av)
    torch.testing.assert_close(whole.av, torch.cat([one.av for one in single]))


def test_whole_numbers_are_read_as_well() -> None:
    network = filled("s_av", **SMALL)
    audio, faces = clips(network)
    with torch.inference_mode():
        found = network(audio, faces.round().byte()).av
        torch.testing.assert_close(found, network(audio, faces.round()).av)


def test_colours_are_read_in_the_published_order() -> None:
    network = filled("s_v", channels=3, **SMALL)
    audio, faces = clips(network)
    with torch.inference_mode():
        found = network(audio, faces).av
        blue_first = network.score(audio, faces.flip(-1) / 255).av
    torch.testing.assert_close(found, blue_first)


def test_bf16_is_close() -> None:
    network = filled("s_av", **SMALL)
    audio, faces = clips(network, 4)
    with torch.inference_mode():
        exact = network(audio, faces).av
        for conv in network.video.modules():
            if isinstance(conv, nn.Conv3d):
                conv.bfloat16()
        found = network(audio, faces).av
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, atol=0.02 * float(exact.abs().max()), rtol=0)


def test_recipes() -> None:
    with torch.device("meta"):
        both, joined, alone = (AvaASD(mode, **SMALL) for mode in ("s_av", "s_av_fc", "s_a"))
    assert both.recipe.loss_weights == {"audio": 0.4, "visual": 0.4}
    assert joined.recipe.loss_weights == {"audio": 1.0, "visual": 1.0}
    assert alone.recipe.loss_weights == {}
    assert alone.penalty() is None
