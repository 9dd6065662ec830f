"""Weight what Synchrony adds to its first score by its worth for people it was not trained on."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

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
from utils.datasets.entities import NOT_SPEAKING, SPEAKING
from utils.datasets.pairings.film import FilmPairer, FilmPairing
from utils.datasets.pairings.film_shots import shots_of_two
from utils.features.mfcc import align, mfcc
from utils.progress import bar

logger = logging.getLogger(__name__)

HIGHEST = 8.0  # threshold that is tried, either sign
BISECTIONS = 12
RIDGE = 1e-3  # of the squared weights of the evidence


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


def calibrate_match(network: Synchrony, pairer: FilmPairer) -> None:
    """Set the weights of the evidence to those of the log-odds of whose voice is heard.

    They come from a logistic regression on shots of two people who move their lips while exactly
    one of them is heard.
    """
    gaps = np.concatenate(list(_gaps(network, pairer)))  # (N, windows)

    def loss(weights: NDArray[np.float64]) -> float:
        return float(np.logaddexp(0, -gaps @ weights).mean() + RIDGE * weights @ weights)

    weights = minimize(loss, np.ones(gaps.shape[1])).x
    with torch.no_grad():
        network.match_weights.copy_(torch.from_numpy(weights))
    logger.info("the weights of the evidence are %s", np.round(weights, 2))


@torch.inference_mode()
def _gaps(network: Synchrony, pairer: FilmPairer) -> Iterator[NDArray[np.float64]]:
    """Yield the evidence of who is heard minus that of who is not, (N, windows), of each shot."""
    fast = inference_copy(network)
    embedded: dict[int, torch.Tensor] = {}  # by track

    def embed(track: FilmPairing, num_frames: int) -> torch.Tensor:
        if id(track) not in embedded:
            embedded[id(track)] = encode_track(fast, track.crops)
        return embedded[id(track)][:num_frames]

    for shot in shots_of_two(pairer, pairer.seed):
        num_frames = shot.labels.shape[1]
        features = torch.from_numpy(align(mfcc(shot.waveform), num_frames))
        audio = fast.encode_audio(features[None]).expand(2, -1, -1)
        faces = torch.stack([embed(track, num_frames) for track in shot.faces])
        above = fast.above(fast.profile(*fast.normalised(audio, faces))).double().numpy()
        gap = (above[0] - above[1]).T
        first, second = shot.labels
        yield gap[(first == SPEAKING) & (second == NOT_SPEAKING)]
        yield -gap[(first == NOT_SPEAKING) & (second == SPEAKING)]


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
