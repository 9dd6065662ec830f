"""Training recipes of networks with the user's options, optimisers and random seeds."""

from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch import nn

from model.contract import Recipe
from model.precision import warn_of_slow_bf16
from utils.errors import UserError
from utils.training_options import TrainingOptions

OPTIMISERS = ("adam", "adamw", "sgd")
SGD_MOMENTUM = 0.9


def resolve(recipe: Recipe, options: TrainingOptions) -> Recipe:
    """Return a network's recipe, overridden by the user's options."""
    names = ("lr", "lr_decay", "max_epoch", "batch_size")
    chosen = {name: getattr(options, name) for name in names}
    return replace(recipe, **{name: value for name, value in chosen.items() if value is not None})


def use_bf16(options: TrainingOptions, device: torch.device) -> bool:
    """Return whether to train in mixed precision; warn if it is slow on this device."""
    chosen = options.precision == "bf16" or (options.precision == "auto" and device.type == "cuda")
    if chosen:
        warn_of_slow_bf16(device.type)
    return chosen


def freeze(network: nn.Module, patterns: tuple[str, ...]) -> None:
    """Exclude weights with matching names from training.

    Raises:
        UserError: A pattern matches nothing, or no trainable weights are left.
    """
    parameters = dict(network.named_parameters())
    frozen: set[str] = set()
    for pattern in patterns:
        found = [name for name in parameters if fnmatchcase(name, pattern)]
        if not found:
            parts = ", ".join(f"{name}.*" for name, _ in network.named_children())
            raise UserError(f"--freeze {pattern} matches no weights; the modules are {parts}")
        frozen.update(found)
    if len(frozen) == len(parameters):
        raise UserError("--freeze leaves nothing to train; match fewer weights")
    for name, parameter in parameters.items():
        parameter.requires_grad_(name not in frozen)


def make_optimiser(objective: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser of all trainable weights."""
    weights = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    if recipe.optimiser == "adam":
        return torch.optim.Adam(weights, recipe.lr, weight_decay=recipe.weight_decay)
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(weights, recipe.lr, weight_decay=recipe.weight_decay)
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            weights,
            recipe.lr,
            SGD_MOMENTUM,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov,
        )
    raise ValueError(
        f"expected an optimiser of {', '.join(OPTIMISERS)} in the recipe, got {recipe.optimiser!r}"
    )


def seeded(seed: int | tuple[int, ...], device: torch.device) -> "_Seeded":
    """Seed torch's random generators inside a `with` block; restore their state afterwards."""
    return _Seeded(seed, device)


class _Seeded:
    """torch.random.fork_rng with a seed made of several numbers."""

    def __init__(self, seed: int | tuple[int, ...], device: torch.device) -> None:
        devices = [device] if device.type == "cuda" else []
        self.fork = torch.random.fork_rng(devices)
        self.seed = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])

    def __enter__(self) -> None:
        self.fork.__enter__()
        torch.manual_seed(self.seed)

    def __exit__(self, *failure: object) -> None:
        self.fork.__exit__(*failure)  # type: ignore[arg-type]
