"""Train ava_asd as its authors do: on windows, of which an epoch draws as many of either class."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from model.ava_asd_evaluation import score_windows
from model.networks.ava_asd import AvaASD
from model.ranks import Ranks
from model.runs import Hooks, Run, describe_settings
from model.training import Trainer
from utils.datasets.ava_asd_loading import WindowChoice, WindowLoader, WindowSet
from utils.metrics.average_precision import average_precision
from utils.training_settings import RunOptions, TrainingOptions

JUDGED = 1  # a generator's purpose; the loader has its own


@dataclass(frozen=True)
class WindowTraining:
    """All settings of a training on windows."""

    training: TrainingOptions = TrainingOptions()
    run: RunOptions = RunOptions()
    choice: WindowChoice = WindowChoice()
    val_share: Annotated[float, "share of the validation windows that judges an epoch"] = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.val_share <= 1:
            raise ValueError(f"val_share must be above 0 and at most 1, got {self.val_share}")


def train_windows(
    network: AvaASD,
    windows: WindowSet,
    validation: WindowSet | None,
    settings: WindowTraining,
    ranks: Ranks,
    hooks: Hooks,
) -> Run:
    """Train from the beginning, or from where the run's folder stands; return the run.

    An epoch is judged by the average precision over a share of the validation windows, which is
    drawn anew each time.

    Args:
        network: Trained in place, by its recipe.
        windows: What is learnt from.
        validation: Judges; None for none.
        settings: How.
        ranks: The processes that share the work.
        hooks: Asked and told on the way.
    """
    trainer = Trainer(network, settings.training, ranks)
    choice = settings.choice
    described: dict[str, str | int | float | bool] = {
        "mode": network.mode,
        "number of windows": len(windows),
        "share": choice.share,
        "balanced": choice.balanced,
        "windows of a batch": choice.batch_size,
    }
    start = network.weights.name if network.weights else ""
    run = Run(
        trainer, settings.run, describe_settings(trainer, settings.training, start, described)
    )
    run.resume()
    loader = WindowLoader(windows, choice, ranks.rank, ranks.size)

    def evaluate() -> float:
        assert validation is not None
        return _judge(network, validation, settings, trainer.position.epoch)

    run.train(loader, evaluate if validation else None, hooks)
    return run


def _judge(network: AvaASD, validation: WindowSet, settings: WindowTraining, epoch: int) -> float:
    """Return the average precision over a share of the windows; every process has the same."""
    rng = np.random.default_rng((settings.choice.seed, epoch, JUDGED))
    count = max(1, int(len(validation) * settings.val_share))
    chosen = np.sort(rng.choice(len(validation), count, replace=False))
    speaking = validation.speaking[chosen]
    if not speaking.any():
        raise ValueError(
            f"none of the {count} validation windows that judge epoch {epoch} is speaking; "
            "raise val_share or give more validation data"
        )
    scores = score_windows(network, validation, settings.choice, chosen)
    return average_precision(speaking, scores["main"])
