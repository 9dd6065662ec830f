"""Log-mel spectra of all microphones equal the reference."""

import numpy as np

from tests.made_array import reference_chunk
from tests.parity.references import reference
from utils.arrays.spectra import kept_frames, mel_filters
from utils.features.array_log_mel import array_log_mel

REFERENCE = reference("tragic_gcc_phat")


def test_equals_the_reference() -> None:
    found = array_log_mel(reference_chunk(REFERENCE["delays"]))
    expected = REFERENCE["logmel"]
    frames = REFERENCE["frames"][::4]
    assert found.shape == (16, 960, 64)
    assert expected.shape == (16, len(frames), 64)
    np.testing.assert_allclose(found[:, frames], expected, atol=1e-3, rtol=0)
    mean = found.mean(axis=1, dtype=np.float64)
    np.testing.assert_allclose(mean, REFERENCE["logmel_mean_over_time"], atol=1e-3)


def test_frame_481_is_left_out() -> None:
    np.testing.assert_array_equal(kept_frames(960), REFERENCE["interp_index"])
    assert 481 not in kept_frames(960)


def test_no_mel_filter_is_empty() -> None:
    assert (mel_filters().sum(axis=0) > 0).all()
