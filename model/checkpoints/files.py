"""Read the tensors of weights files."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.checkpoints.keras import is_keras, load_keras_state
from utils.errors import UserError


def load_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint; nothing in the file is ever executed.

    It may be PyTorch's, Keras' or safetensors. Half precision, in which weights may be stored,
    becomes float32.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: It is no checkpoint, or not a whole one.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected a weights file, found no file {path}")
    with path.open("rb") as file:
        head = file.read(512).lstrip()
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    if is_keras(path):
        return load_keras_state(path)
    if not head.startswith((b"PK\x03\x04", b"\x80\x02")):
        kind = "a web page" if head.lower().startswith((b"<!doctype", b"<html")) else "another file"
        kind = kind if head else "an empty file"
        raise UserError(f"expected a PyTorch weights file, {path} is {kind}; download it again")
    state = _load(path)
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise UserError(f"expected names and tensors in {path}, found {type(state).__name__}")
    return dict(state)


def load_variant(path: Path, network: str) -> dict[str, Any] | None:
    """Return the variant that a checkpoint of this project's training notes of that network."""
    if path.suffix == ".safetensors" or is_keras(path):
        return None
    whole = _load(path)
    if not isinstance(whole, Mapping) or whole.get("network") != network:
        return None
    return dict(whole["variant"]) if "variant" in whole else None


def _load(path: Path) -> object:
    """Return what a PyTorch file holds."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"expected tensors alone in {path}, found other objects or a broken file; "
            "nothing of it was run; download it again from a place you trust"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path} is cut short or damaged; download it again") from error


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no safetensors file or is cut short ({error})") from error
    return {
        name: tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
        for name, tensor in state.items()
    }
