"""LoCoNet gives what the published network gives, and compares any number of speakers."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.checkpoints.build import load_released, recognise
from model.networks.loconet import LoCoNet
from model.scoring.windows import score_track, track_logits
from tests.parity.fill import inputs
from tests.parity.filled import filled, published_name
from tests.parity.references import reference, reference_table

SPEAKERS = 3
SMALL = 48  # pixels: where nothing depends on the size, for speed


def assert_close(found: Tensor | None, expected: NDArray[np.float32], name: str = "") -> None:
    """Compare with a reference, of which every so many-th channel was kept."""
    assert found is not None
    values = found.numpy()
    values = values[..., :: values.shape[-1] // expected.shape[-1]].reshape(expected.shape)
    np.testing.assert_allclose(values, expected, atol=1e-3, rtol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def network() -> LoCoNet:
    return filled(LoCoNet())


@pytest.fixture(scope="module")
def joined(network: LoCoNet) -> LoCoNet:
    """Return the same network with its sequences joined, as published."""
    with torch.device("meta"):
        made = LoCoNet(join_clips=True)
    made.load_state_dict(network.state_dict(), assign=True)
    return made.eval()


def audio(name: str, clips: int, frames: int) -> Tensor:
    return torch.from_numpy(inputs(f"loconet.audio.{name}", (clips, 4 * frames, 64), -4, 14))


def faces(name: str, clips: int, frames: int, size: int = 112) -> Tensor:
    shape = (clips, SPEAKERS, frames, size, size)
    return torch.from_numpy(inputs(f"loconet.visual.{name}", shape, 0, 255))


@pytest.mark.parametrize("frames", [25, 50])
def test_every_stage(joined: LoCoNet, frames: int) -> None:
    name = f"T{frames}"
    expected = reference(f"loconet_t{frames}")
    voice_in, faces_in = audio(name, 1, frames), faces(name, 1, frames)
    np.testing.assert_array_equal(voice_in.flatten()[:8], expected["audio_head8"])
    np.testing.assert_array_equal(faces_in.flatten()[:8], expected["visual_head8"])
    with torch.inference_mode():
        voice = joined.encode_audio(voice_in)
        seen = joined.encode_faces(faces_in[0])
        visual = joined.visual_projection(joined.visual_temporal(seen.transpose(1, 2)))
        visual = visual.transpose(1, 2)
        voices = voice.expand(SPEAKERS, -1, -1)
        found = {
            "audio_embed": voice,
            "visual_embed": visual,
            "cross_audio": joined.cross_audio(voices, visual),
            "cross_visual": joined.cross_visual(visual, voices),
        }
        context = torch.cat((found["cross_audio"], found["cross_visual"]), dim=2)
        found["av_backend"] = joined.compare(context).flatten(0, 1)
        for number, layer in enumerate(joined.context):
            context = layer(context.view(1, SPEAKERS, frames, 256)).flatten(0, 1)
            found[f"convAV{number}"] = context
        logits = joined.fuse(voice, seen.unsqueeze(0))
    assert logits.av.shape == (1, SPEAKERS, frames, 2)
    found["logits_av"] = logits.av
    assert logits.audio is not None and logits.visual is not None
    found |= {"logits_a": logits.audio, "logits_v": logits.visual}
    found["target_score_raw"] = logits.av[0, 0, :, 1]
    assert set(found) == set(expected) - {"audio_head8", "visual_head8", "target_prob"}
    for stage, values in found.items():
        assert_close(values, expected[stage], stage)
    probability = torch.softmax(logits.av[0, 0], dim=1)[:, 1]
    np.testing.assert_allclose(probability, expected["target_prob"], atol=1e-4, rtol=0)


def test_sequences_are_kept_apart(network: LoCoNet, joined: LoCoNet) -> None:
    """Joining changes what lies beside a joint; apart, each sequence is as if it were alone."""
    sequences = faces("apart", 1, 8, SMALL)[0]
    with torch.inference_mode():
        apart, mixed = network.encode_faces(sequences), joined.encode_faces(sequences)
        alone = torch.cat([network.encode_faces(sequences[i : i + 1]) for i in range(SPEAKERS)])
    torch.testing.assert_close(apart, alone, atol=1e-4, rtol=1e-4)
    changed = ((apart - mixed).abs().amax(2) > 1e-2).tolist()
    inside = [False] * 4
    assert changed == [
        [False, False, *inside, True, True],
        [True, True, *inside, True, True],
        [True, True, *inside, False, False],
    ]


@pytest.mark.parametrize("frames", [1, 7])
def test_clips_of_a_batch_are_kept_apart(network: LoCoNet, frames: int) -> None:
    voices, clips = audio("batch", 2, frames), faces("batch", 2, frames, SMALL)
    with torch.inference_mode():
        together = network(voices, clips)
        again = network(voices, clips)
        alone = [network(voices[i : i + 1], clips[i : i + 1]) for i in range(2)]
    for head in ("av", "audio", "visual"):
        found = getattr(together, head)
        assert found.shape == (2, SPEAKERS, frames, 2)
        assert torch.equal(found, getattr(again, head))
        expected = torch.cat([getattr(one, head) for one in alone])
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_face_alone_is_compared_with_itself(network: LoCoNet) -> None:
    voices, clips = audio("alone", 2, 6), faces("alone", 2, 6, SMALL)[:, :1]
    with torch.inference_mode():
        alone = network(voices, clips[:, 0])
        repeated = network(voices, clips.expand(-1, SPEAKERS, -1, -1, -1))
        with pytest.raises(ValueError, match="expected the faces of 3 speakers, got 1; repeat"):
            network(voices, clips)
    for head in ("av", "audio", "visual"):
        expected = getattr(repeated, head)[:, 0]
        torch.testing.assert_close(getattr(alone, head), expected, atol=1e-4, rtol=1e-4)


def test_the_order_of_the_others_counts(network: LoCoNet) -> None:
    """The comparison has weights for each place, so who stands where is no matter of taste."""
    voices, clips = audio("order", 1, 6), faces("order", 1, 6, SMALL)
    with torch.inference_mode():
        found = network(voices, clips).av[:, 0]
        turned = network(voices, clips[:, [0, 2, 1]]).av[:, 0]
    assert (found - turned).abs().max() > 1e-2


def published(network: LoCoNet, wrapper: str = "") -> dict[str, Tensor]:
    state = network.state_dict()
    return {wrapper + published_name(network, name): value for name, value in state.items()}


@pytest.mark.parametrize("wrapper", ["", "model.module."], ids=["bare", "as released"])
def test_published_checkpoint(network: LoCoNet, wrapper: str) -> None:
    expected = reference_table("loconet_keys")
    state = published(network, wrapper)
    shapes = {key.removeprefix(wrapper): list(value.shape) for key, value in state.items()}
    assert shapes == expected and len(state) == 272
    assert sum(value.numel() for value in network.parameters()) == 34_332_875
    made = LoCoNet(**LoCoNet.variant_of(state))
    load_released(made, state)
    for name, value in made.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name


@pytest.mark.parametrize(("speakers", "layers"), [(3, 3), (2, 3), (5, 1), (1, 11)])
def test_variants(speakers: int, layers: int) -> None:
    with torch.device("meta"):
        network = LoCoNet(num_speakers=speakers, num_layers=layers)
    variant = {"num_speakers": speakers, "num_layers": layers}
    assert LoCoNet.variant_of(network.state_dict()) == variant
    assert LoCoNet.variant_of(published(network, "model.module.")) == variant
    assert recognise(published(network)) == "loconet"


def test_wrong_weights_are_named() -> None:
    with torch.device("meta"):
        network, other = LoCoNet(), LoCoNet(num_speakers=2)
    with pytest.raises(ValueError, match=r"fits loconet with num_speakers=2, num_layers=3"):
        load_released(network, published(other))
    state = published(network)
    del state["lossAV.FC.bias"]
    with pytest.raises(ValueError, match=r"not loconet weights: 1 missing keys.*head_av.bias"):
        load_released(network, state)
    with pytest.raises(ValueError, match="at least 1, got 0 and 3"):
        LoCoNet(num_speakers=0)


def test_scores_a_track_by_itself(network: LoCoNet) -> None:
    """In windows, folded, in bf16 too."""
    crops = np.rint(inputs("crops", (12, 112, 112), 0, 255)).astype(np.uint8)
    sound = np.rint(inputs("sound", (12 * 640 + 400,), -3000, 3000)).astype(np.int16)
    found = score_track(network, crops, sound)
    assert found.shape == (12,) and np.isfinite(found).all()
    features = audio("windows", 1, 12)[0].numpy()
    exact = track_logits(network, crops, features)
    with torch.inference_mode():
        whole = network(torch.from_numpy(features)[None], torch.from_numpy(crops)[None]).av[0]
    np.testing.assert_allclose(exact, whole, atol=1e-3)
    rounded = track_logits(network, crops, features, precision="bf16")
    assert 0 < np.abs(rounded - exact).max() < 0.05
