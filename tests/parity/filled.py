"""Networks filled with the weights that the reference outputs were made with."""

from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from model.contract import Model
from tests.parity.fill import fill

AnyNetwork = TypeVar("AnyNetwork", bound=Model)


def reference(name: str) -> dict[str, NDArray[np.float32]]:
    """Return the reference outputs of that name."""
    with np.load(Path(__file__).with_name(f"{name}.npz")) as arrays:
        return dict(arrays)


def published_name(network: Model, name: str) -> str:
    """Return the published name of a parameter or buffer."""
    ours = sorted(network.released_names.items(), key=lambda names: -len(names[1]))
    for published, own in ours:
        if name.startswith(own):
            return published + name.removeprefix(own)
    raise KeyError(name)


def filled(network: AnyNetwork) -> AnyNetwork:
    """Fill a network and put it into eval mode."""
    fill(network, rename=lambda name: published_name(network, name))
    return network.eval()
