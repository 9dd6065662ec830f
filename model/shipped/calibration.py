"""Weight the refiners of Synchrony by what they are worth for people it was not trained on."""

import logging
from collections.abc import Iterator, Sequence

import torch

from model.contract import Network
from model.networks.synchrony import Refiner, Synchrony
from model.scoring.prepared import inference_copy
from model.scoring.windows import score_track
from model.shipped.film_scores import (
    ScoredPairing,
    correction_weights,
    count_errors,
    mean_rates,
)
from model.shipped.synchrony_lessons import encode_track
from utils.datasets.pairings.film import FilmPairer
from utils.features.mfcc import align, mfcc
from utils.progress import bar

logger = logging.getLogger(__name__)

HIGHEST = 8.0  # threshold that is tried, either sign
BISECTIONS = 12


@torch.inference_mode()
def split_scores(
    network: Synchrony, teacher: Network, pairer: FilmPairer
) -> Iterator[ScoredPairing]:
    """Yield pairings with the teacher's score, the first score and the correction (T,)."""
    fast = inference_copy(network)
    with bar("calibrating", len(pairer), "pairings") as advance:
        for number, pairing in enumerate(pairer):
            features = align(mfcc(pairing.waveform), len(pairing.crops))
            audio = fast.encode_audio(torch.from_numpy(features)[None])
            faces = encode_track(fast, pairing.crops)[None]
            compared = fast.profile(*fast.normalised(audio, faces))
            first, corrections = fast.split_scores(compared, audio, faces)
            scores = {
                "first": first[0].numpy(),
                "correction": corrections.mean(0)[0].numpy(),
                "teacher": score_track(teacher, pairing.crops, pairing.waveform),
            }
            yield ScoredPairing(pairing.person, pairing.situation, pairing.labels, scores)
            advance(number + 1)


def calibrate(network: Synchrony, teacher: Network, pairer: FilmPairer) -> tuple[float, float]:
    """Scale and shift the refiners' output; return the weight and the offset.

    The weight is that of `correction_weights`. The offset is the least with which no more speech
    is missed than by the teacher, and at least the calibrated one.
    """
    pairings = list(split_scores(network, teacher, pairer))
    weight, offset = correction_weights(pairings, "first", "correction")
    for one in pairings:
        one.scores["sum"] = one.scores["first"] + weight * one.scores["correction"]
    most = mean_rates(count_errors(pairings, "teacher"))["misses"]
    offset = max(offset, -_threshold(pairings, most))
    with torch.no_grad():
        for refiner in network.judges:
            assert isinstance(refiner, Refiner)
            refiner.head.weight.mul_(weight)
            refiner.head.bias.mul_(weight).add_(offset)
    logger.info("the correction counts %.2f times, plus %.2f", weight, offset)
    return weight, offset


def _threshold(pairings: Sequence[ScoredPairing], most: float) -> float:
    """Return the highest threshold of `sum` with which no more than `most` speech is missed."""
    low, high = -HIGHEST, HIGHEST
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if mean_rates(count_errors(pairings, "sum", middle))["misses"] <= most:
            low = middle
        else:
            high = middle
    return low
