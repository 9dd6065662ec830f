"""Speech is distinguished from music, noise and silence."""

import numpy as np
import pytest

from tests.made_sound import Samples, music, speech
from utils.media.audio_streams.voicing import RATE, PitchSteps, measure_pitch

NOISE = np.random.default_rng(0).normal(0, 0.1, 8 * RATE)
TIME_S = np.arange(8 * RATE) / RATE


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (speech(8, RATE), True),
        (speech(8, RATE, level=0.01), True),
        (speech(8, RATE) + 0.3 * NOISE, True),
        (speech(8, RATE) + music(8, RATE, 0.1), True),
        (np.concatenate([np.zeros(40 * RATE), speech(4, RATE)]), True),
        (music(8, RATE), False),
        (NOISE, False),
        (NOISE * (np.sin(2 * np.pi * 4 * TIME_S) > 0), False),
        (0.1 * np.sin(2 * np.pi * 100 * TIME_S), False),
        (np.zeros(8 * RATE), False),
        (speech(8, RATE, level=0.0001), False),
        (speech(0.3, RATE), False),
        (np.zeros(10), False),
    ],
    ids=[
        "speech",
        "soft speech",
        "speech in noise",
        "speech over music",
        "a little speech",
        "music",
        "noise",
        "bursts of noise",
        "hum",
        "silence",
        "inaudible",
        "too short",
        "hardly a sample",
    ],
)
def test_what_is_speech(samples: Samples, expected: bool) -> None:
    assert measure_pitch(samples.astype(np.float32)).hold_speech is expected


def test_levels() -> None:
    found = measure_pitch((0.1 * np.sin(2 * np.pi * 100 * TIME_S)).astype(np.float32))
    assert len(found.levels) == 796
    np.testing.assert_allclose(found.levels, -23.01, atol=0.05)
    assert found.loud.all()
    assert not found.moving.any()


def test_no_steps() -> None:
    none = PitchSteps(np.zeros(0, np.float32), np.zeros(0, np.bool_))
    assert none.loud.tolist() == []
    assert not none.hold_speech
