"""Time training: `python -m benchmarks.training --output FILE`.

Each network takes the same steps on the same batch in two ways: "engine" as the project trains it,
and "plain" as published, with 3-D convolutions in the default memory layout. On a GPU, "engine,
bf16" adds mixed precision.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from benchmarks.measure import measure, report
from benchmarks.plain import PLAIN, plain
from model.checkpoints.build import build_network, read_variant
from model.contract import Model
from model.families.base import family_of
from model.loading import choose_device
from model.names import network_names
from model.ranks import Ranks
from model.training.network_trainer import make_trainer
from utils.datasets.loading.training_batch import TrainingBatch
from utils.training_options import TrainingOptions


def make_batch(network: Model, num_clips: int, num_frames: int) -> TrainingBatch:
    """Return a random batch in which every frame is labelled.

    Args:
        network: Its inputs determine the shapes.
        num_clips: Sequences, clips or contexts.
        num_frames: Frames of a sequence; a clip network fixes its own length.
    """
    generator = torch.Generator().manual_seed(0)
    shapes = family_of(network).batch_shapes(network, num_clips, num_frames)
    if shapes.are_embeddings:
        faces = torch.rand(shapes.faces, generator=generator)
    else:
        faces = torch.randint(0, 256, shapes.faces, generator=generator, dtype=torch.uint8)
    audio = torch.randn(shapes.audio, generator=generator)
    labels = torch.randint(0, 2, shapes.labels, generator=generator, dtype=torch.int8)
    rows = np.zeros((len(labels), 0), np.int64)
    return TrainingBatch(rows, audio, faces, labels, labels >= 0, speech=labels)


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


def time_network(
    network: Model, name: str, batch: TrainingBatch, device: torch.device, repeats: int
) -> list[dict[str, object]]:
    """Return a row for each way of training a network."""
    ways = {"engine": stepper(deepcopy(network), batch, device, "fp32")}
    if name in PLAIN:
        ways["plain"] = stepper(plain(name, network), batch, device, "fp32")
    if device.type == "cuda":
        ways["engine, bf16"] = stepper(deepcopy(network), batch, device, "bf16")
    seconds = measure(ways, repeats)
    num_frames = batch.labels.numel()
    rows: list[dict[str, object]] = []
    for way, taken in seconds.items():
        rows.append(
            {
                "network": name,
                "way": way,
                "frames": num_frames,
                "s_per_step": taken,
                "frames_per_s": num_frames / taken,
            }
        )
        if name in PLAIN:
            rows[-1]["times_faster"] = seconds["plain"] / taken
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, time the networks, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=network_names(), default=network_names())
    parser.add_argument("--variant", default="", help="of the one network: key=value,...")
    parser.add_argument("--clips", type=int, default=4, help="sequences, clips or contexts a batch")
    parser.add_argument("--frames", type=int, default=25, help="frames of a sequence")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto", choices=["auto", "cuda", "cpu"])
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args(arguments)
    device = torch.device(choose_device(options.device))
    rows: list[dict[str, object]] = []
    for name in options.networks:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = build_network(name, read_variant(name, options.variant))
        batch = make_batch(network, options.clips, options.frames)
        rows += time_network(network, name, batch, device, options.repeats)
    report(rows, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
