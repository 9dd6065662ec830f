"""Checkpoints of training: a run resumes exactly from the last one; the demo reads all of them.

A run's folder has `model/last.model` (weights and the state of training), `model/best.model`
(weights) and, with `--keepAll`, `model/model_0001.model` ... as published. Each is a dict whose
`state_dict` has the network's own names and whose `variant` has the arguments of its constructor;
it is read with `weights_only=True`.
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
    """Return the path of the checkpoint from which a run resumes."""
    return folder / "model" / "last.model"


def best_path(folder: Path) -> Path:
    """Return the path of the weights with the highest average precision."""
    return folder / "model" / "best.model"


def epoch_path(folder: Path, epoch: int) -> Path:
    """Return the path of the weights of one epoch."""
    return folder / "model" / f"model_{epoch:04d}.model"


def save(path: Path, network: nn.Module, training: Mapping[str, Any]) -> None:
    """Write a checkpoint; an earlier one is replaced once the new one is complete.

    Args:
        path: The file.
        network: Its weights are saved as float tensors on the CPU.
        training: Further content of numbers, text, lists, dicts and tensors.
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


def write(path: Path, contents: Any) -> None:  # noqa: ANN401 - anything that torch.save takes
    """Write a file with torch.save; it is complete and on disk when this returns."""
    with replacing(path) as temporary:
        torch.save(contents, temporary)


def load(path: Path) -> dict[str, Any]:
    """Read a complete checkpoint written by `save`.

    Raises:
        FileNotFoundError: The file is missing.
        UserError: It is not a checkpoint or incomplete; the message names it.
    """
    whole = read(path)
    if not isinstance(whole, dict) or whole.get("format") != FORMAT or "training" not in whole:
        raise UserError(
            f"expected a checkpoint of training in {path}, found weights alone; start from them "
            "with --pretrainModel and another --savePath"
        )
    return whole


def read(path: Path) -> dict[str, Any]:
    """Read a file written by `write`.

    Raises:
        FileNotFoundError: The file is missing.
        UserError: It is damaged or another kind of file; the message names it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected a checkpoint of training, found no file {path}")
    try:
        whole: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, LookupError) as error:
        raise UserError(
            f"expected a checkpoint of training in {path}, found a damaged or another file; "
            "remove it to start again, or choose another --savePath"
        ) from error
    return whole


def write_halves(state: Mapping[str, Tensor], path: Path) -> None:
    """Write weights in half precision to a safetensors file, like the bundled ones."""
    from safetensors.torch import save_file

    halves = {
        name: tensor.detach().contiguous().half() if tensor.dtype.is_floating_point else tensor
        for name, tensor in state.items()
    }
    with replacing(path) as temporary:
        save_file(halves, temporary)


def check_settings(path: Path, saved: Settings, now: Settings) -> None:
    """Check that a run is resumed with its original settings.

    A switch that one of both does not have counts as off.

    Raises:
        UserError: They differ; the message names the first difference.
    """
    for name in dict.fromkeys((*saved, *now)):
        was, found = saved.get(name, False), now.get(name, False)
        if was != found:
            raise UserError(
                f"{path} was trained with {name} {was!r}, found {found!r}; "
                "resume with the same, or start again with another --savePath"
            )
