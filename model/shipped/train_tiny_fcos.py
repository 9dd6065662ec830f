"""Train the face detector that the project ships; docs/notes/tiny_fcos.md tells what came of it.

python -m model.shipped.train_tiny_fcos --videos DIR,DIR --backgrounds DIR --savePath DIR

The same command goes on where it was stopped. YuNet is the teacher.
"""

import logging
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch

from model.checkpoints import training as checkpoints
from model.checkpoints.registry import find_file, get_weights
from model.detectors.tiny_fcos import TinyFcos, TinyFcosNetwork, cells, load
from model.detectors.yunet import YuNet
from model.precision import warn_of_slow_bf16
from model.shipped.tiny_fcos_losses import assign, detection_loss, stack
from model.shipped.tiny_fcos_pictures import DOUBTFUL, Sources, overlaps, prepare
from model.training.run_logs import put_row
from utils.commands import run_command
from utils.datasets.face_pictures.pictures import PictureFolder, draw_batch
from utils.errors import UserError
from utils.files import check_folder
from utils.model_options import DetectorOptions
from utils.progress import bar

logger = logging.getLogger(__name__)

TEACHER_SIDE = 640  # pixels of the longer side of pictures that the teacher sees
HELD_OUT_PICTURES = 500
AVERAGE = 0.998  # of the weights' past that each step keeps in their average
FOUND = 0.4  # IoU from which on a face is found


@dataclass(frozen=True)
class DetectorTraining:
    """How the face detector is trained."""

    videos: Annotated[str, "folders of videos with faces, with commas between"] = ""
    backgrounds: Annotated[Path, "folder of pictures to put faces into"] = Path("backgrounds")
    save_path: Annotated[Path, "folder for pictures, checkpoints and weights"] = Path("detector")
    num_pictures: Annotated[int, "pictures made to train on"] = 12000
    held_out: Annotated[str, "people not trained on, for measuring, with commas between"] = ""
    student: Annotated[str, "weights trained before, whose mistakes are trained on more"] = ""
    steps: Annotated[int, "batches"] = 5000
    batch_size: Annotated[int, "pictures in a batch"] = 24
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
        """Return what pictures are made of: of the people trained on, or of the others."""
        folders = [Path(folder) for folder in self.videos.split(",")]
        held_out = tuple(name for name in self.held_out.split(",") if name)
        student = None
        if self.student:
            options = DetectorOptions(TinyFcos.name)
            student = load(find_file(self.student), options, "cpu", "fp32")
        return Sources(folders, self.backgrounds, held_out, only_held_out, self.seed, student)


@dataclass
class Run:
    """A training run: what changes from step to step, and how it is kept."""

    options: DetectorTraining
    network: TinyFcosNetwork
    averaged: TinyFcosNetwork
    optimiser: torch.optim.Optimizer
    step: int = 0
    losses: list[list[float]] = field(default_factory=list)  # since the last measurement

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return self.options.save_path / "last.model"

    def keep(self) -> None:
        """Write all that is needed to go on."""
        state = {
            "settings": settings(self.options),
            "step": self.step,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        checkpoints.write(self.path, state)

    def restore(self) -> None:
        """Go on where it was kept.

        Raises:
            UserError: The checkpoint is damaged, or was begun with other settings.
        """
        state = checkpoints.read(self.path)
        checkpoints.check_settings(self.path, state["settings"], settings(self.options))
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


def settings(options: DetectorTraining) -> dict[str, str | int | float | bool]:
    """Return what a run must go on with."""
    places = ("videos", "backgrounds", "save_path", "student", "keep_every")
    return {name: value for name, value in vars(options).items() if name not in places}


def begin(options: DetectorTraining) -> Run:
    """Return a fresh run, or the one that was kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        network = TinyFcosNetwork()
    averaged = TinyFcosNetwork()
    averaged.load_state_dict(network.state_dict())
    for one in (network, averaged):
        one.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    matrices = [value for value in network.parameters() if value.ndim > 1]
    vectors = [value for value in network.parameters() if value.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.02}, {"params": vectors, "weight_decay": 0.0}]
    run = Run(options, network, averaged, torch.optim.AdamW(groups, lr=options.lr))
    if run.path.is_file():
        run.restore()
        logger.info("going on after step %d", run.step)
    return run


def rate(step: int, options: DetectorTraining) -> float:
    """Return the learning rate: a straight rise, then half a cosine down to nothing."""
    if step < options.warm_up:
        return options.lr * (step + 1) / options.warm_up
    done = (step - options.warm_up) / max(1, options.steps - options.warm_up)
    return options.lr * (0.5 + 0.5 * math.cos(math.pi * min(1.0, done)))


def take_step(run: Run, pictures: PictureFolder) -> None:
    """Learn from one batch; the choices depend on the seed and the step alone.

    Raises:
        UserError: The loss is no number.
    """
    options = run.options
    rng = np.random.default_rng((options.seed, run.step))
    indices = rng.integers(len(pictures), size=options.batch_size)
    batch = draw_batch(pictures, [int(index) for index in indices], options.side, rng)
    images, boxes, clear = stack(batch)
    places = cells(options.side, options.side)
    for group in run.optimiser.param_groups:
        group["lr"] = rate(run.step, options)
    run.network.train()
    with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
        logits, distances = run.network(images.float())
    score_loss, box_loss = detection_loss(logits, distances, places, assign(places, boxes, clear))
    run.optimiser.zero_grad(set_to_none=True)
    (score_loss + box_loss).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), 10.0)
    losses = [score_loss.item(), box_loss.item()]
    if not all(math.isfinite(loss) for loss in losses):
        raise UserError(f"the losses of step {run.step} are {losses}: lower --lr")
    run.optimiser.step()
    run.step += 1
    run.losses.append(losses)
    follow(run.averaged, run.network, min(AVERAGE, run.step / (run.step + 10)))


@torch.no_grad()
def follow(averaged: TinyFcosNetwork, network: TinyFcosNetwork, kept: float) -> None:
    """Move the average of the weights towards the weights."""
    own = averaged.state_dict()
    for name, value in network.state_dict().items():
        if value.dtype.is_floating_point:
            own[name].lerp_(value, 1 - kept)
        else:
            own[name].copy_(value)


def measure(network: TinyFcosNetwork, pictures: PictureFolder) -> dict[str, float]:
    """Return recall, false boxes a picture and the mean IoU of what is found in pictures."""
    copy = TinyFcosNetwork()
    copy.load_state_dict(network.state_dict())
    detector = TinyFcos(copy)
    faces = found = false = 0
    shared: list[float] = []
    for index in range(len(pictures)):
        picture = pictures.read(index)
        boxes = detector.detect([picture.image])[0].boxes
        overlap = overlaps(picture.boxes, boxes)
        best = overlap.max(axis=1, initial=0)[picture.clear]
        faces += len(best)
        found += int((best >= FOUND).sum())
        shared += list(best[best >= FOUND])
        false += int((overlap.max(axis=0, initial=0) < FOUND).sum())
    return {
        "recall": found / max(1, faces),
        "false_boxes": false / max(1, len(pictures)),
        "iou": float(np.mean(shared)) if shared else 0.0,
    }


def report(run: Run, held_out: PictureFolder) -> None:
    """Measure the averaged network, write a line of the log and the weights."""
    score_loss, box_loss = np.mean(run.losses, axis=0)
    row = {"step": run.step, "score_loss": score_loss, "box_loss": box_loss}
    row |= measure(run.averaged, held_out)
    logger.info(", ".join(f"{name} {value:.4g}" for name, value in row.items()))
    put_row(run.options.save_path / "log.csv", list(row), row)
    run.losses.clear()
    checkpoints.write_halves(
        run.averaged.state_dict(), run.options.save_path / f"{TinyFcos.name}.safetensors"
    )


def train(options: DetectorTraining) -> None:
    """Make the pictures, then train to the last step, keeping what comes of it."""
    check_folder(options.save_path)
    if options.bf16:
        warn_of_slow_bf16("cpu")
    teacher = YuNet(get_weights("yunet"), DOUBTFUL, TEACHER_SIDE)
    folders = []
    for name, count in (("pictures", options.num_pictures), ("held_out", HELD_OUT_PICTURES)):
        sources = options.sources(only_held_out=name == "held_out")
        with bar(f"making {name}", count, "pictures") as advance:
            folders.append(prepare(teacher, sources, options.save_path / name, count, advance))
    run = begin(options)
    begun = time.monotonic()
    with bar("training", options.steps, "steps") as advance:
        while run.step < options.steps:
            take_step(run, folders[0])
            advance(run.step)
            if run.step % options.keep_every == 0 or run.step == options.steps:
                report(run, folders[1])
                run.keep()
    logger.info("trained in %.0f s", time.monotonic() - begun)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, train, return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    return run_command(train, DetectorTraining, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
