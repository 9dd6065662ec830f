"""Time face detection, frame by frame: `python -m benchmarks.detection --output FILE`.

tiny_fcos has random weights, and so has S3FD if none are available; they do not affect the time.
"""

import argparse
import resource
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measure import measure, report
from model.checkpoints.files import read_weights
from model.checkpoints.registry import find_weights
from model.contract import FaceDetector
from model.detectors import s3fd, tiny_fcos, yunet
from utils.structures import Detections

VIDEO_SIZE = (1280, 720)
SCALE = 0.25  # the published setting


def s3fd_network() -> s3fd.S3fdNetwork:
    """Return S3FD with installed weights, or with random ones that detect faces in noise."""
    for name in ("s3fd_talknet", "s3fd_face_alignment"):
        found = find_weights(name)
        if found:
            return s3fd.build(read_weights(found).state).eval()
    generator = torch.Generator().manual_seed(1)
    network = s3fd.S3fdNetwork().eval()
    with torch.inference_mode():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                deviation = (2 / module.weight[0].numel()) ** 0.5
                module.weight.normal_(0, deviation, generator=generator)
        probe = torch.randn(1, 3, 180, 320, generator=generator) * 60
        for (loc, conf), place, kind in zip(
            network.forward(probe), network.loc, network.conf, strict=True
        ):
            assert isinstance(place, torch.nn.Conv2d) and isinstance(kind, torch.nn.Conv2d)
            place.weight.div_(2 * loc.std())
            kind.weight.mul_(3 / (conf[:, -1] - conf[:, :-1].amax(dim=1)).std())
    return network


def copied(network: s3fd.S3fdNetwork, precision: str) -> s3fd.S3fdNetwork:
    """Return a copy in the memory layout that the project uses, at this precision."""
    copy = s3fd.S3fdNetwork(network.published).eval()
    copy.load_state_dict(network.state_dict())
    return s3fd.prepare_network(copy, "cpu", precision)


def worst_distance(a: Sequence[Detections], b: Sequence[Detections]) -> tuple[float, float]:
    """Return the share of boxes of `a` within 1 pixel of one of `b`, and the worst of those."""
    distances = []
    for one, other in zip(a, b, strict=True):
        if len(one) and len(other):
            apart = np.abs(one.boxes[:, None] - other.boxes[None]).max(axis=2)
            distances += list(apart.min(axis=1))
        else:
            distances += [np.inf] * len(one)
    near = [distance for distance in distances if distance <= 1]
    return len(near) / max(len(distances), 1), max(near, default=0.0)


def main() -> int:
    """Parse the command line, time the detectors, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="file to write the results to")
    parser.add_argument("--repeats", type=int, default=7, help="runs of each detector")
    parser.add_argument("--pictures", type=int, default=8, help="images per run")
    options = parser.parse_args()
    network = s3fd_network()
    detectors: dict[str, FaceDetector] = {
        "s3fd plain fp32": s3fd.S3fd(network, scale=SCALE, pixels=1),
        "s3fd fp32": s3fd.S3fd(copied(network, "fp32"), scale=SCALE),
        "s3fd bf16": s3fd.S3fd(copied(network, "bf16"), scale=SCALE),
    }
    weights = find_weights("yunet")
    if weights:
        detectors["yunet"] = yunet.YuNet(weights)
    detectors["tiny_fcos"] = tiny_fcos.TinyFcos(tiny_fcos.TinyFcosNetwork())
    rows = compare(detectors, options.pictures, options.repeats)
    report(rows, options.output)
    return 0


def compare(
    detectors: dict[str, FaceDetector], num_pictures: int, repeats: int
) -> list[dict[str, object]]:
    """Return a row per detector: time per image, and speed and boxes against the first."""
    rng = np.random.default_rng(0)
    calls: dict[str, Callable[[], object]] = {}
    pictures: dict[str, list[NDArray[np.uint8]]] = {}
    for name, detector in detectors.items():
        width, height = detector.image_size(*VIDEO_SIZE)
        noise = rng.integers(0, 256, (num_pictures, height // 4, width // 4, 3), dtype=np.uint8)
        pictures[name] = list(noise.repeat(4, axis=1).repeat(4, axis=2))
        if name.startswith("s3fd"):
            pictures[name] = next(iter(pictures.values()))
        calls[name] = partial(detector.detect, pictures[name])
    seconds = measure(calls, repeats)
    first = next(iter(detectors))
    expected = detectors[first].detect(pictures[first])
    rows: list[dict[str, object]] = []
    for name, detector in detectors.items():
        row: dict[str, object] = {
            "detector": name,
            "ms_per_picture": round(1000 * seconds[name] / num_pictures, 1),
            "times_faster": round(seconds[first] / seconds[name], 2),
        }
        if name.startswith("s3fd"):
            share, worst = worst_distance(expected, detector.detect(pictures[name]))
            row |= {"boxes_within_1_px": round(share, 3), "worst_of_them_px": round(worst, 3)}
        rows.append(row)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows.append({"detector": "all together", "peak_memory_mb": round(peak / 1024)})
    return rows


if __name__ == "__main__":
    sys.exit(main())
