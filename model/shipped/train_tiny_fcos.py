"""Train the bundled face detector; docs/notes/tiny_fcos.md has its results.

python -m model.shipped.train_tiny_fcos --videos DIR,DIR --backgrounds DIR --savePath DIR

Run again, the command continues where it was stopped. YuNet is the teacher.
"""

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from torch import Tensor

from model.checkpoints import training as checkpoints
from model.checkpoints.files import read_weights
from model.checkpoints.registry import find_file, get_weights
from model.detectors.tiny_fcos import TinyFcos, TinyFcosNetwork, cells, load
from model.detectors.yunet import YuNet
from model.precision import warn_of_slow_bf16
from model.shipped.averaged_training import AveragedObjective, AveragedRun
from model.shipped.seeded_steps import Seed, SeededSteps, rise_and_fall
from model.shipped.tiny_fcos_losses import assign, detection_loss, stack
from model.shipped.tiny_fcos_marks import DOUBTFUL
from model.shipped.tiny_fcos_pictures import Sources, prepare
from model.training.run import Run
from model.training.run_logs import Evaluated
from model.training.trainer import StepOptions
from utils.boxes import iou
from utils.commands import run_command
from utils.datasets.face_pictures.images import ImageFolder, draw_batch
from utils.errors import UserError
from utils.files import check_folder
from utils.model_options import DetectorOptions
from utils.progress import bar

logger = logging.getLogger(__name__)

TEACHER_SIDE = 640  # pixels of the longer side of images that the teacher sees
AVERAGE = 0.998  # of the weights' past that each step keeps in their average
FOUND = 0.4  # IoU from which on a face is found
COLUMNS = ("score_loss", "box_loss", "recall", "false_boxes", "iou")  # of log.csv


@dataclass(frozen=True)
class DetectorTraining:
    """How the face detector is trained."""

    videos: Annotated[str, "folders of videos with faces, with commas between"] = ""
    backgrounds: Annotated[Path, "folder of images to put faces into"] = Path("backgrounds")
    save_path: Annotated[Path, "folder for images, checkpoints and weights"] = Path("detector")
    num_pictures: Annotated[int, "images made to train on"] = 12000
    num_turned: Annotated[int, "heads turned away that are made of each person"] = 30
    held_out: Annotated[str, "people not trained on, for measuring, with commas between"] = ""
    num_held_out: Annotated[int, "images made of them"] = 500
    student: Annotated[str, "weights trained before, whose mistakes are trained on more"] = ""
    initial: Annotated[str, "weights to start from; nothing: random ones"] = ""
    steps: Annotated[int, "batches"] = 5000
    batch_size: Annotated[int, "images in a batch"] = 24
    side: Annotated[int, "of the crops that it trains on, pixels; a multiple of 32"] = 224
    lr: Annotated[float, "learning rate at its highest"] = 2e-3
    warm_up: Annotated[int, "steps until the learning rate is there"] = 200
    keep_every: Annotated[int, "steps from one checkpoint and measurement to the next"] = 250
    bf16: Annotated[bool, "convolve in half precision: twice as fast where the CPU can"] = False
    seed: Annotated[int, "of all that is chosen at random"] = 0

    def __post_init__(self) -> None:
        if not self.videos:
            raise UserError("--videos must name a folder of videos with faces, found none")
        if self.side < 64 or self.side % 32:
            raise UserError(f"--side must be 64, 96, 128 ..., got {self.side}")

    def sources(self, only_held_out: bool) -> Sources:
        """Return what images are made of: of the people trained on, or of the others."""
        folders = [Path(folder) for folder in self.videos.split(",")]
        held_out = tuple(name for name in self.held_out.split(",") if name)
        student = None
        if self.student:
            options = DetectorOptions(TinyFcos.name)
            student = load(find_file(self.student), options, "cpu", "fp32")
        return Sources(
            folders, self.backgrounds, held_out, only_held_out, self.seed, student, self.num_turned
        )


class DetectionObjective(AveragedObjective):
    """The detector and its losses, of scores and of boxes.

    Args:
        options: How it is trained.
        images: What it is trained on.
    """

    network: TinyFcosNetwork
    averaged: TinyFcosNetwork

    def __init__(self, options: DetectorTraining, images: ImageFolder) -> None:
        super().__init__(partial(first_network, options.initial), options.seed, AVERAGE)
        self.options, self.images = options, images

    def forward(self, seed: Seed) -> tuple[Tensor, Tensor]:
        """Return the loss of the batch that a seed draws; correct answers are not counted."""
        side = self.options.side
        rng = np.random.default_rng(seed)
        indices = rng.integers(len(self.images), size=self.options.batch_size)
        batch = draw_batch(self.images, [int(index) for index in indices], side, rng)
        images, boxes, clear = stack(batch)
        places = cells(side, side)
        targets = assign(places, boxes, clear)
        logits, distances = self.network(images.float())
        score_loss, box_loss = detection_loss(logits, distances, places, targets)
        self.losses.append([score_loss.item(), box_loss.item()])
        return score_loss + box_loss, score_loss.new_zeros(())


def first_network(initial: str) -> TinyFcosNetwork:
    """Return a network with the weights to start from, or random ones."""
    network = TinyFcosNetwork()
    if initial:
        network.load_state_dict(read_weights(find_file(initial)).state)
    return network


def settings(options: DetectorTraining) -> dict[str, str | int | float | bool]:
    """Return what must be the same when a run is resumed."""
    places = ("videos", "backgrounds", "save_path", "student", "initial")
    return {name: value for name, value in vars(options).items() if name not in places}


def steps_of(options: DetectorTraining) -> SeededSteps:
    """Return the steps of a training."""
    return SeededSteps((options.seed,), options.steps, options.keep_every)


def plan(objective: DetectionObjective) -> AveragedRun:
    """Return how the detector is trained."""
    options = objective.options
    step = StepOptions(options.seed, options.bf16, max_gradient=10.0)
    return AveragedRun(
        objective, steps_of(options), partial(rate, options=options), step, 0.02, COLUMNS
    )


def begin(options: DetectorTraining, images: ImageFolder) -> Run:
    """Return a new run, or the one that the folder holds, where it was stopped."""
    objective = DetectionObjective(options, images)
    return plan(objective).begin(options.save_path, settings(options))


def rate(step: int, options: DetectorTraining) -> float:
    """Return the learning rate: a straight rise, then half a cosine down to nothing."""
    return options.lr * rise_and_fall(step, options.steps, options.warm_up)


def measure(network: TinyFcosNetwork, images: ImageFolder) -> dict[str, float]:
    """Return recall, false boxes an image and the mean IoU of what is found in images."""
    copy = TinyFcosNetwork()
    copy.load_state_dict(network.state_dict())
    detector = TinyFcos(copy)
    faces = found = false = 0
    shared: list[float] = []
    for index in range(len(images)):
        annotated = images.read(index)
        boxes = detector.detect([annotated.image])[0].boxes
        overlap = iou(annotated.boxes[:, None], boxes[None])
        best = overlap.max(axis=1, initial=0)[annotated.clear]
        faces += len(best)
        found += int((best >= FOUND).sum())
        shared += list(best[best >= FOUND])
        false += int((overlap.max(axis=0, initial=0) < FOUND).sum())
    return {
        "recall": found / max(1, faces),
        "false_boxes": false / max(1, len(images)),
        "iou": float(np.mean(shared)) if shared else 0.0,
    }


def report(objective: DetectionObjective, held_out: ImageFolder) -> Evaluated:
    """Measure the averaged network, write its weights, return losses and measures."""
    score_loss, box_loss = objective.mean_losses()
    measures = {"score_loss": score_loss, "box_loss": box_loss}
    measures |= measure(objective.averaged, held_out)
    weights = objective.options.save_path / f"{TinyFcos.name}.safetensors"
    checkpoints.write_halves(objective.averaged.state_dict(), weights)
    return Evaluated(measures=measures)


def learn(run: Run, held_out: ImageFolder) -> bool:
    """Train to the last step; return False if it was stopped before."""
    objective = run.trainer.objective
    assert isinstance(objective, DetectionObjective)
    return plan(objective).learn(run, lambda: report(objective, held_out))


def train(options: DetectorTraining) -> int:
    """Make the images, then train to the last step; return the exit status."""
    check_folder(options.save_path)
    if options.bf16:
        warn_of_slow_bf16("cpu")
    teacher = YuNet(get_weights("yunet"), DOUBTFUL, TEACHER_SIDE)
    folders = []
    for name, count in (("pictures", options.num_pictures), ("held_out", options.num_held_out)):
        sources = options.sources(only_held_out=name == "held_out")
        with bar(f"making {name}", count, "images") as advance:
            folders.append(prepare(teacher, sources, options.save_path / name, count, advance))
    begun = time.monotonic()
    is_complete = learn(begin(options, folders[0]), folders[1])
    logger.info("trained for %.0f s", time.monotonic() - begun)
    return 0 if is_complete else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, train, return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    return run_command(train, DetectorTraining, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
