"""What is learned in each stage gets better, and begins from what the data say."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model.layers.lag_profile import MAX_OFFSET, SHOWN_LAG
from model.networks.lr_asd import LRASD
from model.networks.synchrony import NUM_CHANNELS, NUM_LEVELS, Synchrony
from model.scoring.prepared import inference_copy
from model.shipped import synchrony_stages
from model.shipped.synchrony_lessons import Lessons
from model.shipped.synchrony_stages import (
    _find_voices,
    draw_embedded,
    matching_loss,
    measure,
    refiner_loss,
    set_statistics,
    take_over,
)
from tests.made_people import make_people
from tests.parity.filled import filled
from utils.datasets.pairings.pairings import Pairer
from utils.datasets.pairings.pool import EmbeddedFace

LENGTH = 160


def begun() -> Synchrony:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Synchrony()


def made_pool(num_pairings: int) -> list[EmbeddedFace]:
    """Voices that move with their faces in odd pairings, and with nothing in even ones."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((3, NUM_CHANNELS))
    pool = []
    for number in range(num_pairings):
        own = number % 2 == 1
        moved = rng.standard_normal((LENGTH, 3))
        heard = moved if own else rng.standard_normal((LENGTH, 3))
        levels = np.zeros((LENGTH, NUM_LEVELS))
        noise = 0.3 * rng.standard_normal((2, LENGTH, NUM_CHANNELS))
        audio = np.concatenate((heard @ mixing + noise[0], levels), 1).astype(np.float16)
        faces = (moved @ mixing + noise[1] + 2).astype(np.float16)
        labels = np.full(LENGTH, int(own), np.int8)
        pool.append(EmbeddedFace(audio, faces, labels, labels == 1, np.zeros(LENGTH, np.bool_)))
    return pool


def test_statistics_find_what_moves_together() -> None:
    network, pool = begun().eval(), made_pool(12)
    set_statistics(network, pool)
    batch = [torch.from_numpy(np.stack([one[part] for one in pool])).float() for part in (0, 1)]
    with torch.inference_mode():
        normed = network.visual_norm(batch[1].transpose(1, 2))
        compared = network.profile(*network.normalised(*batch))
    assert normed.mean((0, 2)).abs().max() < 0.02
    assert (normed.std((0, 2)) - 1).abs().max() < 0.02
    profile = compared.profile.view(len(pool), 3, -1, LENGTH)
    in_step = profile[:, 2, SHOWN_LAG].mean(1)
    assert in_step[1::2].min() > 0.55
    assert in_step[::2].max() < 0.3
    surprise = compared.evidence[:, -3].mean(1)
    assert surprise[1::2].min() > 2 * surprise[::2].max()


@pytest.mark.slow
def test_judging_is_learned() -> None:
    network, pool = begun(), made_pool(24)
    set_statistics(network, pool)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith("judges."))
    optimiser = torch.optim.Adam([one for one in network.parameters() if one.requires_grad], 3e-3)
    before = measure(network, pool)
    torch.manual_seed(0)
    for step in range(15):
        network.train()
        batch = draw_embedded(pool, np.random.default_rng(step))
        loss = refiner_loss(network, batch, 0.1 * torch.rand(len(batch[0])))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert before < 0.8
    assert measure(network, pool) > 0.95


def test_voices_may_be_early_or_late() -> None:
    """By as much as whole films are: the faces stay, the voices are moved."""
    pool = made_pool(4)
    for one in pool:
        one.audio[:, 1] = np.arange(LENGTH) % 100
        one.labels[:] = np.arange(LENGTH) % 100
    moved = set()
    for seed in range(20):
        audio, _, labels, _ = draw_embedded(pool, np.random.default_rng(seed))
        heard = audio[:, MAX_OFFSET:-MAX_OFFSET, 1]
        late = (heard - labels[:, MAX_OFFSET:-MAX_OFFSET] + 50) % 100 - 50
        assert (late == late[:, :1]).all()
        moved |= {int(one) for one in late[:, 0]}
    assert moved == set(range(-MAX_OFFSET, MAX_OFFSET + 1))


def test_half_precision_changes_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synchrony_stages, "MATCHED_CLIPS", 2)
    store, sources = make_people(tmp_path, 70)
    teacher = inference_copy(filled(LRASD()), "fp32")
    lessons, pairer = Lessons(store, sources, [teacher]), Pairer(store, sources, 60)
    network = begun()
    take_over(network, teacher)
    rng = np.random.default_rng
    with torch.no_grad():
        seen = [lessons.loss(network, rng(0), 1, bf16).item() for bf16 in (False, True)]
        matched = [matching_loss(network, pairer, rng(0), bf16=bf16) for bf16 in (False, True)]
    assert seen[0] != seen[1]
    assert seen[1] == pytest.approx(seen[0], rel=0.1)
    assert float(matched[1]) == pytest.approx(float(matched[0]), rel=0.02)


def test_noise_hides_what_moves_together_but_not_the_opinion() -> None:
    network, pool = begun().eval(), made_pool(12)
    set_statistics(network, pool)
    heads = [one for name, one in network.named_parameters() if name.endswith(".head.weight")]
    with torch.no_grad():
        for head in heads:
            head.normal_()
    batch = draw_embedded(pool, np.random.default_rng(0))
    count = len(batch[0])
    with torch.inference_mode():
        clear, noisy = (refiner_loss(network, batch, torch.full((count,), x)) for x in (0.0, 30.0))
        for head in heads:
            head.zero_()
        opinions = [refiner_loss(network, batch, torch.full((count,), x)) for x in (0.0, 30.0)]
    assert clear != noisy
    assert opinions[0] == opinions[1]


def test_matching_is_learned_through_both_encoders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synchrony_stages, "MATCHED_CLIPS", 2)
    network, pairer = begun(), Pairer(*make_people(tmp_path), 60)
    loss = matching_loss(network, pairer, np.random.default_rng(0))
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    for encoder in (network.visual_encoder, network.audio_encoder):
        gradients = [one.grad for one in encoder.parameters()]
        assert all(gradient is not None and gradient.any() for gradient in gradients)


def test_own_voices_in_step_are_found() -> None:
    """Faces that have their own voices in step cost less than those that have another's."""
    rng = np.random.default_rng(0)
    voice = torch.from_numpy(rng.standard_normal((3, 4, 120)).astype(np.float32))
    spoken = torch.ones(3, 120, dtype=torch.bool)
    spoken[:, ::3] = False
    own = _find_voices(voice, voice, spoken)
    late = _find_voices(voice, voice.roll(4, 2), spoken)
    other = _find_voices(voice, voice.roll(1, 0), spoken)
    assert own < 0.2
    assert late > 5
    assert other > 5
