"""Measure the cost of every network: `python -m benchmarks.networks --json FILE`.

Multiply-accumulates are counted for one face in one frame, in convolutions, linear layers,
recurrent layers and matrix products only, on PyTorch's meta device; each is two floating-point
operations. `--count` times nothing. Otherwise scoring is timed as in the demo:
tracks in pieces, with their audio, in the network's own windows or clips. Faces and audio are noise
and weights are random; they do not affect the time. A context network is timed without its encoder,
which has its own row.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import measure, parse, report
from model.checkpoints.build import build_network
from model.contract import Model
from model.families.base import ScorerInputs, family_of
from model.names import network_names
from model.scoring.prepared import Precision, inference_copy
from utils.structures import CropForm, CropPiece

CONTEXTS = 256  # frames per batch of a context network
WORK = 3e11  # approximate multiply-accumulates per run; large networks score fewer frames
FEWEST = 8  # frames
BACKBONES = ("resnext101", "resnet18", "mobilenet", "mobilenetv2", "shufflenet", "shufflenetv2")
VARIANTS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "asdnet_encoder": [{"video_backbone": name} for name in BACKBONES],
    "ava_asd": [{"mode": mode} for mode in ("s_av", "s_av_fc", "s_a", "s_v")],
}


class Cost(NamedTuple):
    """A network's parameters, and its operations for one face in one frame."""

    parameters: int
    macs: float  # multiply-accumulates


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, measure the networks, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=network_names(), default=network_names())
    parser.add_argument("--frames", type=int, default=150, help="of each track, at most")
    parser.add_argument("--count", action="store_true", help="count only")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options = parse(parser, arguments, repeats=3)
    rows = [
        count_row(name, variant, count(name, variant))
        if options.count
        else measure_network(name, variant, options.frames, options.repeats, options.precision)
        for name in options.networks
        for variant in VARIANTS.get(name, [{}])
    ]
    report(rows, options.json)
    return 0


def count(name: str, variant: Mapping[str, Any] | None = None) -> Cost:
    """Count the parameters and operations of a network in one of its variants.

    A network that reads sequences runs on its longest window, with one face and the audio encoded;
    other speakers reuse that face's embedding. A context network's count excludes its encoder.
    """
    with torch.device("meta"):
        network = build_network(name, variant).eval()
        parameters = sum(parameter.numel() for parameter in network.parameters())
        # The math backend computes attention by matrix products, which are counted.
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            num_frames = family_of(network).score_zeros(network)
    return Cost(parameters, counter.get_total_flops() / 2 / num_frames)


def count_row(name: str, variant: Mapping[str, Any], cost: Cost) -> dict[str, object]:
    """Return the row of a network in one of its variants, without times."""
    return {
        "network": name,
        "variant": ", ".join(f"{key}={value}" for key, value in variant.items()),
        "parameters": cost.parameters,
        "gflops_per_face_frame": 2 * cost.macs / 1e9,
    }


def measure_network(
    name: str, variant: Mapping[str, Any], num_frames: int, repeats: int, precision: Precision
) -> dict[str, object]:
    """Return the row of a network in one of its variants."""
    cost = count(name, variant)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(name, variant).eval()
    num_frames = min(num_frames, max(FEWEST, int(WORK / cost.macs)))
    if network.encoder_name:
        num_scored = CONTEXTS
        work = partial(score_contexts, network, num_scored)
    else:
        num_scored = network.num_speakers * num_frames
        work = partial(score_tracks, network, network.num_speakers, num_frames, precision)
    seconds = measure({name: work}, repeats)[name]
    return {
        **count_row(name, variant, cost),
        "ms_per_face_frame": 1000 * seconds / num_scored,
        "face_frames_per_s": num_scored / seconds,
    }


@torch.inference_mode()
def score_contexts(network: Model, num_contexts: int) -> None:
    """Score frames from embeddings of zeros."""
    family_of(network).score_zeros(inference_copy(network), num_contexts)


def score_tracks(network: Model, num_faces: int, num_frames: int, precision: Precision) -> None:
    """Score simultaneous tracks as the demo does."""
    inputs = ScorerInputs(hear, 0, precision=precision, whole=lambda: [hear(0, 160_000)])
    scorer = family_of(network).make_scorer(network, inputs)
    found = 0
    for piece in made_pieces(scorer.form, num_faces, num_frames):
        found += sum(len(scored.logits) for scored in scorer.add(piece))
    found += sum(len(scored.logits) for scored in scorer.finish())
    assert found == num_faces * num_frames


def hear(start: int, stop: int) -> NDArray[np.int16]:
    """Return samples [start, stop) of endless, reproducible noise."""
    places = np.arange(start, stop, dtype=np.int64)
    return ((places * 7919 + places**2 % 10007 * 31) % 12001 - 6000).astype(np.int16)


def made_pieces(form: CropForm, num_faces: int, num_frames: int) -> Iterator[CropPiece]:
    """Yield random crops in the pieces that the pipeline yields."""
    rng = np.random.default_rng(0)
    colours = (3,) if form.colour else ()
    for start in range(0, num_frames, form.piece):
        length = min(form.piece, num_frames - start)
        for face in range(num_faces):
            yield CropPiece(
                track=face,
                shot=0,
                start=start,
                track_start=0,
                boxes=np.full((length, 4), (100, 100, 200, 200), np.float32),
                crops=rng.integers(0, 256, (length, form.size, form.size, *colours), np.uint8),
                thumbnail=np.zeros((112, 112), np.uint8),
                last=start + length == num_frames,
            )


if __name__ == "__main__":
    sys.exit(main())
