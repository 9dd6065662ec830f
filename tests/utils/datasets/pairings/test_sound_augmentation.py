"""Made noises have the power they should; changed sounds stay what and where they were."""

import numpy as np
import pytest

from utils.datasets.pairings.sound_augmentation import (
    gain,
    limit_band,
    music,
    noise,
    record,
    reverberate,
)

RATE = 16000


def voice() -> np.ndarray:
    times = np.arange(2 * RATE) / RATE
    loud = (times % 0.5) < 0.3
    return (np.sin(2 * np.pi * 300 * times) * loud * 2).astype(np.float32)


@pytest.mark.parametrize("seed", range(8))
def test_noise_has_power_one(seed: int) -> None:
    made = noise(RATE, np.random.default_rng(seed))
    assert made.shape == (RATE,)
    assert np.mean(np.square(made)) == pytest.approx(1, rel=1e-3)


def test_music_changes_from_beat_to_beat() -> None:
    made = music(4 * RATE, np.random.default_rng(0))
    powers = np.square(made).reshape(-1, RATE // 10).mean(axis=1)
    assert powers.max() > 3 * np.median(powers)


@pytest.mark.parametrize("seed", range(6))
def test_a_room_fills_the_gaps_and_lets_the_voice_through(seed: int) -> None:
    hiss = np.random.default_rng(9).standard_normal(2 * RATE).astype(np.float32)
    own = hiss * (np.abs(voice()) > 0)
    heard = reverberate(own, np.random.default_rng(seed))
    gap = slice(int(0.301 * RATE), int(0.33 * RATE))
    assert np.abs(own[gap]).max() == 0
    assert 0.02 < np.abs(heard[gap]).mean() < 0.8
    assert np.corrcoef(heard, own)[0, 1] > 0.65


def test_the_band_is_limited() -> None:
    hiss = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(limit_band(hiss, np.random.default_rng(2))))
    assert spectrum[7600:].mean() < 0.02 * spectrum[1000:2500].mean()


@pytest.mark.parametrize("seed", range(6))
def test_a_recording_is_neither_lost_nor_moved(seed: int) -> None:
    recorded = record(voice(), np.random.default_rng(seed))
    assert recorded.dtype == np.int16
    level = 20 * np.log10(np.sqrt(np.mean(np.square(recorded / 32768.0))))
    assert -50 < level < -3
    envelope, own = (np.abs(x.astype(float)).reshape(-1, 160).mean(1) for x in (recorded, voice()))
    centred = envelope - envelope.mean(), own - own.mean()
    lag = int(np.correlate(*centred, "full").argmax()) - (len(own) - 1)
    assert abs(lag) <= 5  # 10 ms each


def test_gain() -> None:
    assert gain(-20) == pytest.approx(0.1)
