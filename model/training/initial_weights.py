"""Networks with their initial weights for training and evaluation."""

import logging

from model.checkpoints.build import build_network, read_variant
from model.checkpoints.files import read_weights
from model.checkpoints.registry import find_file
from model.contract import Model
from model.families.base import load_weights
from model.layers.resnet18 import imagenet_weights
from model.ranks import Ranks
from model.training.recipes import seeded
from utils.errors import ResourceError, UserError
from utils.training_options import NetworkOptions

logger = logging.getLogger(__name__)

IMAGENET = "imagenet"  # a network's `initial` from torchvision
NOTHING = "none"  # value of --initial


def load_or_begin(options: NetworkOptions, seed: int, ranks: Ranks) -> tuple[Model, str]:
    """Return the network that training starts from, and a short description of its weights.

    Args:
        options: The network, its variant and its weights; random weights by default.
        seed: Seed of random weights.
        ranks: The first process downloads weights if necessary, the others wait for it.
    """
    if options.pretrain_model is not None:
        network: Model = load_weights(options, options.pretrain_model, ranks)
        assert network.weights is not None
        return network, network.weights.sha256[:16]
    if not ranks.first:
        ranks.wait_for_all()
    network, start = _begin(options, seed, ranks)
    if ranks.first:
        ranks.wait_for_all()
    return network, start


def _begin(options: NetworkOptions, seed: int, ranks: Ranks) -> tuple[Model, str]:
    """Return a new network with its authors' initial weights."""
    with seeded(seed, ranks.device):
        network = build_network(options.model, read_variant(options.model, options.variant))
    initial = options.initial or network.initial or NOTHING
    if initial == NOTHING:
        return network.to(ranks.device), f"fresh {options.variant}".strip()
    try:
        if initial == IMAGENET:
            network.begin_from(imagenet_weights())
        else:
            network.begin_from(read_weights(find_file(initial)).state)
    except (UserError, ResourceError, FileNotFoundError) as error:
        raise type(error)(
            f"{options.model} starts from {initial}: {error}; --initial none starts at random"
        ) from error
    logger.info("network: %s, initialised from %s", options.model, initial)
    return network.to(ranks.device), f"fresh {options.variant}, from {initial}"
