"""Time training: `python -m benchmarks.training --output FILE`.

Each network takes the same steps on the same batch twice: as the engine does, and in the plain
published way, whose convolutions over pictures and time run in the three dimensions that they are
stored in. On a GPU the engine's own mixed precision stands beside both.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.measure import measure, report
from model.contract import Network
from model.layers.face_encoder import normalise_faces
from model.layers.factored import VisualBlock
from model.loading import choose_device
from model.networks.light_asd import LightASD, LightVisualBlock
from model.networks.lr_asd import LRASD
from model.networks.talknet import TalkNet
from model.ranks import Ranks
from model.training import Trainer
from utils.structures import STEPS_PER_FRAME
from utils.training_settings import TrainingOptions

NETWORKS: dict[str, type[Network]] = {"talknet": TalkNet, "light_asd": LightASD, "lr_asd": LRASD}
PLAIN_POOL = ((1, 3, 3), (1, 2, 2), (0, 1, 1))


@dataclass(frozen=True)
class RandomBatch:
    """A batch of noise: it takes the same time as any other."""

    audio: Tensor
    faces: Tensor
    labels: Tensor
    mask: Tensor


def make_batch(num_clips: int, num_frames: int) -> RandomBatch:
    """Return a batch of that size, fully labelled."""
    generator = torch.Generator().manual_seed(0)
    shape = (num_clips, num_frames)
    return RandomBatch(
        torch.randn(num_clips, STEPS_PER_FRAME * num_frames, 13, generator=generator),
        torch.randint(0, 256, (*shape, 112, 112), generator=generator, dtype=torch.uint8),
        torch.randint(0, 2, shape, generator=generator, dtype=torch.int8),
        torch.ones(shape, dtype=torch.bool),
    )


def stepper(
    network: Network,
    batch: RandomBatch,
    device: torch.device,
    precision: Literal["fp32", "bf16"],
) -> Callable[[], object]:
    """Return what takes one step of training."""
    trainer = Trainer(network, TrainingOptions(precision=precision), Ranks(device=device))
    trainer.objective.train()

    def step() -> None:
        trainer.step(batch)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return step


def plain(network: Network) -> Network:
    """Return a copy whose visual encoder runs as published."""
    copy = deepcopy(network)
    copy.encode_faces = partial(plain_faces, copy)  # type: ignore[method-assign]
    return copy


def plain_faces(network: Network, faces: Tensor) -> Tensor:
    """Map faces (B, T, 112, 112) to embeddings as the published code does."""
    volume = normalise_faces(faces, torch.float32)[:, None]
    if isinstance(network, TalkNet):
        return plain_frontend(network, volume)
    assert isinstance(network, LightASD | LRASD)
    encoder = network.visual_encoder
    volume = functional.max_pool3d(plain_block(encoder.block1, volume), *PLAIN_POOL)
    volume = functional.max_pool3d(plain_block(encoder.block2, volume), *PLAIN_POOL)
    return plain_block(encoder.block3, volume).amax((3, 4)).transpose(1, 2)


def plain_frontend(network: TalkNet, volume: Tensor) -> Tensor:
    """Map normalised faces (B, 1, T, 112, 112) to (B, T, 512)."""
    frontend = network.visual_frontend
    stem = plain_layer(frontend.stem_conv, frontend.stem_norm, volume)
    stem = functional.max_pool3d(stem, *PLAIN_POOL).transpose(1, 2)  # (B, T, 64, 28, 28)
    trunk = stem.flatten(0, 1).contiguous()
    for unit in (frontend.layer1, frontend.layer2, frontend.layer3, frontend.layer4):
        trunk = unit(trunk)
    return functional.avg_pool2d(trunk, 4, 1).view(*stem.shape[:2], -1)


def plain_block(block: VisualBlock, volume: Tensor) -> Tensor:
    """Run a block of Light-ASD or LR-ASD in three dimensions."""
    layers = {conv: (getattr(block, conv), getattr(block, norm)) for conv, norm in block.folds}
    if not isinstance(block, LightVisualBlock):
        for conv, norm in layers.values():
            volume = plain_layer(conv, norm, volume)
        return volume
    narrow = plain_layer(*layers["t_3"], plain_layer(*layers["s_3"], volume))
    wide = plain_layer(*layers["t_5"], plain_layer(*layers["s_5"], volume))
    return plain_layer(*layers["last"], narrow + wide)


def plain_layer(conv: nn.Conv3d, norm: nn.Module, volume: Tensor) -> Tensor:
    """Run a convolution as it is stored, its normalisation over the batch, and a ReLU."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(conv.padding, tuple)
    assert norm.momentum is not None
    volume = functional.conv3d(volume, conv.weight, None, conv.stride, conv.padding)
    mean, variance = norm.running_mean, norm.running_var
    volume = functional.batch_norm(
        volume, mean, variance, norm.weight, norm.bias, True, norm.momentum, norm.eps
    )
    return functional.relu(volume)


def time_network(
    name: str, batch: RandomBatch, device: torch.device, repeats: int
) -> list[dict[str, object]]:
    """Return a row for each way of training a network."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    ways = {
        "plain": stepper(plain(network), batch, device, "fp32"),
        "engine": stepper(deepcopy(network), batch, device, "fp32"),
    }
    if device.type == "cuda":
        ways["engine, bf16"] = stepper(deepcopy(network), batch, device, "bf16")
    seconds = measure(ways, repeats)
    num_frames = batch.labels.numel()
    return [
        {
            "network": name,
            "way": way,
            "frames": num_frames,
            "s_per_step": taken,
            "frames_per_s": num_frames / taken,
            "times_faster": seconds["plain"] / taken,
        }
        for way, taken in seconds.items()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Time the networks that are asked for; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--clips", type=int, default=4, help="clips of a batch")
    parser.add_argument("--frames", type=int, default=25, help="frames of a clip")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto", choices=["auto", "cuda", "cpu"])
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args(arguments)
    device = torch.device(choose_device(options.device))
    batch = make_batch(options.clips, options.frames)
    rows: list[dict[str, object]] = []
    for name in options.networks:
        rows += time_network(name, batch, device, options.repeats)
    report(rows, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
