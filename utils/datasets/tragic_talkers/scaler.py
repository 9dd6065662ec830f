"""What an array's features are scaled by: mean and deviation of each channel and bin."""

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
LEVEL_DB = 5.0  # channels that hold dB lie further from 0 than this in the mean, others nearer
FILE = "feature_scaler.h5"


@dataclass(frozen=True, eq=False)
class Scaler:
    """Mean and standard deviation over all chunks and rows, (M, 1, 64) each."""

    feature: str  # that they were measured of
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
                f"expected features that vary, found channel {channel} constant in bin {band}; is "
                "a microphone silent?"
            )

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return features (..., M, L, 64) scaled."""
        if features.shape[-3] != len(self.mean):
            raise UserError(
                f"expected features of {len(self.mean)} channels as the scaler, found "
                f"{features.shape[-3]}"
            )
        return np.asarray((features - self.mean) / self.std, np.float32)


def check_feature(feature: str) -> None:
    """Raise UserError unless there is an array feature of that name."""
    if feature not in FEATURES:
        raise UserError(f"expected a feature of {', '.join(FEATURES)}, got {feature!r}")


def fit(feature: str, weighted: Iterable[tuple[NDArray[np.floating], int]]) -> Scaler:
    """Measure a scaler; one array of features is held at a time.

    Args:
        feature: What is measured.
        weighted: (features (M, L, 64), how often they count).
    """
    total = 0
    mean = squares = np.zeros(())
    for array, weight in weighted:
        values = array.astype(np.float64)
        centre = values.mean(axis=1)
        spread = weight * ((values - centre[:, None]) ** 2).sum(axis=1)
        count = weight * values.shape[1]
        apart = centre - mean
        squares = squares + spread + apart**2 * (total * count / (total + count))
        mean = mean + apart * (count / (total + count))
        total += count
    if not total:
        raise UserError("expected features to measure a scaler of, got none")
    std = np.sqrt(squares / total)
    return Scaler(feature, mean[:, None].astype(np.float32), std[:, None].astype(np.float32))


def write_scaler(scaler: Scaler, path: Path) -> None:
    """Write a scaler as published: HDF5 with `mean` and `std`; and which feature it is of."""
    import h5py

    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file["mean"], file["std"] = scaler.mean, scaler.std
        file.attrs["feature"] = scaler.feature


def read_scaler(path: Path, feature: str = "") -> Scaler:
    """Read a scaler and make sure that it belongs to a feature, any one for an empty name.

    Raises:
        FileNotFoundError: There is none.
        UserError: It is no scaler, or one of another feature.
    """
    import h5py

    if not path.is_file():
        raise FileNotFoundError(
            f"expected a scaler, found no file {path}; it is made with the features "
            f"({feature or 'of any kind'}) that a network is trained on, keep it beside its weights"
        )
    try:
        with h5py.File(path, "r") as file:
            mean, std = (np.asarray(file[name], np.float32) for name in ("mean", "std"))
            said = str(file.attrs.get("feature", "")) or recognise(mean)
    except (OSError, KeyError) as error:
        raise UserError(f"{path}: expected a scaler with mean and std, found {error}") from None
    feature = feature or said
    if said != feature or feature not in FEATURES:
        raise UserError(
            f"{path}: expected a scaler of {feature}, found one of {said}; use the scaler that was "
            "made with this network's features, or choose --feature"
        )
    return Scaler(feature, mean, std)


def recognise(mean: NDArray[np.float32]) -> str:
    """Return of which feature a published scaler, which does not say, is: by channels in dB."""
    levels = np.abs(mean).mean(axis=(1, 2)) > LEVEL_DB
    if levels.all():
        return "array_log_mel"
    if levels[0] and not levels[1:].any():
        return "salsa_lite"
    if levels[-1] and not levels[:-1].any():
        return "gcc_phat"
    return "an unknown feature"
