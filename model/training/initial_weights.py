"""Networks as training and evaluation begin with them."""

import logging

from model.checkpoints.build import build_network, load_single, read_variant
from model.checkpoints.files import read_weights
from model.checkpoints.registry import find_file
from model.contract import Model
from model.layers.resnet18 import imagenet_weights
from model.ranks import Ranks
from model.training.recipes import seeded
from utils.errors import ResourceError, UserError
from utils.training_options import NetworkOptions

logger = logging.getLogger(__name__)

IMAGENET = "imagenet"  # a network's `initial` that torchvision brings
NOTHING = "none"  # of --initial


def load_or_begin(
    options: NetworkOptions, seed: int, ranks: Ranks, default: str | None
) -> tuple[Model, str]:
    """Return the network and, in a few words, what its weights are.

    Args:
        options: Name the network, its variant and its weights.
        seed: Draws fresh weights.
        ranks: The first process downloads weights if need be, the others wait for it.
        default: Name of the weights where none are given; None is fresh ones.
    """
    weights = options.pretrain_model or default
    if not ranks.first:
        ranks.wait_for_all()
    if weights is None:
        network, start = _begin(options, seed, ranks)
    else:
        if options.variant:
            raise UserError("--variant is for a network that begins anew; weights bring theirs")
        network = load_single(options.model, weights, str(ranks.device))
        assert network.weights is not None
        logger.info("network: %s (%s)", options.model, network.weights.path)
        start = network.weights.sha256[:16]
    if ranks.first:
        ranks.wait_for_all()
    return network, start


def _begin(options: NetworkOptions, seed: int, ranks: Ranks) -> tuple[Model, str]:
    """Return a network that begins anew, from what its authors begin from."""
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
            f"{options.model} begins from {initial}: {error}; --initial none begins at random"
        ) from error
    logger.info("network: %s, begun from %s", options.model, initial)
    return network.to(ranks.device), f"fresh {options.variant}, from {initial}"
