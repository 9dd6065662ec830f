"""Losses are the published ones; unlabelled frames do not count."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.contract import Logits, Recipe
from model.families.sequence import FAMILY
from model.networks.talknet import TalkNet
from model.training.losses import (
    Clips,
    Contrast,
    Counts,
    SpeakingObjective,
    head_losses,
    talk_nce,
)
from tests.made_training import TinyNetwork
from utils.datasets.entities import UNLABELLED


def made_logits(seed: int = 0) -> tuple[Logits, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    heads = [torch.randn(2, 5, 2, generator=generator) for _ in range(3)]
    return Logits(*heads), torch.tensor([[0, 1, 1, 0, 1], [1, 0, 0, 0, 1]])


def clips_of(labels: Tensor) -> Clips:
    """Labels of a batch; its audio and faces are not used."""
    return Clips(labels, labels, labels, labels)


def test_cross_entropy_as_published() -> None:
    logits, labels = made_logits()
    assert logits.audio is not None
    assert logits.visual is not None
    heads = (logits.av, logits.audio, logits.visual)
    av, audio, visual = (functional.cross_entropy(x.flatten(0, 1), labels.flatten()) for x in heads)
    found = head_losses(logits, clips_of(labels), {"av": 1.0, "audio": 0.4, "visual": 0.4}, 1.0)
    torch.testing.assert_close(found / labels.numel(), av + 0.4 * audio + 0.4 * visual)


@pytest.mark.parametrize("temperature", [1.3, 1.0, 0.72])
def test_binary_cross_entropy_as_published(temperature: float) -> None:
    logits, labels = made_logits()
    assert logits.visual is not None
    expected = sum(
        weight
        * functional.binary_cross_entropy(
            (head / temperature).softmax(2)[..., 1].flatten(), labels.float().flatten()
        )
        for head, weight in ((logits.av, 1.0), (logits.visual, 0.5))
    )
    found = head_losses(logits, clips_of(labels), {"av": 1.0, "visual": 0.5}, temperature)
    torch.testing.assert_close(found / labels.numel(), expected)


def test_frames_without_label_do_not_count() -> None:
    logits, labels = made_logits()
    hidden = labels.clone()
    hidden[0, 2:] = UNLABELLED
    hidden[1] = UNLABELLED
    few = Logits(logits.av[:1, :2])
    assert torch.equal(
        head_losses(Logits(logits.av), clips_of(hidden), {"av": 1.0}, 1.0),
        head_losses(few, clips_of(labels[:1, :2]), {"av": 1.0}, 1.0),
    )


def test_a_head_that_is_not_there() -> None:
    logits, labels = made_logits()
    with pytest.raises(ValueError, match="has a weight for 'audio'"):
        head_losses(Logits(logits.av), clips_of(labels), {"av": 1.0, "audio": 0.4}, 1.0)


def test_talk_nce_is_info_nce_over_speaking_frames() -> None:
    generator = np.random.default_rng(0)
    audio, faces = (generator.normal(size=(2, 6, 4)).astype(np.float32) for _ in range(2))
    active = np.array([[1, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 0]], bool)
    expected = 0.0
    for clip in range(2):
        voices, looks = (
            array[clip][active[clip]]
            / np.linalg.norm(array[clip][active[clip]], axis=1, keepdims=True)
            for array in (audio, faces)
        )
        similar = np.exp(looks @ voices.T / 0.1)
        expected -= np.log(np.diag(similar) / similar.sum(1)).sum()
    voice, face, speaks = (torch.from_numpy(array) for array in (audio, faces, active))
    assert talk_nce(voice, face, speaks, 0.1).item() == pytest.approx(expected, rel=1e-5)


def test_talk_nce_without_speech_is_zero_with_finite_gradients() -> None:
    audio = torch.randn(1, 4, 3, requires_grad=True)
    loss = talk_nce(audio, torch.randn(1, 4, 3), torch.zeros(1, 4, dtype=torch.bool), 0.1)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert audio.grad is not None
    assert torch.equal(audio.grad, torch.zeros(1, 4, 3))


def test_embeddings_of_unequal_width_are_projected_for_the_contrast_alone() -> None:
    assert FAMILY.embedding_widths(TalkNet()) == (128, 512)
    even = SpeakingObjective(TinyNetwork(), Recipe(), Contrast(0.3))
    assert [name for name, _ in even.named_parameters() if "projection" in name] == []
    wide = SpeakingObjective(TinyNetwork(face_width=12), Recipe(), Contrast(0.3))
    assert wide.projection.weight.shape == (8, 12)
    assert not any("projection" in name for name in wide.network.state_dict())


def test_objective_adds_the_contrast_and_counts_right_frames() -> None:
    network = TinyNetwork().eval()
    labels = torch.tensor([[1, 1, 0, UNLABELLED]])
    clips = Clips(
        torch.randn(1, 16, 13), torch.full((1, 4, 16, 16), 100, dtype=torch.uint8), labels, labels
    )
    counts = Counts(labelled=3, speaking=2)
    plain, right = SpeakingObjective(network, Recipe(), Contrast())(clips, counts, 1.0)
    both, _ = SpeakingObjective(network, Recipe(), Contrast(0.3))(clips, counts, 1.0)
    audio, faces = network.encode_audio(clips.audio), network.encode_faces(clips.faces)
    speech = talk_nce(audio, faces, labels == 1, Contrast().temperature) / 2
    torch.testing.assert_close(both, plain + 0.3 * speech)
    logits = network.fuse(audio, faces).av
    assert right.item() == int((logits.argmax(2) == labels).sum())
