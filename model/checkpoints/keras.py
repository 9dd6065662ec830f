"""Read Keras weights from HDF5 files of models or of weights.

Kernels are transposed to PyTorch's order: (.., in, out) to (out, in, ..). Weights are named after
their layer, with `.weight` and `.bias`; these are the published names of ava_asd.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from utils.errors import ResourceError, UserError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
ROLES = {"kernel": "weight", "bias": "bias"}  # Keras' name: PyTorch's name

# The layers with weights in each mode of ava_asd, in the order of a Keras file.
_STEPS = ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6")
_PAIRS = [f"s_av_{tower}_{step}" for step in _STEPS for tower in "av"]
_LAYERS = {
    "s_av": [
        *_PAIRS,
        *("s_av_a_fc7", "s_av_v_fc7", "s_av_fc1", "a_out", "v_out", "main_out"),
    ],
    "s_av_fc": [*_PAIRS, "a_out", "v_out", "main_out"],
    "s_a": [*(f"s_a_{step}" for step in (*_STEPS, "fc7")), "main_out"],
    "s_v": [*(f"s_v_{step}" for step in (*_STEPS, "fc7")), "main_out"],
}
MODES = tuple(_LAYERS)


def is_keras(content: bytes) -> bool:
    """Return whether the content of a file is HDF5."""
    return content.startswith(SIGNATURE)


def read_keras(path: Path, content: bytes) -> dict[str, Tensor]:
    """Return the weights of a Keras file in the file's order of layers.

    Args:
        path: The file, for messages.
        content: Its bytes; see `is_keras`.

    Raises:
        ResourceError: h5py is not installed.
        UserError: It has no Keras weights, or is incomplete.
    """
    try:
        import h5py
    except ImportError as error:
        raise ResourceError(f"{path} is a Keras file: install h5py to read it") from error
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            return dict(_read_layers(file.get("model_weights", file)))
    except (OSError, KeyError, RuntimeError) as error:
        raise UserError(
            f"{path} is incomplete or has no Keras weights ({error}); download it again"
        ) from error


def _read_layers(group: Any) -> list[tuple[str, Tensor]]:  # noqa: ANN401 - h5py has no types
    """Return all weights of a file; raise KeyError if its layout differs."""
    state = []
    for layer in map(_text, group.attrs["layer_names"]):
        for name in map(_text, group[layer].attrs["weight_names"]):
            role = name.rpartition("/")[2].partition(":")[0]
            if role not in ROLES:
                raise KeyError(f"layer {layer} has weights {role!r}, expected kernel and bias")
            array = np.asarray(group[layer][name], np.float32)
            state.append((f"{layer}.{ROLES[role]}", _transposed(array)))
    return state


def _text(name: str | bytes) -> str:
    """Return a name as text; older versions of Keras store bytes."""
    return name.decode() if isinstance(name, bytes) else str(name)


def _transposed(array: NDArray[np.float32]) -> Tensor:
    """Map a kernel (.., in, out) to (out, in, ..); a bias stays as it is."""
    if array.ndim > 1:
        array = array.transpose(-1, -2, *range(array.ndim - 2))
    return torch.from_numpy(np.ascontiguousarray(array))


def by_topology(state: Mapping[str, Tensor], mode: str) -> dict[str, Tensor]:
    """Return weights under the published names, matched by the order of layers.

    Args:
        state: What `read_keras` returned.
        mode: Mode of ava_asd that the file is for.

    Raises:
        UserError: The file has another number of layers.
    """
    found = list(dict.fromkeys(name.rpartition(".")[0] for name in state))
    expected = _LAYERS[mode]
    if len(found) != len(expected):
        raise UserError(
            f"expected the {len(expected)} layers with weights that ava_asd has in mode {mode}, "
            f"found {len(found)}: {', '.join(found)}"
        )
    names = dict(zip(found, expected, strict=True))
    return {
        f"{names[layer]}.{role}": tensor
        for name, tensor in state.items()
        for layer, _, role in [name.rpartition(".")]
    }


def shared_part(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that fit a network by name and shape, to initialise it.

    This is how Keras loads by layer name: modes `s_av` and `s_av_fc` share their convolutions.

    Args:
        state: Weights under the same names as `own`.
        own: The network's weights.
    """
    return {
        name: tensor
        for name, tensor in state.items()
        if name in own and own[name].shape == tensor.shape
    }
