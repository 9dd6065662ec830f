"""SALSA-Lite equals the reference, and its phases are path differences."""

import numpy as np

from tests.made_array import reference_chunk
from tests.parity.references import reference
from utils.features.salsa_lite import SPEED_OF_SOUND, salsa_lite

REFERENCE = reference("tragic_salsa_lite")
TURNS = 2 * np.pi / (np.maximum(np.arange(64), 1) * 1.71738)  # of the phase channels, by bin


def test_equals_the_reference() -> None:
    found = salsa_lite(reference_chunk(REFERENCE["delays"]))
    assert found.shape == (16, 960, 64)
    apart = found[:, REFERENCE["frames"]] - REFERENCE["salsa"]
    assert np.abs(apart[0]).max() <= 1e-3
    around = (apart[1:] + TURNS / 2) % TURNS - TURNS / 2
    assert np.abs(around).max() <= 1e-3
    whole = found.astype(np.float64)
    for name, values in (("mean", whole.mean(axis=1)), ("std", whole.std(axis=1))):
        expected = REFERENCE[f"{name}_over_time"]
        np.testing.assert_allclose(values[0], expected[0], atol=1e-3)
        np.testing.assert_allclose(values[1:], expected[1:], atol=1e-2)


def test_phases_are_path_differences() -> None:
    generator = np.random.default_rng(0)
    source = generator.normal(size=4900)
    chunk = np.stack([source[50 - d : 50 - d + 4800] for d in (0, 2)], axis=1)
    found = salsa_lite(chunk)[1, 5:-5, 8:64]  # no phase wraps
    path = 2 / 48000 * SPEED_OF_SOUND
    np.testing.assert_allclose(np.median(found, axis=0), -path, rtol=0.2)
