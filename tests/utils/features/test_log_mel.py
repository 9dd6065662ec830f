"""Log-mel spectra equal the published ones, whole or in parts, at every frame rate."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.parity.references import reference
from utils.features.log_mel import CHUNK, log_mel, num_rows
from utils.features.mfcc import align


@pytest.fixture(scope="module")
def parity() -> dict[str, NDArray[np.float32]]:
    return reference("log_mel")


@pytest.mark.parametrize(
    ("key", "fps", "num_frames"),
    [
        ("fps25_frames50", 25, 50),
        ("fps25_frames30", 25.0, 30),
        ("fps25_frames53_wrap", 25, 53),
        ("fps24_frames48", Fraction(24), 48),
        ("fps30_frames60", 30, 60),
        ("fps23p976_frames48", Fraction(24000, 1001), 48),
        ("fps23p976_frames48", 23.976, 48),
    ],
)
def test_published_values(
    parity: dict[str, NDArray[np.float32]], key: str, fps: float | Fraction, num_frames: int
) -> None:
    waveform = parity["waveform"].astype(np.int16)
    found = align(log_mel(waveform, fps), num_frames)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, parity[f"logmel_{key}"], rtol=0, atol=1e-3)


def test_silence_is_the_floor() -> None:
    np.testing.assert_allclose(log_mel(np.zeros(800, np.int16)), np.log(0.01), rtol=1e-6)


def test_a_tone_stands_in_its_band_at_any_length_of_window() -> None:
    """The 34th band has its middle at 2043 Hz, whichever length the FFT has."""
    time = np.arange(16000) / 16000
    tone = (8000 * np.sin(2 * np.pi * 2043 * time)).astype(np.int16)
    for fps in (25, 60, 15, 5):
        assert set(log_mel(tone, fps).argmax(axis=1)) == {33}


def made_sound(num_samples: int) -> NDArray[np.int16]:
    return np.random.default_rng(5).normal(0, 3000, num_samples).astype(np.int16)


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 1), (1, 2), (0, 400), (499, 1501), (1300, None), (1490, 4000), (4000, None), (7, 7)],
    ids=str,
)
@pytest.mark.parametrize("fps", [25, 30], ids=str)
def test_rows_of_the_whole(start: int, stop: int | None, fps: int) -> None:
    waveform = made_sound(16000 * 15 + 77)
    whole = log_mel(waveform, fps)
    assert len(whole) == num_rows(len(waveform), fps) > 2 * CHUNK
    found = log_mel(waveform, fps, start, stop)
    np.testing.assert_allclose(found, whole[start:stop], rtol=0, atol=1e-6)
    assert len(found) == len(whole[start:stop])


def test_a_row_is_that_of_its_window() -> None:
    waveform = made_sound(16000)
    row = log_mel(waveform[160 * 33 : 160 * 33 + 400])
    np.testing.assert_allclose(row, log_mel(waveform)[33:34], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("num_samples", "rows"),
    [(0, 1), (1, 1), (400, 1), (559, 1), (560, 2), (16000, 98), (25 * 640, 98)],
    ids=str,
)
def test_num_rows(num_samples: int, rows: int) -> None:
    assert num_rows(num_samples) == rows
    assert log_mel(made_sound(num_samples)).shape == (rows, 64)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="fps must be a positive frame rate, got 0"):
        log_mel(made_sound(1000), 0)
    with pytest.raises(ValueError, match="start must be 0 or more, got -1"):
        log_mel(made_sound(1000), 25, -1)
