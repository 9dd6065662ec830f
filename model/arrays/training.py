"""Train and evaluate a localizer, and merge the losses of the folds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from model.arrays.objective import LocalisationObjective, learning_rate, localisation_loss
from model.checkpoints import training as checkpoints
from model.contract import Localizer
from model.ranks import Ranks
from model.training.network_trainer import describe_settings
from model.training.recipes import make_optimiser, resolve
from model.training.run import Hooks, Run
from model.training.run_logs import Evaluated
from model.training.trainer import Schedule, StepOptions, Trainer
from utils.arrays.line_plot import Axis, Curve, draw_curves, fitting_axis
from utils.arrays.spectra import FPS
from utils.datasets.tragic_talkers.chunks import CHUNK_FRAMES
from utils.datasets.tragic_talkers.loader import ChunkBatch, ChunkLoader
from utils.errors import UserError
from utils.metrics.localisation import TOLERANCES, WIDTH, LocalisedFrames, area, precision_recall
from utils.progress import Position
from utils.training_options import RunOptions, TrainingOptions


@dataclass(frozen=True)
class LocalizerTraining:
    """All settings of a training."""

    training: TrainingOptions = TrainingOptions()
    run: RunOptions = RunOptions()
    condition: Annotated[str, "supervision: source of positions, then GT or VAD"] = "GT_GT"
    plain_decay: Annotated[
        bool, "decay by 0.9 per epoch after epoch 30, instead of the published compounding decay"
    ] = False
    fold: Annotated[int, "validate on one fifth of the sequences, 0 to 4; -1: train on all"] = -1


def make_localizer_trainer(
    network: Localizer, settings: LocalizerTraining, ranks: Ranks
) -> Trainer:
    """Return the trainer of a localizer with the published loss and learning rate."""
    options, compounding = settings.training, not settings.plain_decay
    recipe = resolve(network.recipe, options)
    objective = LocalisationObjective(network).to(ranks.device)

    def rate(position: Position) -> float:
        return learning_rate(recipe.lr, position.epoch, compounding)

    return Trainer(
        objective,
        make_optimiser(objective, recipe),
        Schedule(rate, recipe.max_epoch, options.test_interval),
        ranks,
        StepOptions(options.seed),
    )


@torch.inference_mode()
def validate(objective: LocalisationObjective, loader: ChunkLoader, ranks: Ranks) -> Evaluated:
    """Return the average precision within 2 degrees and the mean loss per chunk."""
    objective.eval()
    parts = []
    totals = torch.zeros(2, dtype=torch.float64)
    for batch in loader.epoch(1):
        part = ChunkBatch(*(tensor.to(ranks.device) for tensor in batch))
        located = objective.locate(part.features, part.cameras).float()
        loss = localisation_loss(located, part).double().cpu()
        totals += torch.stack((loss, part.counted.sum().double().cpu()))
        parts.append(_frames(located.cpu().numpy(), batch))
    parts = [frames for group in ranks.gather(parts) for frames in group]
    loss, num_views = ranks.add(totals.to(ranks.device)).tolist()
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    ap = area(precision_recall(LocalisedFrames(*columns), TOLERANCES[0]))
    return Evaluated(ap, loss / max(1.0, num_views))


def _frames(located: np.ndarray[Any, Any], batch: ChunkBatch) -> tuple[np.ndarray[Any, Any], ...]:
    """Return truth and prediction of the frames of a batch, in the order of LocalisedFrames."""
    counted = batch.counted.numpy()
    speaking = (batch.speaking & batch.located).numpy()[counted].ravel()
    positions = batch.positions.numpy()[counted].ravel() * WIDTH
    return (
        positions,
        speaking,
        located[counted][..., 0].ravel() * WIDTH,
        located[counted][..., 1].ravel(),
    )


def train_localizer(
    network: Localizer,
    loader: ChunkLoader,
    validation: ChunkLoader | None,
    settings: LocalizerTraining,
    ranks: Ranks,
    hooks: Hooks,
) -> Run:
    """Train from the beginning or from the run's last checkpoint; return the run.

    Also writes train_loss.pt, val_loss.pt (lists, loss per chunk) and training_plot.png to its
    folder.

    Args:
        network: Trained in place.
        loader: Yields the training batches.
        validation: Yields the validation batches; None skips evaluation.
        settings: All settings of the training.
        ranks: The processes that share the work.
        hooks: Callbacks of the run.
    """
    trainer = make_localizer_trainer(network, settings, ranks)
    data_settings: dict[str, str | int | float | bool] = {
        "--feature": loader.source.feature,
        "--condition": settings.condition,
        "--fold": settings.fold,
        "--plainDecay": settings.plain_decay,
        "--chunks": loader.options.batch_size,
        "--groupCameras": loader.options.group_cameras,
        "number of chunks": sum(map(len, loader.items)),
    }
    start = network.weights.name if network.weights else ""
    run = Run(
        trainer, settings.run, describe_settings(trainer, settings.training, start, data_settings)
    )
    run.resume()
    objective = trainer.objective
    assert isinstance(objective, LocalisationObjective)
    evaluate = None if validation is None else lambda: validate(objective, validation, ranks)
    run.train(loader, evaluate, hooks)
    if ranks.first:
        write_losses(run)
    return run


def write_losses(run: Run) -> None:
    """Write the losses per chunk over the epochs, as published lists and as a plot."""
    losses = {
        "train": [CHUNK_FRAMES * row.loss for row in run.rows],
        "val": [row.val_loss for row in run.rows if row.val_loss is not None],
    }
    for name, values in losses.items():
        checkpoints.write(run.folder / f"{name}_loss.pt", values)
    plot_losses(losses, run.folder / "training_plot.png")


def merge_folds(folders: Sequence[Path], target: Path) -> Mapping[str, list[float]]:
    """Write the mean losses of all folds as global_*_loss.pt and a plot; return them.

    Raises:
        FileNotFoundError: A fold is not trained yet; the message names it.
        UserError: Folds were trained for different numbers of epochs.
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
                f"expected the same number of epochs for all folds, found "
                f"{[len(v) for v in losses]} of {name}; complete their training first"
            )
        merged[name] = np.mean(losses, axis=0).tolist()
        checkpoints.write(target / f"global_{name}_loss.pt", merged[name])
    plot_losses(merged, target / "training_plot.png")
    return merged


def plot_losses(losses: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw the loss per chunk over the epochs, one curve per name."""
    curves = [
        Curve(name, list(range(1, len(values) + 1)), list(values))
        for name, values in losses.items()
        if values
    ]
    longest = max((len(values) for values in losses.values()), default=1)
    highest = fitting_axis(
        f"loss per chunk ({CHUNK_FRAMES // FPS} s)",
        [value for curve in curves for value in curve.ys],
    )
    draw_curves("training", Axis("epoch", 1, max(2, longest)), highest, curves, path)
