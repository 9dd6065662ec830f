"""Train a localizer on the common engine: the published loss, schedule and folds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
from torch import Tensor

from model.arrays.localisation import LocalisationObjective, localisation_loss, rate
from model.checkpoints import training as checkpoints
from model.contract import Localizer
from model.ranks import Ranks
from model.training.recipes import make_optimiser
from model.training.run import Hooks, Run, describe_settings
from model.training.trainer import Trainer
from utils.arrays.line_plot import Axis, Curve, draw_curves, fitting_axis
from utils.arrays.spectra import FPS
from utils.datasets.loading.training_batch import TrainingBatch
from utils.datasets.tragic_talkers.chunks import CHUNK_FRAMES
from utils.datasets.tragic_talkers.loader import ChunkBatch, ChunkLoader
from utils.errors import UserError
from utils.metrics.localisation import TOLERANCES, WIDTH, LocalisedFrames, area, precision_recall
from utils.training_options import RunOptions, TrainingOptions

AT_ONCE = 32  # sounds passed at once, to fit memory


@dataclass(frozen=True)
class ScheduleOptions:
    """How the learning rate falls."""

    plain_decay: Annotated[
        bool, "0.9 for each epoch after 30; as published the decay itself compounds"
    ] = False


@dataclass(frozen=True)
class LocalizerTraining:
    """All settings of a training."""

    training: TrainingOptions = TrainingOptions()
    run: RunOptions = RunOptions()
    schedule: ScheduleOptions = ScheduleOptions()
    condition: Annotated[str, "supervision: where positions come from, then GT or VAD"] = "GT_GT"
    fold: Annotated[int, "validate on a fifth of the sequences, 0 to 4; -1 trains on all"] = -1


class LocalizerTrainer(Trainer):
    """The common trainer with the published objective and learning rate.

    Args:
        network: Trained in place.
        options: How.
        schedule: How the rate falls.
        ranks: The processes that share the work.
    """

    advice = "lower --lr, or check the sound"

    def __init__(
        self,
        network: Localizer,
        options: TrainingOptions,
        schedule: ScheduleOptions,
        ranks: Ranks,
    ) -> None:
        super().__init__(network, options, ranks)
        self.schedule = schedule
        self.validation: list[float] = []  # loss of a chunk, epoch by epoch
        self.localising = LocalisationObjective(network).to(ranks.device)
        self.optimiser = make_optimiser(self.localising, self.recipe)
        self.parallel = self.spread(self.localising)

    def step(self, batch: TrainingBatch | ChunkBatch) -> None:
        """Learn from one batch, divided among the processes and into parts that fit memory."""
        chunks = cast("ChunkBatch", batch)
        position, device = self.position, self.ranks.device
        own = torch.stack((chunks.counted.sum(), torch.tensor(len(chunks.counted))))
        views, sounds = self.ranks.add(own).tolist()
        most = -(-sounds // self.ranks.size)  # sounds of one process
        num_parts = -(-most // AT_ONCE)
        split = (tensor.to(device).tensor_split(num_parts) for tensor in chunks)
        parts = [ChunkBatch(*part) for part in zip(*split, strict=True)]
        self._set_rate()
        position.sums.loss += self.update(parts, self._learn)
        position.sums.frames += views * CHUNK_FRAMES

    def _learn(self, part: ChunkBatch, last: bool) -> Tensor:
        """Add the gradient of one part; return its loss and number of right frames."""
        self.share.counts = len(part.counted) > 0
        if not self.share.counts:  # a process without any takes part all the same
            part = ChunkBatch(*(tensor.new_zeros(1, *tensor.shape[1:]) for tensor in part))
        return self.add_gradient(last, part)

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch."""
        return rate(self.recipe.lr, epoch, not self.schedule.plain_decay)

    def state(self) -> dict[str, Any]:
        """Return all that changes while training, but for the network's own weights."""
        return {**super().state(), "validation": list(self.validation)}

    def restore(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go on where `state` was taken, with the network's weights of that moment."""
        super().restore(weights, state)
        self.validation = list(state["validation"])

    @torch.inference_mode()
    def validate(self, loader: ChunkLoader) -> float:
        """Note the loss of a validation chunk; return the average precision within 2 degrees."""
        self.localising.eval()
        parts = []
        totals = torch.zeros(2, dtype=torch.float64)
        for batch in loader.epoch(1):
            part = ChunkBatch(*(tensor.to(self.ranks.device) for tensor in batch))
            found = self.localising.locate(part.features, part.cameras).float()
            loss = localisation_loss(found, part).double().cpu()
            totals += torch.stack((loss, part.counted.sum().double().cpu()))
            parts.append(_frames(found.cpu().numpy(), batch))
        parts = [frames for group in self.ranks.gather(parts) for frames in group]
        loss, views = self.ranks.add(totals.to(self.ranks.device)).tolist()
        self.validation.append(loss / max(1.0, views))
        columns = (np.concatenate(column) for column in zip(*parts, strict=True))
        return area(precision_recall(LocalisedFrames(*columns), TOLERANCES[0]))


def _frames(found: np.ndarray[Any, Any], batch: ChunkBatch) -> tuple[np.ndarray[Any, Any], ...]:
    """Return truth and prediction of the frames of a batch, as LocalisedFrames has them."""
    counted = batch.counted.numpy()
    speaking = (batch.speaking & batch.located).numpy()[counted].ravel()
    positions = batch.positions.numpy()[counted].ravel() * WIDTH
    return (
        positions,
        speaking,
        found[counted][..., 0].ravel() * WIDTH,
        found[counted][..., 1].ravel(),
    )


def train_localizer(
    network: Localizer,
    loader: ChunkLoader,
    validation: ChunkLoader | None,
    settings: LocalizerTraining,
    ranks: Ranks,
    hooks: Hooks,
) -> Run:
    """Train from the beginning, or from where the run's folder stands; return the run.

    The folder also gets train_loss.pt, val_loss.pt (lists, loss of a chunk) and
    training_plot.png.

    Args:
        network: Trained in place.
        loader: What is learned from.
        validation: Judges each epoch; None for none.
        settings: How.
        ranks: The processes that share the work.
        hooks: Asked and told on the way.
    """
    trainer = LocalizerTrainer(network, settings.training, settings.schedule, ranks)
    described: dict[str, str | int | float | bool] = {
        "--feature": loader.source.feature,
        "--condition": settings.condition,
        "--fold": settings.fold,
        "--plainDecay": settings.schedule.plain_decay,
        "--chunks": loader.options.batch_size,
        "--groupCameras": loader.options.group_cameras,
        "number of chunks": sum(map(len, loader.items)),
    }
    start = network.weights.name if network.weights else ""
    run = Run(
        trainer, settings.run, describe_settings(trainer, settings.training, start, described)
    )
    run.resume()
    judge = None if validation is None else lambda: trainer.validate(validation)
    run.train(loader, judge, hooks)  # type: ignore[arg-type] # batches of chunks, for its step
    if ranks.first:
        write_losses(run, trainer.validation)
    return run


def write_losses(run: Run, validation: Sequence[float]) -> None:
    """Write the losses of a run as published lists and as a plot."""
    chunk = CHUNK_FRAMES
    losses = {"train": [chunk * row.loss for row in run.rows], "val": list(validation)}
    for name, values in losses.items():
        checkpoints.write(run.folder / f"{name}_loss.pt", values)
    plot_losses(losses, run.folder / "training_plot.png")


def merge_folds(folders: Sequence[Path], target: Path) -> Mapping[str, list[float]]:
    """Write the mean losses of the folds' runs as global_*_loss.pt and their plot; return them.

    Raises:
        FileNotFoundError: A fold is not trained yet; names it.
        UserError: Folds have been trained for different numbers of epochs.
    """
    merged = {}
    for name in ("train", "val"):
        paths = [folder / f"{name}_loss.pt" for folder in folders]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise FileNotFoundError(f"expected the losses of every fold, found no {missing[0]}")
        losses = [torch.load(path, weights_only=True) for path in paths]
        if len({len(values) for values in losses}) != 1:
            raise UserError(
                f"expected as many epochs of each fold, found {[len(v) for v in losses]} of "
                f"{name}; train all of them to the end first"
            )
        merged[name] = np.mean(losses, axis=0).tolist()
        checkpoints.write(target / f"global_{name}_loss.pt", merged[name])
    plot_losses(merged, target / "training_plot.png")
    return merged


def plot_losses(losses: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw the loss of a chunk over the epochs, a curve for each name."""
    curves = [
        Curve(name, list(range(1, len(values) + 1)), list(values))
        for name, values in losses.items()
        if values
    ]
    longest = max((len(values) for values in losses.values()), default=1)
    highest = fitting_axis(
        f"loss of a chunk ({CHUNK_FRAMES // FPS} s)",
        [value for curve in curves for value in curve.ys],
    )
    draw_curves("training", Axis("epoch", 1, max(2, longest)), highest, curves, path)
