"""Measure networks on people they were not trained on, paired with audio as films are.

python -m benchmarks.unseen_people --videos DIR --people CSV --networks synchrony lr_asd

What a face says is known from how each pairing is made: its own voice, another over it, another
alone, its own 0.5 to 3 s early or late, silence, noise or music. Two thirds of the pairings have
noise, small faces, strong compression, few images a second, or audio that is late or early.
Rates are means over people, with 95 % intervals by resampling people.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch

from benchmarks.measure import report
from model.checkpoints.build import load_single
from model.contract import Network
from model.scoring.windows import score_track
from model.shipped.film_scores import (
    ScoredPairing,
    count_errors,
    mean_rates,
    ordinary_precision,
    rate_intervals,
)
from model.shipped.source_faces import find_people
from utils.datasets.pairings.film import FilmPairer
from utils.progress import bar


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, score the pairings, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--videos", required=True, help="folders of videos, with commas between")
    parser.add_argument("--people", type=Path, help="CSV table: file,identity,kind")
    parser.add_argument("--networks", nargs="+", default=["synchrony", "lr_asd"])
    parser.add_argument("--weights", nargs="+", default=[], help="of the networks, in order")
    parser.add_argument("--faces", type=Path, help="folder to keep the faces found in")
    parser.add_argument("--seed", type=int, default=0, help="of the pairings")
    parser.add_argument("--maxLength", type=int, default=250, help="of a track, frames")
    parser.add_argument("--threads", type=int, help="processor cores to use; default: all")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.faces or Path(temporary)
        found = find_people(options.videos, options.people, "", folder)
        pairer = FilmPairer(*found, options.seed, options.maxLength)
        pairings = list(score(pairer, options.networks, options.weights))
    rows = [row for name in options.networks for row in table(pairings, name, options.seed)]
    report(rows, options.json)
    return 0


def score(
    pairer: FilmPairer, names: Sequence[str], weights: Sequence[str]
) -> Iterator[ScoredPairing]:
    """Yield all pairings with the scores of all networks."""
    networks = {}
    for number, name in enumerate(names):
        chosen = weights[number] if number < len(weights) else None
        networks[name] = cast("Network", load_single(name, chosen))
    with bar("scoring", len(pairer), "pairings") as advance:
        for number, pairing in enumerate(pairer):
            scores = {
                name: score_track(network, pairing.crops, pairing.waveform)
                for name, network in networks.items()
            }
            yield ScoredPairing(pairing.person, pairing.situation, pairing.labels, scores)
            advance(number + 1)


def table(pairings: Sequence[ScoredPairing], name: str, seed: int) -> list[dict[str, object]]:
    """Return a row for each measure of a network."""
    counts = count_errors(pairings, name)
    intervals = rate_intervals(counts, np.random.default_rng(seed))
    rows: list[dict[str, object]] = [
        {
            "network": name,
            "measure": "average precision",
            "mean": ordinary_precision(pairings, name),
        }
    ]
    for measure, rate in sorted(mean_rates(counts).items()):
        low, high = intervals[measure]
        people = len(counts[measure])
        rows.append(
            {"network": name, "measure": measure, "mean": rate, "from": low, "to": high}
            | {"people": people}
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
