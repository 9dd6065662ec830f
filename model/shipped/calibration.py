"""Weigh the refiners of Synchrony by what they are worth for people it was not trained on."""

import logging
from collections.abc import Iterator

import torch

from model.networks.synchrony import Refiner, Synchrony
from model.scoring.windows import inference_copy
from model.shipped.film_scores import ScoredPairing, correction_weights
from model.shipped.synchrony_lessons import encode_track
from utils.datasets.pairings.film import FilmPairer
from utils.features.mfcc import align, mfcc
from utils.progress import bar

logger = logging.getLogger(__name__)


@torch.inference_mode()
def split_scores(network: Synchrony, pairer: FilmPairer) -> Iterator[ScoredPairing]:
    """Yield pairings with the first score and the correction of every frame."""
    fast = inference_copy(network)
    with bar("calibrating", len(pairer), "pairings") as advance:
        for number, pairing in enumerate(pairer):
            features = align(mfcc(pairing.waveform), len(pairing.crops))
            audio = fast.encode_audio(torch.from_numpy(features)[None])
            faces = encode_track(fast, pairing.crops)[None]
            compared = fast.profile(*fast.normalised(audio, faces))
            first, corrections = fast.split_scores(compared, audio, faces)
            scores = {"first": first, "correction": corrections.mean(0)}
            yield ScoredPairing(
                pairing.person,
                pairing.situation,
                pairing.labels,
                {name: rows[0].numpy() for name, rows in scores.items()},
            )
            advance(number + 1)


def calibrate(network: Synchrony, pairer: FilmPairer) -> tuple[float, float]:
    """Scale and shift the refiners' output; return the factor and the offset."""
    weight, offset = correction_weights(list(split_scores(network, pairer)), "first", "correction")
    with torch.no_grad():
        for refiner in network.judges:
            assert isinstance(refiner, Refiner)
            refiner.head.weight.mul_(weight)
            refiner.head.bias.mul_(weight).add_(offset)
    logger.info("corrections count %.2f times, plus %.2f", weight, offset)
    return weight, offset
