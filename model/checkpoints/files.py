"""Read the tensors of weights files in the formats of PyTorch, safetensors and Keras."""

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.checkpoints.keras import is_keras, read_keras
from model.checkpoints.registry import RawWeights
from model.contract import WeightsFile
from utils.errors import UserError


@dataclass(frozen=True, eq=False)
class Weights:
    """The tensors of a weights file, and its network if stated.

    Only checkpoints of this project state their network and its variant.
    """

    file: WeightsFile
    state: dict[str, Tensor]
    by_keras: bool = False
    network: str | None = None
    variant: Mapping[str, Any] | None = None  # arguments of the network's constructor

    def variant_for(self, network: str) -> Mapping[str, Any] | None:
        """Return the stated variant if the file belongs to that network."""
        return self.variant if self.network == network else None


def read_weights(raw: RawWeights) -> Weights:
    """Read the tensors of a weights file; nothing in the file is executed.

    Half precision in safetensors files is converted to float32.

    Raises:
        UserError: It is not a weights file or incomplete.
    """
    path, content = raw.file.path, raw.content
    if path.suffix == ".safetensors":
        return Weights(raw.file, _read_safetensors(path, content))
    if is_keras(content):
        return Weights(raw.file, read_keras(path, content), by_keras=True)
    whole = _read_pytorch(path, content)
    header: Mapping[str, Any] = {}
    state = whole
    if isinstance(whole, Mapping) and isinstance(whole.get("state_dict"), Mapping):
        header, state = whole, whole["state_dict"]
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise UserError(f"expected names and tensors in {path}, found {type(state).__name__}")
    return Weights(
        raw.file, dict(state), network=header.get("network"), variant=header.get("variant")
    )


def _read_pytorch(path: Path, content: bytes) -> object:
    head = content[:512].lstrip()
    if not head.startswith((b"PK\x03\x04", b"\x80\x02")):
        kind = "a web page" if head.lower().startswith((b"<!doctype", b"<html")) else "another file"
        kind = kind if head else "an empty file"
        raise UserError(f"expected a PyTorch weights file, {path} is {kind}; download it again")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"expected only tensors in {path}, found other objects or a damaged file; no code in "
            "it was executed; download it again from a source you trust"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path} is incomplete or damaged; download it again") from error


def load_bundled(network: nn.Module, raw: RawWeights, name: str) -> None:
    """Load weights that come with the project into a network of that name.

    Raises:
        UserError: They are not this network's; says which file and what is wrong.
    """
    try:
        network.load_state_dict(read_weights(raw).state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"expected weights of {name} in {raw.file.path}, found others: {reason}; "
            "restore the file of the repository"
        ) from error


def _read_safetensors(path: Path, content: bytes) -> dict[str, Tensor]:
    import safetensors.torch

    try:
        state = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file or is incomplete ({error})") from error
    return {
        name: tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
        for name, tensor in state.items()
    }
