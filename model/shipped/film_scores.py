"""How well networks score pairings made as films are: misses, false alarms, and their intervals."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from utils.datasets.entities import NOT_SPEAKING, SPEAKING, UNLABELLED
from utils.metrics.average_precision import average_precision

OWN = ("own", "over")  # situations in which a face is heard
OWN_PRIOR = 0.95  # share of frames in which a face is heard alone, or nobody is
NUM_RESAMPLES = 1000
INTERVAL = (2.5, 97.5)  # percentiles
STRENGTHS = ("weak", "middling", "strong")
RELIABILITY_BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 1.01)  # of probability


@dataclass(frozen=True, eq=False)
class ScoredPairing:
    """The labels of a pairing, and its scores by some networks."""

    person: str
    situation: str
    labels: NDArray[np.int8]  # (T,)
    scores: dict[str, NDArray[np.float32]]  # (T,) by network, speaking above 0


@dataclass(frozen=True)
class _Count:
    """Frames of one person, and those of them that a network gets wrong."""

    wrong: int
    frames: int


Counts = dict[str, dict[str, _Count]]  # by measure and person


def count_errors(pairings: Iterable[ScoredPairing], network: str, threshold: float = 0) -> Counts:
    """Return the errors of a network by measure and person.

    Measures are `error` and `misses` with the own voice alone, `misses over` with another voice
    over the own one, and `false SITUATION`.
    """
    frames: dict[tuple[str, str], NDArray[np.int64]] = defaultdict(lambda: np.zeros(2, np.int64))
    for pairing in pairings:
        speaks = pairing.scores[network] > threshold
        true, false = pairing.labels == SPEAKING, pairing.labels == NOT_SPEAKING
        situation = pairing.situation
        masks = {f"false {situation}": (false, speaks)}
        if situation in OWN or situation.startswith("beside"):
            masks["misses" if situation == "own" else f"misses {situation}"] = (true, ~speaks)
        if situation == "own":
            known = pairing.labels != UNLABELLED
            masks["error"] = (known, speaks != true)
        for measure, (mask, wrong) in masks.items():
            frames[measure, pairing.person] += (int((mask & wrong).sum()), int(mask.sum()))
    counts: Counts = defaultdict(dict)
    for (measure, person), (wrong, total) in frames.items():
        if total:
            counts[measure][person] = _Count(int(wrong), int(total))
    return counts


def mean_rates(counts: Counts) -> dict[str, float]:
    """Return the rate of each measure, the mean over people."""
    return {
        measure: float(np.mean([count.wrong / count.frames for count in people.values()]))
        for measure, people in counts.items()
    }


def rate_intervals(counts: Counts, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each mean rate, by resampling people."""
    intervals = {}
    for measure, people in counts.items():
        rates = np.array([count.wrong / count.frames for count in people.values()])
        drawn = rng.integers(len(rates), size=(NUM_RESAMPLES, len(rates)))
        low, high = np.percentile(rates[drawn].mean(1), INTERVAL)
        intervals[measure] = (float(low), float(high))
    return intervals


@dataclass(frozen=True)
class ReliabilityRow:
    """Frames whose evidence and probability of speaking lie within bounds."""

    evidence: str  # "weak", "middling" or "strong"
    predicted: float  # mean probability
    observed: float  # share that speaks
    share: float  # of all frames


def reliability(
    pairings: Sequence[ScoredPairing], network: str, match: str
) -> list[ReliabilityRow]:
    """Return how often faces speak by their predicted probability and the strength of evidence.

    Frames are weighted as in `correction_weights`. The strength is the distance of the match from
    its median, in thirds.
    """
    known = [one.labels != UNLABELLED for one in pairings]
    scored = list(zip(pairings, known, strict=True))
    score = np.concatenate([one.scores[network][mask] for one, mask in scored]).astype(np.float64)
    found = np.concatenate([one.scores[match][mask] for one, mask in scored])
    target = np.concatenate([one.labels[mask] == SPEAKING for one, mask in scored])
    weight = np.concatenate(_weights(pairings))
    strength = np.abs(found - np.median(found))
    third = np.searchsorted(np.quantile(strength, (1 / 3, 2 / 3)), strength)
    probability = 1 / (1 + np.exp(-2 * score))
    rows = []
    for number, name in enumerate(STRENGTHS):
        for low, high in pairwise(RELIABILITY_BINS):
            mask = (third == number) & (probability >= low) & (probability < high)
            share = weight[mask].sum()
            if share > 0:
                predicted = float(weight[mask] @ probability[mask] / share)
                observed = float(weight[mask] @ target[mask] / share)
                rows.append(ReliabilityRow(name, predicted, observed, float(share)))
    return rows


def ordinary_precision(pairings: Iterable[ScoredPairing], network: str) -> float:
    """Return the average precision over all frames with the own voice alone."""
    own = [one for one in pairings if one.situation == "own"]
    labels = np.concatenate([one.labels for one in own])
    scores = np.concatenate([one.scores[network] for one in own])
    known = labels != UNLABELLED
    return average_precision(labels[known] == SPEAKING, scores[known])


def correction_weights(
    pairings: Sequence[ScoredPairing], first: str, correction: str
) -> tuple[float, float]:
    """Return weight and offset that make a correction count what it is worth.

    The sum of a first score, `weight` times the correction and `offset` is a calibrated log-odds
    (up to a common factor) by logistic regression (Platt, 1999). All people count alike, and the
    own voice is heard in `OWN_PRIOR` of all frames, as in ordinary video.
    """
    rows, targets = [], []
    for one in pairings:
        known = one.labels != UNLABELLED
        rows.append(np.stack([one.scores[first][known], one.scores[correction][known]], 1))
        targets.append(one.labels[known] == SPEAKING)
    inputs, target = np.concatenate(rows).astype(np.float64), np.concatenate(targets)
    weight = np.concatenate(_weights(pairings))

    def loss(values: NDArray[np.float64]) -> float:
        odds = inputs @ values[:2] + values[2]
        return float((weight * (np.logaddexp(0, odds) - target * odds)).sum())

    scale, slope, offset = minimize(loss, np.array([1.0, 0.5, 0.0])).x
    return float(slope / scale), float(offset / scale)


def _weights(pairings: Sequence[ScoredPairing]) -> list[NDArray[np.float64]]:
    """Return the weight of each labelled frame; all of them sum to 1."""
    totals: dict[tuple[str, bool], int] = defaultdict(int)
    for one in pairings:
        totals[one.person, one.situation == "own"] += int((one.labels != UNLABELLED).sum())
    weights = []
    for one in pairings:
        own = one.situation == "own"
        share = OWN_PRIOR if own else 1 - OWN_PRIOR
        num_frames = int((one.labels != UNLABELLED).sum())
        weights.append(np.full(num_frames, share / max(1, totals[one.person, own])))
    total = sum(map(np.sum, weights))
    return [rows / total for rows in weights]
