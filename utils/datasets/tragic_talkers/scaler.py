"""Scaling of array features: mean and standard deviation of each channel and bin."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError
from utils.features.array_log_mel import array_log_mel
from utils.features.gcc_phat import gcc_phat
from utils.features.salsa_lite import salsa_lite
from utils.files import replacing

FEATURES = {"gcc_phat": gcc_phat, "salsa_lite": salsa_lite, "array_log_mel": array_log_mel}
LEVEL_DB = 5.0  # the absolute mean of channels in dB is above this, of other channels below
FILE = "feature_scaler.h5"


@dataclass(frozen=True, eq=False)
class Scaler:
    """Mean and standard deviation over all chunks and rows, (M, 1, 64) each."""

    feature: str  # the scaled feature
    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.mean.shape != self.std.shape or self.mean.ndim != 3 or self.mean.shape[1] != 1:
            raise UserError(
                f"expected a scaler of (M, 1, 64), found {self.mean.shape} and {self.std.shape}"
            )
        if not (self.std > 0).all() or not np.isfinite(self.mean).all():
            channel, _, band = np.argwhere(~(self.std > 0) | ~np.isfinite(self.mean))[0]
            raise UserError(
                f"expected features that vary, found channel {channel} constant in bin {band}; "
                "check for silent microphones"
            )

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return scaled features (..., M, L, 64)."""
        if features.shape[-3] != len(self.mean):
            raise UserError(
                f"expected features of {len(self.mean)} channels as in the scaler, found "
                f"{features.shape[-3]}"
            )
        return np.asarray((features - self.mean) / self.std, np.float32)


def check_feature(feature: str) -> None:
    """Raise UserError unless the array feature exists."""
    if feature not in FEATURES:
        raise UserError(f"expected a feature of {', '.join(FEATURES)}, got {feature!r}")


def fit(feature: str, weighted: Iterable[tuple[NDArray[np.floating], int]]) -> Scaler:
    """Return the scaler of features; one array is held at a time.

    Args:
        feature: Name of the feature.
        weighted: Pairs of features (M, L, 64) and their weight.
    """
    total = 0
    mean = squares = np.zeros(())
    for array, weight in weighted:
        values = array.astype(np.float64)
        centre = values.mean(axis=1)
        spread = weight * ((values - centre[:, None]) ** 2).sum(axis=1)
        count = weight * values.shape[1]
        delta = centre - mean
        squares = squares + spread + delta**2 * (total * count / (total + count))
        mean = mean + delta * (count / (total + count))
        total += count
    if not total:
        raise UserError("expected features to fit a scaler, got none")
    std = np.sqrt(squares / total)
    return Scaler(feature, mean[:, None].astype(np.float32), std[:, None].astype(np.float32))


def write_scaler(scaler: Scaler, path: Path) -> None:
    """Write a scaler as published, HDF5 with `mean` and `std`, and the name of the feature."""
    import h5py

    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file["mean"], file["std"] = scaler.mean, scaler.std
        file.attrs["feature"] = scaler.feature


def read_scaler(path: Path, feature: str = "") -> Scaler:
    """Read a scaler and check its feature, unless the name is empty.

    Raises:
        FileNotFoundError: The file is missing.
        UserError: The file is not a scaler, or that of another feature.
    """
    import h5py

    if not path.is_file():
        raise FileNotFoundError(
            f"expected a scaler, found no file {path}; it is created with the training features "
            f"({feature or 'of any kind'}) of a network, keep it beside the weights"
        )
    try:
        with h5py.File(path, "r") as file:
            mean, std = (np.asarray(file[name], np.float32) for name in ("mean", "std"))
            stored = str(file.attrs.get("feature", "")) or recognise(mean)
    except (OSError, KeyError) as error:
        raise UserError(f"{path}: expected a scaler with mean and std, found {error}") from None
    feature = feature or stored
    if stored != feature or feature not in FEATURES:
        raise UserError(
            f"{path}: expected a scaler of {feature}, found one of {stored}; use the scaler of "
            "this network's training features, or change --feature"
        )
    return Scaler(feature, mean, std)


def recognise(mean: NDArray[np.float32]) -> str:
    """Return the feature of a published scaler without a name, by the channels in dB."""
    levels = np.abs(mean).mean(axis=(1, 2)) > LEVEL_DB
    if levels.all():
        return "array_log_mel"
    if levels[0] and not levels[1:].any():
        return "salsa_lite"
    if levels[-1] and not levels[:-1].any():
        return "gcc_phat"
    return "an unknown feature"
