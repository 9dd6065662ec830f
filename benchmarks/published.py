"""Time networks against their published form: `python -m benchmarks.published NETWORK ...`.

Scoring and a training step are timed on one random batch. "published" is the network as its
authors' code runs it, with the same weights: 3-D convolutions, the default memory layout, unfolded
normalisations. "here" is what the project runs; "here, bf16" encodes faces in bf16 when scoring
and, on a GPU, trains in mixed precision. The weights are random; they do not affect the time. The
project's own networks have no published form.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.measure import measure, parse, report
from benchmarks.networks import VARIANTS
from benchmarks.plain import PLAIN, plain
from model.checkpoints.build import build_network, read_variant
from model.contract import Model
from model.families.base import family_of
from model.loading import choose_device
from model.names import network_names
from model.precision import has_bf16
from model.ranks import Ranks
from model.scoring.prepared import inference_copy
from model.training.network_trainer import make_trainer
from utils.datasets.loading.training_batch import TrainingBatch
from utils.training_options import TrainingOptions

Ways = dict[str, Callable[[], object]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, time the networks, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="+", choices=network_names(), metavar="NETWORK")
    parser.add_argument("--variant", help="key=value,...; default: those in the documentation")
    parser.add_argument("--clips", type=int, default=4, help="sequences or clips of a batch")
    parser.add_argument("--contexts", type=int, default=64, help="contexts of a batch")
    parser.add_argument("--frames", type=int, default=25, help="frames of a sequence")
    parser.add_argument("--device", default="auto", choices=["auto", "cuda", "cpu"])
    options = parse(parser, arguments)
    device = torch.device(choose_device(options.device))
    rows: list[dict[str, object]] = []
    for name in options.networks:
        variants: Sequence[Mapping[str, Any]] = VARIANTS.get(name, [{}])
        if options.variant is not None:
            variants = [read_variant(name, options.variant)]
        for variant in variants:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                network = build_network(name, variant).to(device)
            count = options.contexts if network.encoder_name else options.clips
            batch = make_batch(network, count, options.frames)
            rows += time_network(network, name, batch, device, options.repeats)
    report(rows, options.json)
    return 0


def make_batch(network: Model, count: int, num_frames: int) -> TrainingBatch:
    """Return a random batch in which every frame is labelled.

    Args:
        network: Determines the shapes.
        count: Sequences, clips or contexts.
        num_frames: Frames of a sequence; clips and contexts have a length of their own.
    """
    generator = torch.Generator().manual_seed(0)
    shapes = family_of(network).batch_shapes(network, count, num_frames)
    if shapes.are_embeddings:
        faces = torch.rand(shapes.faces, generator=generator)
    else:
        faces = torch.randint(0, 256, shapes.faces, generator=generator, dtype=torch.uint8)
    audio = torch.randn(shapes.audio, generator=generator)
    labels = torch.randint(0, 2, shapes.labels, generator=generator, dtype=torch.int8)
    rows = np.zeros((len(labels), 0), np.int64)
    return TrainingBatch(rows, audio, faces, labels, labels >= 0, speech=labels)


def time_network(
    network: Model, name: str, batch: TrainingBatch, device: torch.device, repeats: int
) -> list[dict[str, object]]:
    """Return a row for each way of scoring and of training a network."""
    scoring: Ways = {}
    training: Ways = {}
    if name in PLAIN:
        scoring["published"] = scorer(plain(name, network).eval(), batch, device)
        training["published"] = stepper(plain(name, network), batch, device, "fp32")
    scoring["here"] = scorer(inference_copy(network), batch, device)
    scoring["here, bf16"] = scorer(inference_copy(network, "bf16"), batch, device)
    training["here"] = stepper(deepcopy(network), batch, device, "fp32")
    if device.type == "cuda" or has_bf16(torch.cpu.get_capabilities()):
        training["here, bf16"] = stepper(deepcopy(network), batch, device, "bf16")
    variant = ", ".join(f"{key}={value}" for key, value in network.variant.items())
    rows: list[dict[str, object]] = []
    for what, ways in (("scoring", scoring), ("training step", training)):
        seconds = measure(ways, repeats)
        for way, taken in seconds.items():
            rows.append(
                {
                    "network": name,
                    "variant": variant,
                    "what": what,
                    "way": way,
                    "ms_per_face_frame": 1000 * taken / batch.labels.numel(),
                }
            )
            if name in PLAIN:
                rows[-1]["times_faster"] = seconds["published"] / taken
    return rows


def scorer(network: Model, batch: TrainingBatch, device: torch.device) -> Callable[[], object]:
    """Return a function that scores the batch."""
    family = family_of(network)
    audio, faces = batch.audio.to(device), batch.faces.to(device)

    @torch.inference_mode()
    def score() -> None:
        family.forward(network, audio, faces)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return score


def stepper(
    network: Model,
    batch: TrainingBatch,
    device: torch.device,
    precision: Literal["fp32", "bf16"],
) -> Callable[[], object]:
    """Return a function that takes one training step."""
    trainer = make_trainer(network, TrainingOptions(precision=precision), Ranks(device=device))
    trainer.objective.train()

    def step() -> None:
        trainer.step(batch)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return step


if __name__ == "__main__":
    sys.exit(main())
