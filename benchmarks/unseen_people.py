"""Measure networks on people they were not trained on, paired with audio as films are.

python -m benchmarks.unseen_people --videos DIR --people CSV --networks synchrony lr_asd

What a face says is known from how each pairing is made: its own voice, another over it, another
alone, its own 0.5 to 3 s early or late, silence, noise or music. Two thirds of the pairings have
noise, small faces, strong compression, few images a second, or audio that is late or early.
Rates are means over people, with 95 % intervals by resampling people. "beside" measures
are of shots of two people who both move their lips, under the voice of one, of either in turn, or
of both; networks that compare the faces of a shot do so there.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measure import report
from model.checkpoints.build import load_single
from model.contract import Network
from model.scoring.comparing import compare_tracks
from model.scoring.windows import scores as scores_of
from model.scoring.windows import track_outputs
from model.shipped.film_scores import (
    ScoredPairing,
    count_errors,
    mean_rates,
    ordinary_precision,
    rate_intervals,
    reliability,
)
from model.shipped.source_faces import find_people
from utils.datasets.pairings.film import FilmPairer
from utils.datasets.pairings.film_shots import shots_of_two
from utils.features.mfcc import align, mfcc
from utils.progress import bar

MATCH = " match"  # after a network's name: its evidence


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
        networks = load_networks(options.networks, options.weights)
        pairings = [*score(pairer, networks), *score_shots(pairer, networks)]
    rows = [row for name in networks for row in table(pairings, name, options.seed)]
    report(rows, options.json)
    for name in networks:
        match = name + MATCH
        compared = [one for one in pairings if match in one.scores]
        if compared:
            print(f"\nreliability of {name} by strength of its evidence")
            report([asdict(row) for row in reliability(compared, name, match)], None)
    return 0


def load_networks(names: Sequence[str], weights: Sequence[str]) -> dict[str, Network]:
    """Return the networks by name."""
    networks = {}
    for number, name in enumerate(names):
        chosen = weights[number] if number < len(weights) else None
        networks[name] = cast("Network", load_single(name, chosen))
    return networks


def score(pairer: FilmPairer, networks: Mapping[str, Network]) -> Iterator[ScoredPairing]:
    """Yield all pairings with the scores of all networks, and the match of those that have one."""
    with bar("scoring", len(pairer), "pairings") as advance:
        for number, pairing in enumerate(pairer):
            scores = {}
            for name, network in networks.items():
                features = align(mfcc(pairing.waveform), len(pairing.crops))
                rows = track_outputs(network, pairing.crops, features)
                scores[name] = scores_of(rows)
                if network.compares:
                    scores[name + MATCH] = rows[:, 2]
            yield ScoredPairing(pairing.person, pairing.situation, pairing.labels, scores)
            advance(number + 1)


def score_shots(pairer: FilmPairer, networks: Mapping[str, Network]) -> Iterator[ScoredPairing]:
    """Yield both faces of shots of two people, with the scores of all networks."""
    for shot in shots_of_two(pairer, pairer.seed):
        num_frames = shot.labels.shape[1]
        features = align(mfcc(shot.waveform), num_frames)
        scores: list[dict[str, NDArray[np.float32]]] = [{}, {}]
        for name, network in networks.items():
            rows = {
                number: track_outputs(network, face.crops[:num_frames], features)
                for number, face in enumerate(shot.faces)
            }
            if network.compares:
                rows = compare_tracks(network, rows, dict.fromkeys(rows, 0))
            for number, found in rows.items():
                scores[number][name] = scores_of(found)
        for face, labels, own in zip(shot.faces, shot.labels, scores, strict=True):
            yield ScoredPairing(face.person, f"beside, {shot.kind}", labels, own)


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
