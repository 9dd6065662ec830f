"""The features of a clip equal those of ASC's published loader."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.parity.references import reference
from utils.features.asc_mfcc import asc_mfcc, num_steps
from utils.tracking.contexts import rows_around

PARITY = reference("asc_mfcc")


def slice_as_clip(
    wave: NDArray[np.int16], length: int
) -> tuple[NDArray[np.int16], NDArray[np.float64], NDArray[np.int64]]:
    """Return a track of two rows, one at either end of a slice of sound."""
    rows = np.array([[0] * (length - 1) + [1]])
    return wave, np.array([0, len(wave) / 16000]), rows


@pytest.mark.parametrize("case", "abcdef")
def test_fitting(case: str) -> None:
    wave, length = PARITY[f"fit.{case}.wave"], int(PARITY[f"fit.{case}.clip_length"])
    found = asc_mfcc(*slice_as_clip(wave, length))
    np.testing.assert_allclose(found[0], PARITY[f"fit.{case}.mfcc"], atol=1e-3)


def track(wave: NDArray[np.int16], num_rows: int, middles: list[int]) -> NDArray[np.float32]:
    """Clips of the reference's track.

    Its loader lost a sample where a difference of times came out just below a whole number.
    """
    texts = PARITY["track.timestamps"][:num_rows].astype(np.float64)
    times = np.trunc((texts - texts[0]) * 16000) / 16000
    return asc_mfcc(wave, times, rows_around(num_rows, np.array(middles), 11, 5))


def test_clips_of_a_track() -> None:
    middles = [0, 3, 20, 39]
    found = track(PARITY["track.wave"], 40, middles)
    for clip, middle in zip(found, middles, strict=True):
        np.testing.assert_allclose(clip, PARITY[f"track.mid{middle}.mfcc"], atol=1e-3)


def test_too_little_sound_is_silence() -> None:
    for wave, num_rows, case in (
        (PARITY["track.wave"], 2, "short"),
        (np.empty(0, np.int16), 40, "missing"),
        (np.zeros(32000, np.int16), 40, "missing"),
    ):
        found = track(wave, num_rows, [0])
        np.testing.assert_allclose(found[0], PARITY[f"track.{case}.mfcc"], atol=1e-3)
    assert PARITY["silence.mfcc"].shape[2] == num_steps(11)
    np.testing.assert_allclose(found[0], PARITY["silence.mfcc"], atol=1e-3)


def test_number_of_steps() -> None:
    published = {1: 3, 3: 10, 5: 18, 7: 25, 9: 32, 11: 40, 13: 47, 15: 55, 17: 62, 19: 69, 21: 77}
    assert {length: num_steps(length) for length in published} == published


def test_many_clips_are_as_one_by_one_and_sound_elsewhere_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    wave = rng.normal(0, 1000, 100 * 640).astype(np.int16)
    rows = rows_around(100, np.arange(100), 11, 5)
    whole = asc_mfcc(wave, np.arange(100) / 25, rows)
    assert whole.shape == (100, 1, 13, 40) and whole.dtype == np.float32
    for clip in (0, 7, 50, 99):
        alone = asc_mfcc(wave, np.arange(100) / 25, rows[clip : clip + 1])
        np.testing.assert_allclose(alone[0], whole[clip], atol=1e-5)
    start = 29  # times of which 1/25 has no exact number
    part = asc_mfcc(wave[start * 640 :], np.arange(71) / 25, rows[start + 5 : 95] - start)
    np.testing.assert_allclose(part, whole[start + 5 : 95], atol=1e-5)
