"""What every network in the folder promises, whatever it reads; a new file is taken in by itself.

Each is built as published, and those that have variants in a small one too. Weights are drawn.
"""

import inspect
import json
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from model.checkpoints import training as checkpoints
from model.checkpoints.build import (
    build_network,
    load_released,
    load_single,
    network_class,
    network_name,
    recognise,
)
from model.checkpoints.registry import registry
from model.contract import ClipNetwork, ContextNetwork, Logits, Model, Network
from model.layers.lag_profile import MARGIN
from model.names import network_names
from model.training.initial_weights import IMAGENET
from model.training.losses import Clips, Contrast, Counts, SpeakingObjective
from model.training.recipes import seeded
from tests.parity.fill import inputs
from tests.parity.filled import filled, published_name
from utils.datasets.entities import UNLABELLED
from utils.structures import SAMPLE_RATE, STEPS_PER_FRAME

SMALL: Mapping[str, Mapping[str, Any]] = {
    "asc": {"length": 5, "num_speakers": 2, "stride": 2},
    "asc_encoder": {"clip_length": 3},
    "asdnet": {"num_speakers": 2, "length": 8},
    "asdnet_encoder": {"video_backbone": "shufflenetv2", "width": 0.5, "clip_length": 8},
    "ava_asd": {"mode": "s_av_fc", "channels": 3, "num_frames": 2},
    "loconet": {"num_speakers": 2, "num_layers": 1},
}
SIZES = {"asc_encoder": 32, "asdnet_encoder": 32}  # of faces, where the published is not needed
SEQUENCES = [name for name in network_names() if issubclass(network_class(name), Network)]
NUM_FRAMES = {"synchrony": 2 * MARGIN + 6}  # of a sequence, where 5 show nothing
STEP = 0.002  # of the loss is what a step downhill is to take away
SEED = 2  # of weights; with some, the two units of TalkNet's narrowest layers are dead
HEADS = ("av", "audio", "visual", "embedding")
PARITY = Path(__file__).parents[2] / "parity"


class Case(NamedTuple):
    """A network in one of its variants."""

    name: str
    variant: Mapping[str, Any]
    network: Model


CASES: list[tuple[str, Mapping[str, Any]]] = [(name, {}) for name in network_names()] + list(
    SMALL.items()
)


def label(case: tuple[str, Mapping[str, Any]]) -> str:
    return f"{case[0]}, small" if case[1] else case[0]


@pytest.fixture(scope="module", params=CASES, ids=label)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    name, variant = request.param
    with seeded(SEED, torch.device("cpu")):
        network = build_network(name, variant)
    yield Case(name, variant, network.eval())


def made(case: Case, num_clips: int) -> tuple[Tensor, Tensor]:
    """Return sound and faces (or nothing and embeddings) of some clips."""
    network = case.network
    if isinstance(network, ContextNetwork):
        context = network.context
        shape = (num_clips, context.num_speakers, context.length, network.num_embedding)
        return torch.zeros(num_clips, 0), torch.from_numpy(inputs("embeddings", shape))
    assert isinstance(network, ClipNetwork | Network)
    size, colours = SIZES.get(case.name, network.inputs.size), (3,) * network.inputs.colour
    if isinstance(network, ClipNetwork):
        lengths: tuple[int, ...] = (network.clip.length,)
        audio = clip_sound(network, num_clips)
    else:
        speakers = (network.num_speakers,) if network.num_speakers > 1 else ()
        lengths = (*speakers, num_frames(network))
        steps = (num_clips, STEPS_PER_FRAME * lengths[-1], network.inputs.num_features)
        audio = torch.from_numpy(inputs("audio", steps, -10, 20))
    faces = inputs("faces", (num_clips, *lengths, size, size, *colours), 0, 255)
    return audio, torch.from_numpy(faces).to(torch.uint8)


def clip_sound(network: ClipNetwork, num_clips: int) -> Tensor:
    """Return what the network's feature makes of consecutive clips of a noise."""
    feature, clip = network.inputs.feature, network.clip
    times = 1 + np.arange(num_clips + clip.length) / clip.fps
    noise = inputs("sound", (int(SAMPLE_RATE * (1 + times[-1])),), -9000, 9000)
    rows = np.arange(num_clips)[:, None] + np.arange(clip.length)
    compute = getattr(import_module(f"utils.features.{feature}"), feature)
    return torch.from_numpy(compute(noise.astype(np.int16), times, rows))


def run(network: Model, audio: Tensor, faces: Tensor) -> Logits:
    logits: Logits = (
        network(faces) if isinstance(network, ContextNetwork) else network(audio, faces)
    )
    return logits


def label_shape(network: Model, num_clips: int) -> tuple[int, ...]:
    """Return the shape of the labels of some clips."""
    if not isinstance(network, Network):
        return (num_clips, 1)
    speakers = (network.num_speakers,) if network.num_speakers > 1 else ()
    return (num_clips, *speakers, num_frames(network))


def num_frames(network: Model) -> int:
    """Return how many frames the sequences of a network have here."""
    return NUM_FRAMES.get(network_name(network), 5)


def made_labels(network: Model, num_clips: int) -> Tensor:
    """Return labels of which about a half are of either class."""
    shape = label_shape(network, num_clips)
    return torch.arange(int(np.prod(shape))).mul(7).remainder(5).lt(3).long().view(shape)


def test_every_network_with_options_has_a_small_case() -> None:
    with_options = {
        name for name in network_names() if inspect.signature(network_class(name)).parameters
    }
    # TalkNet's only option joins the clips of a batch, of which none is then by itself.
    assert with_options - {"talknet"} == set(SMALL)


def test_shapes(case: Case) -> None:
    assert network_name(case.network) == case.name
    assert case.network.variant == case.variant
    with torch.inference_mode():
        found = run(case.network, *made(case, 2))
    shape = label_shape(case.network, 2)
    for name in ("av", "audio", "visual"):
        head = getattr(found, name)
        assert head is None or head.shape == (*shape, 2), name
        assert head is None or head.isfinite().all(), name
    weighed = [getattr(found, name) for name in case.network.recipe.loss_weights]
    assert all(head is not None for head in weighed)
    if isinstance(case.network, ClipNetwork):
        assert found.embedding is not None
        assert found.embedding.shape == (2, 1, case.network.num_embedding)


def test_the_same_again_and_one_by_one(case: Case) -> None:
    audio, faces = made(case, 3)
    with torch.inference_mode():
        together, again = run(case.network, audio, faces), run(case.network, audio, faces)
        alone = [run(case.network, audio[i : i + 1], faces[i : i + 1]) for i in range(3)]
    for name in HEADS:
        whole = getattr(together, name)
        if whole is not None:
            assert torch.equal(whole, getattr(again, name)), name
            parts = torch.cat([getattr(one, name) for one in alone])
            limit = 1e-4 * float(whole.abs().max())
            torch.testing.assert_close(parts, whole, atol=limit, rtol=0, msg=name)


def test_bf16_is_close(case: Case) -> None:
    audio, faces = made(case, 2)
    with torch.inference_mode():
        exact = run(case.network, audio, faces).av
        with torch.autocast("cpu", torch.bfloat16):
            rounded = run(case.network, audio, faces).av
    assert (rounded.float() - exact).abs().max() < 0.1 * exact.abs().max()


def test_unlabelled_frames_do_not_count(case: Case) -> None:
    """The loss of a batch is the sum over its labelled frames, whichever these are."""
    audio, faces = made(case, 2)
    objective = SpeakingObjective(case.network, case.network.recipe, Contrast())
    objective.eval()
    labels = made_labels(case.network, 2)
    hidden = torch.arange(labels.numel()).remainder(3).eq(0).view_as(labels)

    def loss(known: Tensor) -> float:
        seen = torch.where(known, labels, UNLABELLED)
        with torch.inference_mode():
            return float(objective(Clips(audio, faces, seen, seen), Counts(1, 1), 1.0)[0])

    nothing = loss(torch.zeros_like(hidden))
    assert nothing == 0
    first, second, whole = loss(hidden), loss(~hidden), loss(hidden | ~hidden)
    assert first > 0
    assert first + second == pytest.approx(whole, rel=1e-4)


def test_trains(case: Case) -> None:
    """Every parameter gets a gradient, statistics run, and short steps downhill lower the loss."""
    audio, faces = made(case, 3)
    labels = made_labels(case.network, 3)
    network = case.network
    objective = SpeakingObjective(network, network.recipe, Contrast()).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.0)
    counters = [
        norm.num_batches_tracked for norm in network.modules() if isinstance(norm, _BatchNorm)
    ]
    losses = []
    for _ in range(3):
        clips = Clips(audio, faces, labels, labels)
        with seeded(0, torch.device("cpu")):
            loss, _ = objective(clips, Counts(labels.numel(), int(labels.sum())), 1.0)
        optimiser.zero_grad()
        loss.backward()
        losses.append(loss.item())
        gradients = {name: one.grad for name, one in network.named_parameters()}
        missing = [name for name, one in gradients.items() if one is None or not one.any()]
        assert missing == []
        assert all(one is None or one.isfinite().all() for one in gradients.values())
        steepness = sum(float(one.square().sum()) for one in gradients.values() if one is not None)
        optimiser.param_groups[0]["lr"] = STEP * losses[-1] / steepness
        optimiser.step()
    network.eval()
    assert losses[-1] < losses[0]
    assert {int(counter) for counter in counters if counter is not None} <= {3}


def test_weights_and_variant_go_through_a_file(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "network.model"
    checkpoints.save(path, case.network, {})
    loaded = load_single(case.name, path)
    path.unlink()
    published = {
        name: option.default
        for name, option in inspect.signature(network_class(case.name)).parameters.items()
    }
    assert {**published, **loaded.variant} == {**published, **case.variant}
    own = case.network.state_dict()
    assert loaded.state_dict().keys() == own.keys()
    assert all(torch.equal(value, own[name]) for name, value in loaded.state_dict().items())


def shapes_of(network: Model) -> dict[str, Tensor]:
    """Return a checkpoint with published names, without values."""
    return {published_name(network, name): one for name, one in network.state_dict().items()}


@pytest.mark.parametrize("given", CASES, ids=label)
def test_published_names(given: tuple[str, Mapping[str, Any]]) -> None:
    """A checkpoint with published names is recognised, as is its variant; strays are named."""
    name, variant = given
    with torch.device("meta"):
        network = build_network(name, variant)
        state = shapes_of(network)
        assert len(state) == len(network.state_dict())
        load_released(network, state)
        assert recognise(state) == name
        if variant:
            with pytest.raises(ValueError, match=f"fits {name} with .*=.*"):
                load_released(build_network(name), state)
            return
        stray = {**state, "stray.weight": torch.empty(1)}
        with pytest.raises(ValueError, match=r"1 unknown keys, such as 'stray\.weight'"):
            load_released(network, stray)
        with pytest.raises(ValueError, match="1 missing keys"):
            load_released(network, dict(list(state.items())[:-1]))


def published_keys() -> dict[str, dict[str, list[int]]]:
    """Return names and shapes of published checkpoints, by network."""
    asc, asdnet, loconet = (
        json.loads((PARITY / f"{name}_keys.json").read_text())
        for name in ("asc", "asdnet", "loconet")
    )
    encoder = {
        **{f"audio_base.base.{key}": shape for key, shape in asdnet["asdnet_sincdsnet"].items()},
        **{f"video_base.base.{key}": shape for key, shape in asdnet["asdnet_resnext101"].items()},
        **asdnet["asdnet_av_enc_heads"],
    }
    return {
        **asc,
        "asdnet_encoder": encoder,
        "asdnet": asdnet["asdnet_tm_isrm_S4"],
        "loconet": loconet,
    }


@pytest.mark.parametrize("name", ["asc", "asc_encoder", "asdnet", "asdnet_encoder", "loconet"])
def test_published_keys(name: str) -> None:
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in published_keys()[name].items()}
        load_released(build_network(name), state)


@pytest.mark.parametrize("name", network_names())
def test_initial_weights_are_known(name: str) -> None:
    assert network_class(name).initial in ("", IMAGENET, *registry())


@pytest.fixture(scope="module", params=SEQUENCES)
def sequences(request: pytest.FixtureRequest) -> Network:
    network = filled(build_network(request.param))
    assert isinstance(network, Network)
    return network


def sequence(num_clips: int, num_frames: int) -> Tensor:
    return torch.from_numpy(inputs("faces", (num_clips, num_frames, 112, 112), 0, 255))


def test_radius(sequences: Network) -> None:
    """One changed frame changes the embeddings of `radius` frames to either side, no more."""
    middle, radius = sequences.radius + 2, sequences.radius
    before = sequence(1, 2 * middle + 1)
    after = before.clone()
    after[0, middle] = 255 - after[0, middle]
    with torch.inference_mode():
        difference = (sequences.encode_faces(after) - sequences.encode_faces(before)).abs()
    changed = torch.nonzero(difference.amax(2)[0] > 1e-6).flatten().tolist()
    assert changed == list(range(middle - radius, middle + radius + 1))


def test_part_of_a_sequence(sequences: Network) -> None:
    faces = sequence(2, 22)
    with torch.inference_mode():
        whole = sequences.encode_faces(faces)
        for start, stop in ((0, 3), (10, 11), (1, 20), (19, 22)):
            part = sequences.encode_faces(faces, start, stop)
            torch.testing.assert_close(part, whole[:, start:stop], atol=1e-3, rtol=1e-4)


def test_short_sequences(sequences: Network) -> None:
    audio = inputs("audio", (2, STEPS_PER_FRAME, sequences.inputs.num_features), -10, 20)
    with torch.inference_mode():
        logits = sequences(torch.from_numpy(audio), sequence(2, 1)).av
    assert logits.shape == (2, 1, 2)
    assert logits.isfinite().all()


def test_bytes_are_read_like_numbers(sequences: Network) -> None:
    faces = sequence(1, 3).to(torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(
            sequences.encode_faces(faces), sequences.encode_faces(faces.float())
        )
