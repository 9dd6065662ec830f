"""Actions of the training command: train or resume, evaluate, store embeddings."""

import logging
from collections.abc import Sequence
from pathlib import Path

from model.checkpoints.build import network_class
from model.families.base import family_of, find_family
from model.ranks import Ranks
from model.training.initial_weights import load_or_begin
from model.training.network_trainer import describe_settings, make_trainer
from model.training.recipes import resolve
from model.training.run import Run, released_weights, train_at_terminal
from model.training.run_logs import EpochRow, Evaluated, is_past_best
from utils.training_options import Options

logger = logging.getLogger(__name__)


def check_network(options: Options) -> None:
    """Raise UserError if options do not apply to the family of the network."""
    find_family(network_class(options.network.model).family).check_options(options)


def train(options: Options, ranks: Ranks) -> str | None:
    """Train or resume training; return the result as text, None if stopped before the end."""
    network, start = load_or_begin(options.network, options.training.seed, ranks)
    family = family_of(network)
    source = family.open_source(network, options, "train", ranks)
    validation = family.open_labelled(network, options, ranks)
    family.check_pair(source, validation)
    trainer = make_trainer(network, options.training, ranks)
    data = family.describe(network, source, options)
    run = Run(trainer, options.run, describe_settings(trainer, options.training, start, data))
    run.resume()
    loader = family.make_loader(
        network, source, resolve(network.recipe, options.training), options, ranks
    )

    def evaluate() -> Evaluated:
        epoch = trainer.position.epoch
        return Evaluated(*family.measure(network, validation, options, ranks, epoch))

    def ended(rows: Sequence[EpochRow]) -> bool:
        patience = options.training.patience
        past = options.training.early_stopping and is_past_best(rows, patience)
        if past and ranks.first:
            logger.info("the loss has not decreased for %d evaluations: training ends", patience)
        return past

    return train_at_terminal(run, loader, evaluate, family.measured, ended)


def evaluate_only(options: Options, ranks: Ranks) -> str:
    """Evaluate weights on a split; return the result as text."""
    family = find_family(network_class(options.network.model).family)
    return family.evaluate(_weights(options), options, ranks)


def store_embeddings(options: Options, ranks: Ranks) -> None:
    """Store a clip network's embeddings of the training and validation splits."""
    family = find_family(network_class(options.network.model).family)
    family.store(_weights(options), options, ranks)


def _weights(options: Options) -> str | Path:
    """Return the weights named by the options, or the released ones."""
    network = options.network
    return network.pretrain_model or released_weights(network.model, options.data.data)
