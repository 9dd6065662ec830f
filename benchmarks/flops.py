"""Count every network's parameters and operations: `python -m benchmarks.flops --json FILE`.

Multiply-accumulates are counted for one face in one frame, in convolutions, linear layers,
recurrent layers and matrix products only; each is two floating-point operations. Nothing is
computed: the networks run on PyTorch's meta device.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import report
from model.checkpoints.build import build_network
from model.contract import ClipNetwork, ContextNetwork, Model, Network
from model.names import network_names
from utils.features import feature_function
from utils.structures import FPS, SAMPLE_RATE, STEPS_PER_FRAME, InputSpec

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
    """Parse the command line, count, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=network_names(), default=network_names())
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args(arguments)
    rows: list[dict[str, object]] = []
    for name in options.networks:
        for variant in VARIANTS.get(name, [{}]):
            cost = count(name, variant)
            said = ", ".join(f"{key}={value}" for key, value in variant.items())
            rows.append(
                {
                    "network": name,
                    "variant": said,
                    "parameters": cost.parameters,
                    "mmacs_per_face_frame": cost.macs / 1e6,
                    "gflops_per_face_frame": 2 * cost.macs / 1e9,
                }
            )
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
            num_frames = _run(network)
    return Cost(parameters, counter.get_total_flops() / 2 / num_frames)


def _run(network: Model) -> int:
    """Score one face; return the number of frames."""
    if isinstance(network, Network):
        length = FPS * max(network.windows)
        heard = network.encode_audio(
            torch.empty(1, STEPS_PER_FRAME * length, network.inputs.num_features)
        )
        seen = network.encode_faces(_faces(network.inputs, length))
        if network.num_speakers > 1:
            seen = seen.unsqueeze(1).expand(-1, network.num_speakers, -1, -1)
        network.fuse(heard, seen)
        return length
    if isinstance(network, ClipNetwork):
        network(_clip_audio(network), _faces(network.inputs, network.clip.length))
        return 1
    assert isinstance(network, ContextNetwork)
    context = network.context
    network(torch.empty(1, context.num_speakers, context.length, network.num_embedding))
    return 1


def _faces(inputs: InputSpec, length: int) -> Tensor:
    colours = (3,) if inputs.colour else ()
    return torch.empty(1, length, inputs.size, inputs.size, *colours)


def _clip_audio(network: ClipNetwork) -> Tensor:
    """Return features of the shape that one clip has."""
    compute = feature_function(network.inputs.feature)
    clip = network.clip
    times = 1 + np.arange(clip.length) / clip.fps  # s; features may also read earlier samples
    waveform = np.zeros(int(SAMPLE_RATE * (1 + times[-1])), np.int16)
    with torch.device("cpu"):
        return torch.empty(
            compute(waveform, times, np.arange(clip.length)[None]).shape, device="meta"
        )


if __name__ == "__main__":
    sys.exit(main())
