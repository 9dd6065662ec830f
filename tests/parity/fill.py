"""Deterministic weights: the same numbers for the same parameter name, on any machine.

A network's published implementation and this project's own one, filled by `fill`, must give the
same outputs; the reference outputs lie beside this file.
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray


def generator(name: str, salt: str = "dev") -> np.random.Generator:
    """Return NumPy's PCG64 generator seeded from `salt` and `name`."""
    digest = hashlib.sha256(f"{salt}:{name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little")))


def array(name: str, shape: Sequence[int], salt: str = "dev") -> NDArray[np.float32]:
    """Return the values of the parameter or buffer `name`, int64 for a counter."""
    shape = tuple(shape)
    rng = generator(name, salt)
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.float32)
    if leaf == "running_var":
        return np.asarray(rng.uniform(0.5, 1.5, shape), np.float32)
    noise = rng.standard_normal(shape)
    if len(shape) >= 2:
        return np.asarray(noise * np.sqrt(1.5 / int(np.prod(shape[1:]))), np.float32)
    if leaf == "weight":
        return np.asarray(1.0 + 0.1 * noise, np.float32)
    return np.asarray(0.1 * noise, np.float32)


def fill(
    module: torch.nn.Module, salt: str = "dev", rename: Callable[[str], str] = lambda name: name
) -> None:
    """Fill every parameter and buffer of `module` in place.

    `rename` maps this module's state_dict name to the published one, where they differ.
    """
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            tensor.copy_(torch.from_numpy(array(rename(name), tensor.shape, salt)))


def inputs(
    name: str, shape: Sequence[int], low: float = 0.0, high: float = 1.0, salt: str = "dev"
) -> NDArray[np.float32]:
    """Return a uniform input in [low, high) for the input called `name`."""
    rng = generator(f"input:{name}", salt)
    return np.asarray(rng.uniform(low, high, tuple(shape)), np.float32)
