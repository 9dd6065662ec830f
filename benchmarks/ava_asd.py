"""Time ava_asd's networks: `python -m benchmarks.ava_asd --json FILE`.

"published" follows the Keras graph: 3-D convolutions on channels-first clips, separate padding,
pooling after the activation. "here" is what the project runs.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.measure import measure, parse, report
from model.checkpoints.keras import MODES
from model.layers.convolutions import odd_one_after
from model.networks.ava_asd import CONVOLUTIONS, AudioTower, AvaASD, VideoTower


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, time everything, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=8, help="clips of a batch")
    options = parse(parser, arguments)
    rows: list[dict[str, object]] = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for mode in MODES:
            rows += time_mode(mode, options.clips, options.repeats)
    report(rows, options.json)
    return 0


def time_mode(mode: str, num_clips: int, repeats: int) -> list[dict[str, object]]:
    """Return the times of a mode for a batch of clips, in inference and training."""
    network = AvaASD(mode).eval()
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last)
    audio = torch.randn(num_clips, 13, 20)
    pictures = torch.rand(num_clips, 5, 100, 100, 1)
    functions: dict[str, Callable[[], Tensor]] = {
        "published": lambda: published(network, audio, pictures),
        "here": lambda: network.score(audio, pictures).av[:, 0],
    }
    with torch.inference_mode():
        inference = measure(functions, repeats)
    training = measure(
        {name: lambda of=of: learn(network, of) for name, of in functions.items()},  # type: ignore[misc]
        repeats,
    )
    return [
        row(f"{mode}, inference", inference, num_clips),
        row(f"{mode}, training step", training, num_clips),
    ]


def published(network: AvaASD, audio: Tensor, pictures: Tensor) -> Tensor:
    """Return the logits (B, 2) of the main head, computed layer by layer as in the graph."""
    towers = []
    if network.mode != "s_v":
        towers.append(published_tower(network.audio, audio.unsqueeze(1), (2, 5)))
    if network.mode != "s_a":
        towers.append(published_tower(network.video, pictures.permute(0, 4, 1, 2, 3), (1, 2, 5)))
    joined = torch.cat(towers, 1)
    if network.mode == "s_av":
        joined = functional.relu(network.fusion(network.dropout(joined)))
    return network.head_av(joined).flip(1)  # type: ignore[no-any-return]


def published_tower(
    tower: AudioTower | VideoTower, image: Tensor, pooled: tuple[int, ...]
) -> Tensor:
    """Return a tower's embedding of images (B, C, H, W) or clips (B, C, T, H, W)."""
    for number, name in enumerate(CONVOLUTIONS, start=1):
        layer = getattr(tower, name)
        padded = functional.pad(image, odd_one_after(layer.weight.shape[2:]))
        run = functional.conv3d if image.ndim == 5 else functional.conv2d
        image = functional.relu(run(padded, layer.weight, layer.bias))
        if number in pooled:
            image = published_pool(image)
    flat = image.movedim(1, -1).flatten(1)
    return flat if tower.fc7 is None else functional.relu(tower.fc7(flat))


def published_pool(image: Tensor) -> Tensor:
    """Take the maximum over 3 x 3 of the last two dimensions."""
    missing = [-side % 3 for side in reversed(image.shape[-2:])]
    pads = [pad for one in missing for pad in (one // 2, one - one // 2)]
    image = functional.pad(image, pads, value=-torch.inf)
    if image.ndim == 5:
        return functional.max_pool3d(image, (1, 3, 3))
    return functional.max_pool2d(image, 3)


def learn(network: AvaASD, forward: Callable[[], Tensor]) -> None:
    """Compute the gradient of the main head's sum."""
    network.train().zero_grad()
    forward().sum().backward()  # type: ignore[no-untyped-call]


def row(what: str, found: dict[str, float], num_clips: int) -> dict[str, object]:
    """Return a row: seconds, their ratio, and the project's clips/s."""
    return {
        "what": what,
        **{name: f"{one:.4g}" for name, one in found.items()},
        "ratio": f"{found['published'] / found['here']:.2f}",
        "clips/s": f"{num_clips / found['here']:.1f}",
    }


if __name__ == "__main__":
    sys.exit(main())
