"""Build networks by name, in any variant, and load weights into them."""

import importlib
import inspect
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.checkpoints.files import Weights, read_weights
from model.checkpoints.registry import default_checkpoint, find_file
from model.contract import Model
from model.names import network_names
from utils.downloads import Progress
from utils.errors import UserError

Variant = Mapping[str, Any]  # arguments of a network's constructor


@lru_cache
def network_class(name: str) -> type[Model]:
    """Return the network class in model/networks/NAME.py."""
    if name not in network_names():
        raise UserError(f"expected one of the networks {', '.join(network_names())}; got {name!r}")
    module = importlib.import_module(f"model.networks.{name}")
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Model)
        and value.__module__ == module.__name__
    ]
    assert len(classes) == 1, f"model/networks/{name}.py must define one network"
    return classes[0]


def network_name(network: Model) -> str:
    """Return the name of a network on the command line."""
    return type(network).__module__.rpartition(".")[2]


def build_network(name: str, variant: Variant | None = None) -> Model:
    """Return a newly initialised network.

    Args:
        name: One of `network_names()`.
        variant: Arguments of its constructor; by default as published.
    """
    arguments = check_variant(name, variant or {})
    network = network_class(name)(**arguments)
    network.variant = arguments
    return network


def read_variant(name: str, text: str) -> dict[str, Any]:
    """Parse the constructor's arguments from `--variant key=value,...`."""
    allowed = inspect.signature(network_class(name)).parameters
    found: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals or key not in allowed:
            choices = ", ".join(f"{key}={parameter.default}" for key, parameter in allowed.items())
            raise UserError(
                f"--variant {part}: expected key=value; {name} has {choices or 'no variants'}"
            )
        found[key] = _parse_like(allowed[key].default, value, part)
    return found


def _parse_like(default: object, value: str, part: str) -> object:
    """Parse a value as the type of its default."""
    if isinstance(default, bool):
        if value.lower() not in ("true", "false"):
            raise UserError(f"--variant {part}: expected true or false, got {value!r}")
        return value.lower() == "true"
    kind = {int: int, float: float}.get(type(default), str)
    try:
        return kind(value)
    except ValueError as error:
        raise UserError(
            f"--variant {part}: expected a number such as {default}, got {value!r}"
        ) from error


def check_variant(name: str, variant: Variant) -> dict[str, Any]:
    """Return a variant; raise UserError if the network has no such arguments."""
    allowed = inspect.signature(network_class(name)).parameters
    unknown = [key for key in variant if key not in allowed]
    if unknown:
        raise UserError(
            f"{name} has no argument {unknown[0]!r}; it has {', '.join(allowed) or 'none'}"
        )
    return dict(variant)


def load_single(
    name: str,
    weights: str | Path | Weights | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Model:
    """Return one network with weights, in eval mode.

    Args:
        name: One of `network_names()`.
        weights: A file, a name in pretrain/weights.toml, or weights that were read already; None
            for the network's default in pretrain/weights.toml.
        device: Device of the network.
        progress: Progress hook of a download.
    """
    kind = network_class(name)
    if not isinstance(weights, Weights):
        chosen = default_checkpoint(name).name if weights is None else weights
        weights = read_weights(find_file(chosen, progress))
    try:
        variant = weights.variant_for(name) or kind.variant_of(weights.state)
        network = build_network(name, variant)
        load_released(network, weights.state)
    except UserError as error:
        raise UserError(f"{weights.file.path}: {error}") from error
    network.weights = weights.file
    return network.eval().to(device)


def load_released(network: Model, state_dict: Mapping[str, Tensor]) -> None:
    """Load a checkpoint with published names or the network's own names into `network`.

    Raises:
        UserError: A key is unknown or missing, or a shape is wrong; the message names the first
            one, and the network or variant that the checkpoint fits.
    """
    problem = _mismatch(network, state_dict)
    if problem:
        other = _describe_other(network, state_dict)
        guess = f"; the file fits {other}" if other else ""
        raise UserError(f"these are not {network_name(network)} weights: {problem}{guess}")
    names = _own_names(network, state_dict)
    network.load_state_dict({own: state_dict[key] for key, own in names.items()})


def recognise(state_dict: Mapping[str, Tensor]) -> str | None:
    """Return the name of the network that a checkpoint fits, if any."""
    return next((name for name in network_names() if _fits(network_class(name), state_dict)), None)


def _describe_other(network: Model, state_dict: Mapping[str, Tensor]) -> str | None:
    """Describe the network, or the variant of this one, that a checkpoint fits, if any."""
    kind = type(network)
    if _fits(kind, state_dict):
        variant = kind.variant_of(state_dict)
        return f"{network_name(network)} with " + ", ".join(f"{k}={v}" for k, v in variant.items())
    return recognise(state_dict)


def _fits(kind: type[Model], state_dict: Mapping[str, Tensor]) -> bool:
    """Return whether a checkpoint fits a network in any of its variants."""
    try:
        with torch.device("meta"):
            network = kind(**kind.variant_of(state_dict))
    except UserError:  # no variant of the network has these shapes
        return False
    return _mismatch(network, state_dict) is None


def _own_names(network: Model, state_dict: Mapping[str, Tensor]) -> dict[str, str]:
    """Map the keys of a checkpoint to the network's own names; unknown ones are unchanged."""
    if network.state_dict().keys() == state_dict.keys():
        return {key: key for key in state_dict}
    prefixes = sorted(network.released_names, key=len, reverse=True)
    names = {}
    for key in state_dict:
        published = key.removeprefix("module.")
        if published in network.released_unused:
            continue
        prefix = next((prefix for prefix in prefixes if published.startswith(prefix)), "")
        own = network.released_names.get(prefix, "")
        names[key] = own + published.removeprefix(prefix)
    return names


def _mismatch(network: Model, state_dict: Mapping[str, Tensor]) -> str | None:
    """Describe how a checkpoint differs from what the network needs; None if it fits."""
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
