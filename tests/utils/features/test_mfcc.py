"""MFCC in chunks equal python_speech_features on the whole audio, at every frame rate."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from python_speech_features import mfcc as library_mfcc

from tests.parity.references import reference
from utils.features.mfcc import CHUNK, align, mfcc, num_rows


@pytest.fixture(scope="module")
def parity() -> dict[str, NDArray[np.float32]]:
    return reference("mfcc")


@pytest.mark.parametrize(
    ("key", "fps"),
    [
        ("fps25", 25),
        ("default", 25.0),
        ("fps24", 24),
        ("fps30", 30),
        ("fps23p976", Fraction(24000, 1001)),
        ("fps23p976", 23.976),
        ("fps15", 15),
    ],
)
@pytest.mark.filterwarnings("error")  # the library warns of windows longer than its FFT
def test_mfcc_at_each_frame_rate(
    parity: dict[str, NDArray[np.float32]], key: str, fps: float | Fraction
) -> None:
    expected = parity[f"mfcc_{key}"]
    found = mfcc(parity["waveform"].astype(np.int16), fps)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
    assert num_rows(len(parity["waveform"]), fps) == len(expected)


def test_mfcc_of_short_and_silent_sound(parity: dict[str, NDArray[np.float32]]) -> None:
    short = parity["waveform"][:300].astype(np.int16)
    np.testing.assert_allclose(mfcc(short), parity["mfcc_short300"], rtol=0, atol=1e-3)
    silence = np.zeros(1600, np.int16)
    np.testing.assert_allclose(mfcc(silence), parity["mfcc_silence"], rtol=0, atol=1e-3)
    np.testing.assert_array_equal(mfcc(silence[:0]), mfcc(silence[:1]))


def made_sound(num_samples: int) -> NDArray[np.int16]:
    return np.random.default_rng(5).normal(0, 3000, num_samples).astype(np.int16)


@pytest.mark.parametrize("fps", [25, 30, 15], ids=str)
@pytest.mark.parametrize("extra", [0, 1, 111, 159], ids=lambda extra: f"{extra} samples more")
def test_chunks_equal_the_whole(fps: int, extra: int) -> None:
    waveform = made_sound(16000 * 27 + extra)  # three chunks
    whole = library_mfcc(waveform, winlen=0.025 * 25 / fps, winstep=0.010 * 25 / fps)
    assert len(whole) > CHUNK
    np.testing.assert_allclose(mfcc(waveform, fps), whole, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 1), (1, 2), (0, 400), (999, 1001), (1300, None), (1490, 4000), (4000, None), (7, 7)],
    ids=str,
)
def test_rows_of_the_whole(start: int, stop: int | None) -> None:
    waveform = made_sound(16000 * 15 + 77)
    np.testing.assert_array_equal(mfcc(waveform, 25, start, stop), mfcc(waveform)[start:stop])


@pytest.mark.parametrize(
    ("num_samples", "rows"),
    [(0, 1), (1, 1), (400, 1), (401, 2), (560, 2), (561, 3), (16000, 99), (25 * 640, 99)],
    ids=str,
)
def test_num_rows(num_samples: int, rows: int) -> None:
    assert num_rows(num_samples) == rows


@pytest.mark.parametrize("num_frames", [40, 48, 50, 53])
def test_align(parity: dict[str, NDArray[np.float32]], num_frames: int) -> None:
    aligned = align(mfcc(parity["waveform"].astype(np.int16)), num_frames)
    assert aligned.shape == (4 * num_frames, 13)
    key = f"aligned_fps25_frames{num_frames}"
    np.testing.assert_allclose(aligned[-12:], parity[f"{key}_tail"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(aligned.sum(dtype=np.float64), parity[f"{key}_sum"][0], rtol=1e-5)


def test_align_starts_again_more_than_once() -> None:
    rows = np.arange(3, dtype=np.float32)[:, None]
    assert align(rows, 2)[:, 0].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="fps must be a positive frame rate, got 0"):
        mfcc(made_sound(1000), 0)
    with pytest.raises(ValueError, match="start must be 0 or more, got -1"):
        mfcc(made_sound(1000), 25, -1)
    with pytest.raises(ValueError, match="at least one row"):
        align(np.empty((0, 13), np.float32), 3)
