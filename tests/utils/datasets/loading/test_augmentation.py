"""Augmentation as published: noise levels, faces, shifts, and reproducibility."""

from collections import Counter

import numpy as np
import pytest

from utils.datasets.loading.augmentation import (
    add_noise,
    augment_faces,
    can_shift,
    crop,
    mix_noise,
    rotate,
    shift_audio,
)

RNG = np.random.default_rng(0)
VOICE = RNG.normal(0, 3000, 16000).astype(np.int16)
NOISE = RNG.normal(0, 500, 5000).astype(np.int16)
FACES = RNG.integers(1, 256, (4, 112, 112)).astype(np.uint8)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 5.0])
def test_noise_level(snr_db: float) -> None:
    mixed = add_noise(VOICE, NOISE, snr_db)
    added = mixed.astype(float) - VOICE
    found = 10 * np.log10(np.mean(VOICE.astype(float) ** 2) / np.mean(added**2))
    assert found == pytest.approx(snr_db, abs=0.05)
    assert np.corrcoef(added[:5000], added[5000:10000])[0, 1] > 0.99  # the noise is repeated


def test_loud_sums_are_clipped() -> None:
    loud = np.full(1000, 30000, np.int16)
    assert (add_noise(loud, loud, 0.0) == 32767).all()
    assert (add_noise(-loud, -loud, 0.0) == -32768).all()


def test_noise_added_to_silence_stays_at_the_floor() -> None:
    silence = np.zeros(1000, np.int16)
    assert (add_noise(silence, NOISE, 0.0) == 0).all()
    assert (mix_noise(VOICE, np.empty(0, np.int16), np.random.default_rng(1)) == VOICE).all()


def test_half_of_the_clips_get_noise() -> None:
    rng = np.random.default_rng(5)
    changed = sum(mix_noise(VOICE, NOISE, rng) is not VOICE for _ in range(400))
    assert 160 < changed < 240


def test_each_augmentation_has_equal_probability() -> None:
    kinds: Counter[str] = Counter()
    rng = np.random.default_rng(3)
    for _ in range(400):
        out = augment_faces(FACES, rng)
        if out is FACES:
            kinds["none"] += 1
        elif (out == FACES[:, :, ::-1]).all():
            kinds["flip"] += 1
        else:
            kinds["turn" if (out == 0).any() else "crop"] += 1
    assert set(kinds) == {"none", "flip", "crop", "turn"}
    assert all(60 < count < 140 for count in kinds.values())


def test_augmentation_is_reproducible() -> None:
    for seed in range(8):
        one, two = (augment_faces(FACES, np.random.default_rng(seed)) for _ in range(2))
        assert (one == two).all()


def test_crop_and_rotate() -> None:
    ramp = np.tile(np.arange(0, 224, 2, dtype=np.uint8), (2, 112, 1))
    part = crop(ramp, 10, 28, 84)
    assert part.shape == (2, 112, 112)
    assert abs(int(part[0, 56, 0]) - 56) <= 1 and abs(int(part[0, 56, 111]) - 222) <= 1
    dot = np.zeros((1, 112, 112), np.uint8)
    dot[0, 54:59, 94:99] = 255  # right of the centre: an anticlockwise rotation moves it up
    rows, columns = np.nonzero(rotate(dot, 15.0)[0] > 128)
    assert rows.mean() == pytest.approx(56 - 40.5 * np.sin(np.radians(15)), abs=1)
    assert columns.mean() == pytest.approx(56 + 40.5 * np.cos(np.radians(15)), abs=1)
    colour = np.stack([ramp] * 3, axis=-1)
    assert (crop(colour, 10, 28, 84)[..., 0] == part).all()


def test_range_of_shifts() -> None:
    long = np.arange(64000).astype(np.uint16).view(np.int16)  # every sample holds its index
    rng = np.random.default_rng(0)
    shifts = []
    for _ in range(50):
        moved = shift_audio(long, rng)
        first = int(moved.view(np.uint16)[0])
        assert (moved == np.roll(long, -first)).all()
        shifts.append(min(first, 64000 - first))
    assert min(shifts) >= 4800 and max(shifts) <= 32000
    assert can_shift(np.zeros(9600, np.int16)) and not can_shift(np.zeros(9599, np.int16))
