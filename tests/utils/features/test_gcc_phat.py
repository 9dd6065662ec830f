"""GCC-PHAT equals the reference, finds delays, and has phase 0 in silence."""

import numpy as np
import pytest

from tests.made_array import reference_chunk
from tests.parity.references import reference
from utils.features.gcc_phat import ZERO_LAG, gcc_phat

REFERENCE = reference("tragic_gcc_phat")


def test_equals_the_reference() -> None:
    found = gcc_phat(reference_chunk(REFERENCE["delays"]))
    frames = REFERENCE["frames"]
    assert found.shape == (16, 960, 64)
    np.testing.assert_allclose(found[:15, frames], REFERENCE["gcc"][:15], atol=1e-6, rtol=0)
    np.testing.assert_allclose(found[15, frames], REFERENCE["gcc"][15], atol=1e-3, rtol=0)
    whole = found.astype(np.float64)
    np.testing.assert_allclose(whole[:15].mean(1), REFERENCE["mean_over_time"][:15], atol=1e-6)
    np.testing.assert_allclose(whole[15].mean(0), REFERENCE["mean_over_time"][15], atol=1e-3)
    np.testing.assert_allclose(whole[:15].std(1), REFERENCE["std_over_time"][:15], atol=1e-6)
    np.testing.assert_allclose(whole[15].std(0), REFERENCE["std_over_time"][15], atol=1e-3)


def test_silence_after_the_end_equals_the_reference() -> None:
    chunk = reference_chunk(REFERENCE["delays"])
    chunk[int(REFERENCE["short"]) :] = 0
    found = gcc_phat(chunk)
    expected = REFERENCE["short_gcc"]
    np.testing.assert_allclose(found[:15, REFERENCE["frames"]], expected[:15], atol=1e-6, rtol=0)
    np.testing.assert_allclose(found[15, REFERENCE["frames"]], expected[15], atol=1e-3, rtol=0)
    mean = found.mean(axis=1, dtype=np.float64)
    np.testing.assert_allclose(mean, REFERENCE["short_mean_over_time"], atol=1e-3)


def test_a_late_microphone_peaks_beyond_the_middle() -> None:
    delays = np.array([0, 5, -7, 0])
    source = np.random.default_rng(0).normal(size=4900)
    chunk = np.stack([source[50 - d : 50 - d + 4800] for d in delays], axis=1)
    found = gcc_phat(chunk)
    assert found.shape == (4, 48, 64)
    assert (found[:3, 5:-5].argmax(axis=2) == (ZERO_LAG + delays[1:])[:, None]).all()


def test_silence_is_in_step() -> None:
    found = gcc_phat(np.zeros((1600, 3)))
    expected = np.zeros((2, 16, 64))
    expected[..., ZERO_LAG] = 1
    np.testing.assert_allclose(found[:2], expected, atol=1e-6)
    np.testing.assert_allclose(found[2], -100)


def test_float32_is_close() -> None:
    chunk = reference_chunk(REFERENCE["delays"])[:9600]
    np.testing.assert_allclose(gcc_phat(chunk.astype(np.float32)), gcc_phat(chunk), atol=2e-4)


@pytest.mark.parametrize("num_samples", [0, 1599, 96001])
def test_a_broken_frame_is_an_error(num_samples: int) -> None:
    with pytest.raises(ValueError, match=f"whole frames of 1600 samples .* found {num_samples}"):
        gcc_phat(np.zeros((num_samples, 2)))
