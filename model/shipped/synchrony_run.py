"""A run of distillation: its options and stages, where it is, and how it is kept."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.checkpoints import training as checkpoints
from model.networks.synchrony import Synchrony
from utils.errors import UserError

NAME = "synchrony"
WARM_UP = 30  # steps until a stage's learning rate is there


@dataclass(frozen=True)
class Distillation:
    """How the shipped network is trained."""

    videos: Annotated[str, "folders of videos of talking heads, with commas between"] = ""
    people: Annotated[Path | None, "CSV table of who is in which video: file,identity,kind"] = None
    faces_only: Annotated[str, "folders of videos whose sound means nothing"] = ""
    teacher: Annotated[str, "weights of LR-ASD: a name of pretrain/weights.toml, or a file"] = (
        "lr_asd_talkset"
    )
    save_path: Annotated[Path, "folder for faces, pairings, checkpoints and weights"] = Path(NAME)
    held_out: Annotated[str, "people not trained on, for measuring, with commas between"] = ""
    seeing_steps: Annotated[int, "batches of the first stage: see what the teacher sees"] = 60
    matching_steps: Annotated[int, "batches of the second stage: find the voice of a face"] = 500
    num_pairings: Annotated[int, "pairings that the third stage learns from"] = 240
    judging_steps: Annotated[int, "batches of the third stage: judge by the evidence"] = 300
    noise: Annotated[float, "most noise in the third stage, relative to voices and faces"] = 1.0
    bf16: Annotated[bool, "see in half precision: two to three times as fast where the CPU can"] = (
        False
    )
    keep_every: Annotated[int, "steps from one checkpoint and measurement to the next"] = 20
    seed: Annotated[int, "of all that is chosen at random"] = 0

    def __post_init__(self) -> None:
        if not self.videos:
            raise UserError("--videos must name a folder of videos of talking heads, found none")

    def is_held_out(self, person: str) -> bool:
        """Tell whether a person is for measuring."""
        return person in self.held_out.split(",")


class Stage(NamedTuple):
    """A part of training."""

    name: str
    steps: int
    lr: float
    trained: Callable[[str], bool]  # by the name of a parameter
    loss: Callable[[np.random.Generator], Tensor]


@dataclass
class Run:
    """A training run: where it is, and how it is kept."""

    options: Distillation
    network: Synchrony
    optimiser: torch.optim.Optimizer | None = None
    stage: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)  # since the last measurement

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return self.options.save_path / "last.model"

    def keep(self) -> None:
        """Write all that is needed to go on."""
        state = self.optimiser.state_dict() if self.optimiser else {}
        training = {
            "settings": settings(self.options),
            "stage": self.stage,
            "step": self.step,
            "optimiser": state,
        }
        checkpoints.save(self.path, self.network, training)

    def restore(self) -> dict[str, Any]:
        """Go on where it was kept; return what the optimiser of the stage needs.

        Raises:
            UserError: The checkpoint is damaged, or was begun with other settings.
        """
        whole = checkpoints.load(self.path)
        training = whole["training"]
        checkpoints.check_settings(self.path, training["settings"], settings(self.options))
        self.network.load_state_dict(whole["state_dict"])
        self.stage, self.step = training["stage"], training["step"]
        optimiser: dict[str, Any] = training["optimiser"]
        return optimiser


def settings(options: Distillation) -> Mapping[str, str | int | float | bool]:
    """Return what a run must go on with."""
    places = ("videos", "people", "faces_only", "save_path", "keep_every", "teacher")
    return {name: value for name, value in vars(options).items() if name not in places}


def rate(step: int, stage: Stage) -> float:
    """Return the learning rate: a straight rise, then half a cosine down to a fiftieth."""
    rise = min(1.0, (step + 1) / WARM_UP)
    fall = 0.5 + 0.5 * math.cos(math.pi * step / max(1, stage.steps))
    return stage.lr * rise * max(0.02, fall)
