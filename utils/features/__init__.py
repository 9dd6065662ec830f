"""Audio features: waveform slice to (steps, features), one file per feature."""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray


def feature_module(name: str) -> ModuleType:
    """Return the module of a feature."""
    return import_module(f"utils.features.{name}")


def feature_function(name: str) -> Callable[..., NDArray[np.float32]]:
    """Return the function that computes a feature; it has the name of its module."""
    function: Any = getattr(feature_module(name), name)
    return function  # type: ignore[no-any-return]
