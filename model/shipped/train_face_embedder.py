"""Train the bundled face embedder; docs/notes/face_embedder.md has its results.

python -m model.shipped.train_face_embedder --videos DIR,DIR --selection DIR --savePath DIR

Run again, the command continues where it was stopped. face_reid is the teacher, and YuNet finds the
faces.
"""

import logging
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model.checkpoints import training as checkpoints
from model.checkpoints.registry import get_weights
from model.contract import FaceEmbedder
from model.detectors.yunet import YuNet
from model.embedders import face_reid
from model.embedders.bundled import Bundled, BundledNetwork, reduce
from model.shipped import face_embedder_faces as face_sets
from model.shipped.averaged_training import AveragedObjective, AveragedRun
from model.shipped.face_embedder_faces import Faces, FaceSources
from model.shipped.seeded_steps import Seed, SeededSteps, rise_and_fall
from model.training.run import Run
from model.training.run_logs import Evaluated
from model.training.trainer import StepOptions
from utils.commands import run_command
from utils.datasets.face_pictures.made_faces import spoil
from utils.errors import UserError
from utils.files import check_folder
from utils.metrics.verification import same_person_auc
from utils.progress import bar

logger = logging.getLogger(__name__)

AVERAGE = 0.99  # of the weights' past that each step keeps in their average
REAL = 0.4  # share of a batch that are people who exist
TEMPERATURE = 0.1  # of the choice between faces
ALIKE = 0.6  # similarity by the teacher from which on two faces are not told apart
OWN, PAIRS = 0.3, 4.0  # weights of the losses against the teacher
GROUP = 3  # crops of a person that are compared at once when measuring
LOSSES = ("choice_loss", "own_loss", "pair_loss")
COLUMNS = (*LOSSES, "auc", "teacher_auc")  # of log.csv


@dataclass(frozen=True)
class EmbedderTraining:
    """How the face embedder is trained."""

    videos: Annotated[str, "folders of videos with faces, with commas between"] = ""
    selection: Annotated[str, "folders of videos of other people, for measuring"] = ""
    held_out: Annotated[str, "people of --videos to measure with too, with commas between"] = ""
    left_out: Annotated[str, "files and people that are not used, with commas between"] = ""
    save_path: Annotated[Path, "folder for faces, checkpoints and weights"] = Path("embedder")
    each: Annotated[int, "real faces of a person to train on, at most"] = 24
    num_faces: Annotated[int, "faces to train on, real and made"] = 12000
    steps: Annotated[int, "batches"] = 4000
    batch_size: Annotated[int, "faces in a batch"] = 64
    lr: Annotated[float, "learning rate at its highest"] = 2e-3
    warm_up: Annotated[int, "steps until the learning rate is there"] = 100
    keep_every: Annotated[int, "steps from one checkpoint and measurement to the next"] = 500
    seed: Annotated[int, "of all that is chosen at random"] = 0

    def __post_init__(self) -> None:
        if not self.videos or not self.selection:
            raise UserError("--videos and --selection must name folders of videos with faces")

    def sources(self, for_selection: bool) -> list[FaceSources]:
        """Return whose faces are used: to choose by, or to train on."""
        videos, selection = (_paths(names) for names in (self.videos, self.selection))
        held_out, left_out = (_names(names) for names in (self.held_out, self.left_out))
        if not for_selection:
            return [FaceSources(videos, (*left_out, *held_out), each=self.each)]
        own = [FaceSources(videos, left_out, only=held_out)] if held_out else []
        return [FaceSources(selection, left_out), *own]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _paths(text: str) -> list[Path]:
    return [Path(name) for name in _names(text)]


class EmbeddingObjective(AveragedObjective):
    """The embedder and its losses: of finding the same face, and two against the teacher.

    Args:
        options: How it is trained.
        faces: What it is trained on.
    """

    def __init__(self, options: EmbedderTraining, faces: Faces) -> None:
        super().__init__(BundledNetwork, options.seed, AVERAGE)
        self.options, self.faces = options, faces

    def forward(self, seed: Seed) -> tuple[Tensor, Tensor]:
        """Return the loss of the batch that a seed draws; correct answers are not counted."""
        rng = np.random.default_rng(seed)
        chosen = draw_views(self.faces.people, self.options.batch_size, rng).ravel()
        crops = np.stack([spoil(self.faces.crops[index], rng) for index in chosen])
        images = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
        targets = torch.from_numpy(self.faces.targets[chosen])
        found = functional.normalize(self.network(reduce(images)))
        losses = (
            choice_loss(found, targets),
            (1 - (found * targets).sum(dim=1)).mean(),
            functional.mse_loss(found @ found.T, targets @ targets.T),
        )
        self.losses.append([loss.item() for loss in losses])
        choice, own, pairs = losses
        return choice + OWN * own + PAIRS * pairs, own.new_zeros(())


def draw_views(
    people: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return two faces of each of some people (2, N), by their numbers.

    Two of a person who exists are any two, of another moment if there are several; a made face
    stands twice, and is spoiled twice. N is less than `count` if there are fewer people.

    Args:
        people: Whose each face is, -1 for those who do not exist.
        count: N.
        rng: Draws.
    """
    made, real = np.flatnonzero(people < 0), np.unique(people[people >= 0])
    num_made = min(len(made), count - round(REAL * count))
    names = rng.choice(real, min(len(real), count - num_made), replace=False)
    own = [rng.choice(np.flatnonzero(people == name), 2) for name in names]
    drawn = rng.choice(made, num_made, replace=False)
    return np.concatenate((np.reshape(own, (-1, 2)), np.stack((drawn, drawn), 1))).T.astype(int)


def choice_loss(found: Tensor, targets: Tensor) -> Tensor:
    """Return how hard it is to find the other view of each face (InfoNCE; van den Oord et al.).

    Faces that the teacher finds alike are no choice: parts of them are the same person's.

    Args:
        found: Unit vectors (2 N, C): one view of each face, then the other of each.
        targets: Those of the teacher.
    """
    first, second = found.chunk(2)
    taught, other_taught = targets.chunk(2)
    alike = taught @ other_taught.T > ALIKE
    alike.fill_diagonal_(False)
    choices = (first @ second.T / TEMPERATURE).masked_fill(alike, -math.inf)
    own = torch.arange(len(first))
    losses = [functional.cross_entropy(one, own) for one in (choices, choices.T)]
    return torch.stack(losses).mean()


def steps_of(options: EmbedderTraining) -> SeededSteps:
    """Return the steps of a training."""
    return SeededSteps((options.seed,), options.steps, options.keep_every)


def plan(objective: EmbeddingObjective) -> AveragedRun:
    """Return how the embedder is trained."""
    options = objective.options
    step = StepOptions(options.seed, max_gradient=10.0)
    return AveragedRun(
        objective, steps_of(options), partial(rate, options=options), step, 0.05, COLUMNS
    )


def begin(options: EmbedderTraining, faces: Faces) -> Run:
    """Return a new run, or the one that the folder holds, where it was stopped."""
    places = ("videos", "selection", "save_path")
    settings = {name: value for name, value in vars(options).items() if name not in places}
    return plan(EmbeddingObjective(options, faces)).begin(options.save_path, settings)


def rate(step: int, options: EmbedderTraining) -> float:
    """Return the learning rate: a straight rise, then half a cosine down to nothing."""
    return options.lr * rise_and_fall(step, options.steps, options.warm_up)


def measure(vectors: NDArray[np.float32], people: NDArray[np.int64]) -> float:
    """Return the same-person AUC of groups of a few neighbouring crops.

    Args:
        vectors: (N, C), unit vectors of crops.
        people: (N,) whose each is; the crops of one person in order of time.
    """
    means, owners = [], []
    for person in np.unique(people):
        own = vectors[people == person]
        for group in np.array_split(own, max(1, len(own) // GROUP)):
            mean = group.mean(axis=0)
            means.append(mean / np.linalg.norm(mean))
            owners.append(person)
    first, second = np.triu_indices(len(means), 1)
    table, names = np.stack(means), np.array(owners)
    return same_person_auc(
        (table[first] * table[second]).sum(axis=1), names[first] == names[second]
    )


def spoiled(faces: Faces, seed: int) -> Faces:
    """Return the faces of a selection, each second one spoiled as in training.

    The teacher's vectors remain those of the faces before.
    """
    rng = np.random.default_rng(seed)
    crops = faces.crops.copy()
    for index in range(0, len(crops), 2):
        crops[index] = spoil(crops[index], rng)
    return Faces(crops, faces.targets, faces.people)


def report(objective: EmbeddingObjective, selection: Faces, teacher_auc: float) -> Evaluated:
    """Measure the averaged network, write its weights, return losses and measures."""
    losses = dict(zip(LOSSES, objective.mean_losses(), strict=True))
    copy = BundledNetwork()
    copy.load_state_dict(objective.averaged.state_dict())
    auc = measure(Bundled(copy).embed(selection.crops), selection.people)
    weights = objective.options.save_path / f"{Bundled.name}.safetensors"
    checkpoints.write_halves(objective.averaged.state_dict(), weights)
    return Evaluated(measures=losses | {"auc": auc, "teacher_auc": teacher_auc})


def learn(run: Run, selection: Faces, teacher_auc: float) -> bool:
    """Train to the last step; return False if it was stopped before."""
    objective = run.trainer.objective
    assert isinstance(objective, EmbeddingObjective)
    return plan(objective).learn(run, lambda: report(objective, selection, teacher_auc))


def prepare(options: EmbedderTraining, teacher: FaceEmbedder, for_selection: bool) -> Faces:
    """Return the faces to train on, or to choose by; made anew if the folder does not hold them."""
    path = options.save_path / ("selection.npz" if for_selection else "faces.npz")
    if path.is_file():
        return face_sets.read(path)
    detector = YuNet(get_weights("yunet"))
    people: dict[str, NDArray[np.uint8]] = {}
    for sources in options.sources(for_selection):
        with bar("collecting faces", 0, "people") as advance:
            people |= face_sets.collect(detector, sources, advance)
    logger.info("%d faces of %d people", sum(map(len, people.values())), len(people))
    count = sum(map(len, people.values())) if for_selection else options.num_faces
    with bar("making faces", count, "faces") as advance:
        faces = face_sets.make(teacher, people, count, options.seed, advance)
    face_sets.write(faces, path)
    return faces


def train(options: EmbedderTraining) -> int:
    """Make the faces, then train to the last step; return the exit status."""
    check_folder(options.save_path)
    teacher = face_reid.load(get_weights("face_reid"), "cpu")
    selection = spoiled(prepare(options, teacher, for_selection=True), options.seed)
    teacher_auc = measure(selection.targets, selection.people)
    faces = prepare(options, teacher, for_selection=False)
    begun = time.monotonic()
    is_complete = learn(begin(options, faces), selection, teacher_auc)
    logger.info("trained for %.0f s", time.monotonic() - begun)
    return 0 if is_complete else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, train, return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    return run_command(train, EmbedderTraining, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
