"""The scaler equals the reference; the feature of a scaler is checked."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.parity.fill import inputs
from tests.parity.references import reference
from utils.datasets.tragic_talkers.scaler import Scaler, fit, read_scaler, recognise, write_scaler

REFERENCE = reference("tragic_gcc_phat")
ARRAYS = [inputs(f"scaler{number}", (16, 24, 64), -2, 3) for number in range(3)]


def scaler_of(feature: str) -> Scaler:
    """Return a scaler with means typical of a feature."""
    mean = np.full((16, 1, 64), 0.01, np.float32)
    channels = {"gcc_phat": [15], "salsa_lite": [0], "array_log_mel": list(range(16))}[feature]
    mean[channels] = -60
    return Scaler(feature, mean, np.ones_like(mean))


def test_reference() -> None:
    found = fit("gcc_phat", [(array, 1) for array in ARRAYS])
    np.testing.assert_allclose(found.mean, REFERENCE["scaler_mean"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(found.std, REFERENCE["scaler_std"], atol=1e-5, rtol=0)
    scaled = np.concatenate([found(array) for array in ARRAYS], axis=1)
    np.testing.assert_allclose(scaled.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=1), 1, atol=1e-5)


def test_weights_are_repetitions() -> None:
    weighted = fit("gcc_phat", [(ARRAYS[0], 3), (ARRAYS[1], 1)])
    repeated = fit("gcc_phat", [(array, 1) for array in (*[ARRAYS[0]] * 3, ARRAYS[1])])
    np.testing.assert_allclose(weighted.mean, repeated.mean, atol=1e-6)
    np.testing.assert_allclose(weighted.std, repeated.std, atol=1e-6)


@pytest.mark.parametrize("feature", ["gcc_phat", "salsa_lite", "array_log_mel"])
@pytest.mark.parametrize("published", [False, True], ids=["named", "published"])
def test_scaler_of_another_feature(tmp_path: Path, feature: str, published: bool) -> None:
    path = tmp_path / "feature_scaler.h5"
    scaler = scaler_of(feature)
    write_scaler(scaler, path)
    if published:
        with h5py.File(path, "r+") as file:
            del file.attrs["feature"]
    found = read_scaler(path, feature)
    np.testing.assert_array_equal(found.mean, scaler.mean)
    np.testing.assert_array_equal(found.std, scaler.std)
    other = "salsa_lite" if feature != "salsa_lite" else "gcc_phat"
    with pytest.raises(ValueError, match=f"scaler of {other}, found one of {feature}"):
        read_scaler(path, other)
    assert recognise(scaler.mean) == feature


def test_invalid_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected a scaler, found no file .*gone\.h5"):
        read_scaler(tmp_path / "gone.h5", "gcc_phat")
    path = tmp_path / "a.h5"
    path.write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match=r"a\.h5: expected a scaler"):
        read_scaler(path, "gcc_phat")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["mean"] = np.zeros((16, 1, 64))
    with pytest.raises(ValueError, match=r"b\.h5: expected a scaler with mean and std"):
        read_scaler(tmp_path / "b.h5", "gcc_phat")


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ([np.zeros((16, 4, 64))], "channel 0 constant in bin 0"),
        ([], "features to fit a scaler"),
    ],
    ids=["silence", "nothing"],
)
def test_constant_features(arrays: list[NDArray[np.float64]], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        fit("gcc_phat", [(array, 1) for array in arrays])


def test_other_number_of_channels() -> None:
    with pytest.raises(ValueError, match="16 channels as in the scaler, found 4"):
        scaler_of("gcc_phat")(np.zeros((4, 960, 64)))
