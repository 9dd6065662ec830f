"""Create the trainer of a network, and describe the settings of its run."""

from model.checkpoints.training import Settings
from model.contract import Model, Recipe
from model.ranks import Ranks
from model.training.losses import Contrast, SpeakingObjective
from model.training.recipes import freeze, make_optimiser, resolve, seeded, use_bf16
from model.training.trainer import Schedule, StepOptions, Trainer
from utils.progress import Position
from utils.training_options import TrainingOptions


def make_trainer(network: Model, options: TrainingOptions, ranks: Ranks) -> Trainer:
    """Return the trainer of a network with its authors' losses, optimiser and learning rate.

    Args:
        network: Trained in place.
        options: Options that override the recipe.
        ranks: The processes that share the work.
    """
    recipe = resolve(network.recipe, options)
    network.to(ranks.device)
    freeze(network, options.frozen_patterns)
    with seeded(options.seed, ranks.device):
        objective = SpeakingObjective(
            network, recipe, Contrast(options.contrast), options.frames_at_once
        )
    objective.to(ranks.device)
    return Trainer(
        objective,
        make_optimiser(objective, recipe),
        make_schedule(recipe, options),
        ranks,
        StepOptions(options.seed, use_bf16(options, ranks.device)),
    )


def make_schedule(recipe: Recipe, options: TrainingOptions) -> Schedule:
    """Return a recipe's learning rate schedule: decay by epoch and, in some recipes, by update."""

    def rate(position: Position) -> float:
        epochs = (position.epoch - 1) // recipe.decay_every
        return recipe.lr * recipe.lr_decay**epochs / (1 + recipe.update_decay * position.updates)

    return Schedule(rate, recipe.max_epoch, options.test_interval)


def describe_settings(
    trainer: Trainer, options: TrainingOptions, start: str, data: Settings
) -> Settings:
    """Return all settings that must be unchanged when a run is resumed, by flag.

    The number of processes, the device and the output may change; so may the number of epochs,
    because the learning rate does not depend on it.

    Args:
        trainer: The trainer.
        options: Options; unset ones come from the network's recipe.
        start: Description of the initial weights.
        data: Settings of the data.
    """
    network = trainer.network
    assert isinstance(network, Model)
    recipe = resolve(network.recipe, options)
    return {
        "--model": type(network).__module__.rpartition(".")[2],
        "--pretrainModel": start,
        "--lr": recipe.lr,
        "--lrDecay": recipe.lr_decay,
        "--batchSize": recipe.batch_size,
        "--framesAtOnce": options.frames_at_once,
        "--freeze": ",".join(options.frozen_patterns),
        "--contrast": options.contrast,
        "--seed": options.seed,
        "--precision": "bf16" if trainer.options.bf16 else "fp32",
        **data,
    }
