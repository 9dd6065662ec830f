"""Checkpoints of training: a run resumes exactly from the last one, the demo reads any of them.

A run's folder holds `model/last.model` (weights, and all that is needed to go on),
`model/best.model` (weights) and, if asked for, `model/model_0001.model` ... as published. Each is
a dict whose `state_dict` has the network's own names and whose `variant` has the arguments of its
constructor; it is read with `weights_only=True`.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.contract import Model
from utils.errors import UserError
from utils.files import replacing

FORMAT = 2
Settings = Mapping[str, str | int | float | bool]


def last_path(folder: Path) -> Path:
    """Return where a run keeps what it resumes from."""
    return folder / "model" / "last.model"


def best_path(folder: Path) -> Path:
    """Return where a run keeps the weights with the highest average precision."""
    return folder / "model" / "best.model"


def epoch_path(folder: Path, epoch: int) -> Path:
    """Return where a run keeps the weights of one epoch."""
    return folder / "model" / f"model_{epoch:04d}.model"


def save(path: Path, network: nn.Module, training: Mapping[str, Any]) -> None:
    """Write a checkpoint; an earlier one stays until the new one is complete.

    Args:
        path: The file.
        network: Its weights are kept as float tensors on the CPU.
        training: Anything else, of numbers, text, lists, dicts and tensors.
    """
    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    name = type(network).__module__.rpartition(".")[2]
    whole = {
        "format": FORMAT,
        "network": name,
        "variant": dict(network.variant) if isinstance(network, Model) else {},
        "state_dict": state,
        "training": training,
    }
    write(path, whole)


def write(path: Path, contents: Any) -> None:  # noqa: ANN401 - whatever torch.save takes
    """Write a file with torch.save; it is whole and on disk when this returns."""
    with replacing(path) as temporary:
        torch.save(contents, temporary)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint that `save` wrote, all of it.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: It is not one, or not whole; says which file.
    """
    whole = read(path)
    if not isinstance(whole, dict) or whole.get("format") != FORMAT or "training" not in whole:
        raise UserError(
            f"expected a checkpoint of training in {path}, found weights alone; start from them "
            "with --pretrainModel and another --savePath"
        )
    return whole


def read(path: Path) -> dict[str, Any]:
    """Read what a run wrote, whatever it is made of.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: It is damaged or another file; says which.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected a checkpoint of training, found no file {path}")
    try:
        whole: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, LookupError) as error:
        raise UserError(
            f"expected a checkpoint of training in {path}, found a damaged or another file; "
            "move it away to begin anew, or choose another --savePath"
        ) from error
    return whole


def write_halves(state: Mapping[str, Tensor], path: Path) -> None:
    """Write weights in half precision to a safetensors file, as the project ships them."""
    from safetensors.torch import save_file

    halves = {
        name: tensor.detach().contiguous().half() if tensor.dtype.is_floating_point else tensor
        for name, tensor in state.items()
    }
    with replacing(path) as temporary:
        save_file(halves, temporary)


def check_settings(path: Path, saved: Settings, now: Settings) -> None:
    """Refuse to go on with other settings than a run began with; name the first that differs.

    A switch that one of both does not have counts as off.

    Raises:
        UserError: They differ.
    """
    for name in dict.fromkeys((*saved, *now)):
        was, found = saved.get(name, False), now.get(name, False)
        if was != found:
            raise UserError(
                f"{path} was trained with {name} {was!r}, found {found!r}; "
                "resume with the same, or begin anew with another --savePath"
            )
