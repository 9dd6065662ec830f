"""Time ASDNet against its published form: `python -m benchmarks.asdnet --json FILE`.

The encoder with each backbone and the context network are timed in scoring and in a training step:
"plain" as published, in the default memory layout; otherwise as the project runs them, with folded
normalisations and channels last. The weights are random; they do not affect the time.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.measure import measure, parse, report
from model.layers.folding import fold_norms
from model.networks.asdnet import ASDNet
from model.networks.asdnet_encoder import ASDNetEncoder, normalise

BACKBONES = ("resnext101", "resnet18", "mobilenet", "mobilenetv2", "shufflenet", "shufflenetv2")


class Planar(nn.Module):
    """A video backbone as published: in the default memory layout."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, 3, T, H, W) to (B, 512)."""
        maps: Tensor = self.base(clips.contiguous())
        return functional.adaptive_avg_pool3d(maps, 1).flatten(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, time the networks, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbones", nargs="*", choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument("--clips", type=int, default=4, help="of a batch")
    options = parse(parser, arguments)
    rows: list[dict[str, object]] = []
    for name in options.backbones:
        rows += time_encoder(name, options.clips, options.repeats)
    rows += time_context(64, options.repeats)
    report(rows, options.json)
    return 0


def time_encoder(name: str, num_clips: int, repeats: int) -> list[dict[str, object]]:
    """Return a row for each way of scoring and training with a video backbone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ASDNetEncoder(name)
        audio = torch.randint(-8000, 8000, (num_clips, 9480)).float()
        faces = torch.randint(0, 256, (num_clips, 16, 160, 160, 3), dtype=torch.uint8)
    published = deepcopy(network)
    published.video_encoder = Planar(network.video_encoder.base)  # type: ignore[assignment]
    folded = deepcopy(network).eval()
    fold_norms(folded)
    reduced = deepcopy(folded)
    reduced.video_encoder.bfloat16()
    learning = [deepcopy(one).train() for one in (published, network)]
    clips = normalise(faces).contiguous()
    ways: dict[str, Callable[[], object]] = {
        "scoring, plain": partial(_score, published.eval().score, audio, clips),
        "scoring": partial(_score, folded, audio, faces),
        "scoring, bf16": partial(_score, reduced, audio, faces),
        "learning, plain": partial(_learn, learning[0], audio, faces),
        "learning": partial(_learn, learning[1], audio, faces),
    }
    return _rows(f"asdnet_encoder, {name}", measure(ways, repeats), num_clips)


def time_context(num_windows: int, repeats: int) -> list[dict[str, object]]:
    """Return a row for each way of scoring and training with the context network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ASDNet()
        embeddings = torch.rand(num_windows, 4, 64, 672)
    learning = deepcopy(network).train()
    network.eval()
    ways: dict[str, Callable[[], object]] = {
        "scoring, plain": partial(_score, partial(plain_context, network), embeddings),
        "scoring": partial(_score, network, embeddings),
        "learning, plain": partial(_learn, partial(plain_context, learning), embeddings),
        "learning": partial(_learn, learning, embeddings),
    }
    return _rows("asdnet", measure(ways, repeats), num_windows)


def plain_context(network: ASDNet, embeddings: Tensor) -> Tensor:
    """Map (B, S, T, 672) to logits (B, 2) by a convolution over frames and speakers."""
    relation = network.relation
    image = embeddings.permute(0, 3, 2, 1)  # (B, 672, L, S)
    around = relation.bn_ctx(relation.conv_ctx(relation.dropout(image[..., 1:]))).squeeze(3)
    sequence = torch.cat((image[..., 0], around), dim=1).transpose(1, 2)
    states: Tensor = network.temporal.rnn(sequence)[0][:, sequence.shape[1] // 2]
    logits: Tensor = network.head_av(states)
    return logits


@torch.inference_mode()
def _score(judge: Callable[..., object], *inputs: Tensor) -> None:
    judge(*inputs)


def _learn(judge: Callable[..., object], *inputs: Tensor) -> None:
    """Run the forward and backward passes."""
    logits = judge(*inputs)
    total = logits if isinstance(logits, Tensor) else logits.av  # type: ignore[attr-defined]
    total.square().sum().backward()


def _rows(network: str, seconds: dict[str, float], count: int) -> list[dict[str, object]]:
    return [
        {
            "network": network,
            "what": way,
            "ms_per_face_frame": 1000 * taken / count,
            "times_faster_than_plain": seconds[f"{way.split(',')[0]}, plain"] / taken,
        }
        for way, taken in seconds.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
