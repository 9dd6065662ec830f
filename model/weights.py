"""Weights: where they come from, and how they get into a network."""

import importlib
import inspect
import os
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.contract import Network, WeightsFile
from utils.downloads import Expected, Progress, download, sha256_of

PRETRAIN = Path(__file__).parents[1] / "pretrain"
SHARED = "TALKNET_PRETRAIN"  # environment variable: a folder of weights that is only read


@dataclass(frozen=True)
class Checkpoint:
    """One table of pretrain/weights.toml; its README says what each field means."""

    name: str
    network: str
    file: str
    licence: str
    trained_on: str
    addresses: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    sha256: str | None = None
    num_bytes: int | None = None
    results: str = ""
    note: str = ""


@lru_cache(maxsize=1)
def registry() -> dict[str, Checkpoint]:
    """Return every checkpoint the project knows; a network's first is its default."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    found = {}
    for name, table in tomllib.loads((PRETRAIN / "weights.toml").read_text("utf-8")).items():
        for key in ("addresses", "aliases"):
            table[key] = tuple(table.get(key, ()))
        found[name] = Checkpoint(name, num_bytes=table.pop("bytes", None), **table)
    return found


def checkpoint(name: str) -> Checkpoint:
    """Return the checkpoint of that name."""
    known = registry()
    if name not in known:
        raise ValueError(f"expected weights named one of {', '.join(known)}; got {name!r}")
    return known[name]


def default_checkpoint(network: str) -> Checkpoint:
    """Return the checkpoint that a network or detector is loaded with unless another is asked."""
    for one in registry().values():
        if one.network == network:
            return one
    raise ValueError(f"pretrain/weights.toml names no weights for {network!r}; give a weights file")


def find_weights(name: str, folder: Path = PRETRAIN) -> WeightsFile | None:
    """Return a checkpoint's file if it is on this machine, without any network.

    Looks in `folder`, then in the folder that the environment variable TALKNET_PRETRAIN names, for
    its file and for the names it is published under.
    """
    one = checkpoint(name)
    shared = os.environ.get(SHARED)
    for place in (folder, Path(shared)) if shared else (folder,):
        for file in (one.file, *one.aliases):
            path = place / file
            if not path.is_file():
                continue
            digest = sha256_of(path)
            if one.sha256 is None or digest.startswith(one.sha256):
                return WeightsFile(name, path, digest)
            if file == one.file:  # under a published name it may well be another network's
                raise ValueError(
                    f"expected {path} to have SHA-256 {one.sha256[:12]}..., found {digest[:12]}...:"
                    " it is damaged or another file; remove it to have it downloaded again"
                )
    return None


def get_weights(
    name: str, progress: Progress | None = None, folder: Path = PRETRAIN
) -> WeightsFile:
    """Return a checkpoint's file, downloaded to `folder` if it is not on this machine.

    Raises:
        RuntimeError: It cannot be had; one line that says what was tried and what to do.
    """
    found = find_weights(name, folder)
    if found:
        return found
    one = checkpoint(name)
    advice = f"put it into {folder} or set {SHARED} to a folder that holds it"
    if not one.addresses:
        raise RuntimeError(f"{one.file} is not here and cannot be downloaded: {one.note} {advice}")
    try:
        download(one.addresses, folder / one.file, Expected(one.sha256, one.num_bytes), progress)
    except RuntimeError as error:
        raise RuntimeError(f"{error}; {advice}") from error
    return WeightsFile(name, folder / one.file, sha256_of(folder / one.file))


def load_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a PyTorch checkpoint; nothing in the file is ever executed.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no checkpoint, or not a whole one.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected a weights file, found no file {path}")
    with path.open("rb") as file:
        head = file.read(512).lstrip()
    if not head.startswith((b"PK\x03\x04", b"\x80\x02")):
        kind = "a web page" if head.lower().startswith((b"<!doctype", b"<html")) else "another file"
        kind = kind if head else "an empty file"
        raise ValueError(f"expected a PyTorch weights file, {path} is {kind}; download it again")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"expected tensors alone in {path}, found other objects or a broken file; "
            "nothing of it was run; download it again from a place you trust"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path} is cut short or damaged; download it again") from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise ValueError(f"expected names and tensors in {path}, found {type(state).__name__}")
    return dict(state)


def load_released(network: Network, state_dict: Mapping[str, Tensor]) -> None:
    """Put a checkpoint with published names, or with the network's own, into `network`.

    Raises:
        ValueError: An unknown key, a missing key or a wrong shape; names the first of them.
    """
    problem = _mismatch(network, state_dict)
    if problem:
        name = type(network).__module__.rpartition(".")[2]
        other = recognise(state_dict)
        guess = f"; the file looks like {other}'s" if other else ""
        raise ValueError(f"these are not {name} weights: {problem}{guess}")
    names = _own_names(network, state_dict)
    network.load_state_dict({own: state_dict[key] for key, own in names.items()})


def _own_names(network: Network, state_dict: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the network's own name for each key of a checkpoint; an unknown one stays as it is."""
    if network.state_dict().keys() == state_dict.keys():
        return {key: key for key in state_dict}
    prefixes = sorted(network.released_names, key=len, reverse=True)
    names = {}
    for key in state_dict:
        published = key.removeprefix("module.")
        if published in network.released_unused:
            continue
        prefix = next((one for one in prefixes if published.startswith(one)), "")
        own = network.released_names.get(prefix, "")
        names[key] = own + published.removeprefix(prefix)
    return names


def _mismatch(network: Network, state_dict: Mapping[str, Tensor]) -> str | None:
    """Say how a checkpoint differs from what the network needs, or None."""
    own = network.state_dict()
    names = _own_names(network, state_dict)
    unknown = [key for key, name in names.items() if name not in own]
    missing = [name for name in own if name not in names.values()]
    if unknown:
        return f"{len(unknown)} unknown keys, such as {unknown[0]!r}"
    if missing:
        return f"{len(missing)} missing keys, such as {missing[0]!r}"
    for key, name in names.items():
        if state_dict[key].shape != own[name].shape:
            found, expected = tuple(state_dict[key].shape), tuple(own[name].shape)
            return f"{key!r} has shape {found}, expected {expected}"
    return None


def recognise(state_dict: Mapping[str, Tensor]) -> str | None:
    """Return the name of the network that a checkpoint fits, if it is one of the project's."""
    for name in network_names():
        with torch.device("meta"):
            network = build_network(name)
        if _mismatch(network, state_dict) is None:
            return name
    return None


def network_names() -> list[str]:
    """Return the names of all networks: those of the files in model/networks."""
    folder = Path(__file__).with_name("networks")
    return sorted(path.stem for path in folder.glob("[!_]*.py"))


def build_network(name: str) -> Network:
    """Return a network with fresh weights."""
    if name not in network_names():
        raise ValueError(
            f"expected a network named one of {', '.join(network_names())}; got {name!r}"
        )
    module = importlib.import_module(f"model.networks.{name}")
    found: list[Any] = [
        thing
        for thing in vars(module).values()
        if inspect.isclass(thing)
        and issubclass(thing, Network)
        and thing.__module__ == module.__name__
    ]
    assert len(found) == 1, f"model/networks/{name}.py must define one Network"
    network: Network = found[0]()
    return network


def load_network(
    name: str,
    weights: str | Path | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Network:
    """Return a network with weights, ready to score.

    Args:
        name: One of `network_names()`.
        weights: A file, or a name in pretrain/weights.toml; None is the network's default there.
        device: Where it runs.
        progress: Told the bytes of a download.
    """
    network = build_network(name)
    if weights is None:
        file = get_weights(default_checkpoint(name).name, progress)
    elif str(weights) in registry():
        file = get_weights(str(weights), progress)
    else:
        path = Path(weights)
        if not path.is_file():
            raise FileNotFoundError(f"expected a weights file, found no file {path}")
        file = WeightsFile(path.stem, path, sha256_of(path))
    state = load_state(file.path)
    try:
        load_released(network, state)
    except ValueError as error:
        raise ValueError(f"{file.path}: {error}") from error
    network.weights = file
    return network.eval().to(device)
