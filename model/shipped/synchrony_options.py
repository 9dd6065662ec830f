"""Options and stages of the training of Synchrony."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from torch import Tensor

from model.checkpoints.training import Settings
from utils.errors import UserError

NAME = "synchrony"
WARM_UP = 30  # steps until a stage's learning rate is reached
LOWEST = 0.02  # of the learning rate at its highest


@dataclass(frozen=True)
class SynchronyTraining:
    """How Synchrony is trained."""

    videos: Annotated[str, "folders of videos of talking heads, with commas between"] = ""
    people: Annotated[Path | None, "CSV table of who is in which video: file,identity,kind"] = None
    faces_only: Annotated[str, "folders of videos whose sound means nothing"] = ""
    teachers: Annotated[str, "networks to learn from, LR-ASD first, with commas between"] = (
        "lr_asd,light_asd"
    )
    save_path: Annotated[Path, "folder for faces, pairings, checkpoints and weights"] = Path(NAME)
    selection: Annotated[
        str, "folders of videos of people not trained on, to weight the refiners by; none: 1"
    ] = ""
    selection_people: Annotated[Path | None, "CSV table of who is in them"] = None
    held_out: Annotated[str, "people not trained on, for measuring, with commas between"] = ""
    seeing_steps: Annotated[int, "batches of the first stage: learn from the teachers"] = 60
    matching_steps: Annotated[int, "batches of the second stage: find the voice of a face"] = 200
    num_pairings: Annotated[int, "pairings that the third stage learns from"] = 80
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
        """Return whether a person is only measured, not trained on."""
        return person in self.held_out.split(",")

    @property
    def settings(self) -> Settings:
        """What must be the same when training is resumed."""
        places = ("videos", "people", "faces_only", "save_path", "selection", "selection_people")
        return {name: value for name, value in vars(self).items() if name not in places}


class Stage(NamedTuple):
    """A part of training."""

    name: str
    num_steps: int
    lr: float  # at its highest
    trains: Callable[[str], bool]  # whether the parameter of a name is trained
    loss: Callable[[np.random.Generator], Tensor]  # of the batch that the generator draws

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: a linear rise, then half a cosine to a fiftieth."""
        rise = min(1.0, (step + 1) / WARM_UP)
        fall = 0.5 + 0.5 * math.cos(math.pi * step / max(1, self.num_steps))
        return self.lr * rise * max(LOWEST, fall)
