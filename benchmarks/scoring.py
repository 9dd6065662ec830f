"""Time the scoring of one face track: `python -m benchmarks.scoring --json FILE`.

Each network is timed in three ways: "plain" scores the windows one by one as published, with 3-D
convolutions in the default memory layout; "separate" scores them one by one with the project's
network; "shared" computes what the windows have in common once, in fp32 and in bf16. The weights
are random; they do not affect the time.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.measure import measure, parse, report
from benchmarks.plain import plain, plain_stem
from model.contract import Network
from model.networks.light_asd import LightASD
from model.networks.lr_asd import LRASD
from model.networks.talknet import TalkNet
from model.scoring.windows import track_logits

PUBLISHED = (1, 2, 3, 4, 5, 6)
OTHERS = ((1,), (2,), (1, 2), (2, 5))
NETWORKS: dict[str, type[Network]] = {"talknet": TalkNet, "light_asd": LightASD, "lr_asd": LRASD}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, time the networks, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--frames", type=int, default=450, help="length of the track")
    parser.add_argument("--quick", action="store_true", help="150 frames, 2 runs")
    options = parse(parser, arguments)
    num_frames, repeats = (150, 2) if options.quick else (options.frames, options.repeats)
    rows: list[dict[str, object]] = []
    for name in options.networks:
        rows += time_network(name, num_frames, repeats)
    report(rows, options.json)
    return 0


def time_network(name: str, num_frames: int, repeats: int) -> list[dict[str, object]]:
    """Return a row for each way of scoring a track, and for each part of one pass."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = NETWORKS[name]().eval()
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (num_frames, 112, 112), np.uint8)
    features = rng.uniform(-10, 20, (4 * num_frames, 13)).astype(np.float32)
    published = cast(Network, plain(name, network))
    ways: dict[str, Callable[[], object]] = {
        "1..6 s, plain": partial(separate, published, faces, features),
        "1..6 s, separate": partial(separate, network, faces, features),
    }
    for precision in ("fp32", "bf16"):
        score = partial(track_logits, network, faces, features, precision=precision)
        ways[f"1..6 s, shared, {precision}"] = partial(score, windows=PUBLISHED)
        for windows in OTHERS:
            what = ", ".join(map(str, windows))
            ways[f"{what} s, shared, {precision}"] = partial(score, windows=windows)
    ways |= parts(network, published, faces, features)
    if name == "talknet":
        ways |= stem_parts(cast(TalkNet, network), faces)
    seconds = measure(ways, repeats)
    rows: list[dict[str, object]] = []
    for way, taken in seconds.items():
        rows.append(
            {
                "network": name,
                "what": way,
                "ms_per_face_frame": 1000 * taken / num_frames,
                "face_frames_per_s": round(num_frames / taken),
            }
        )
        if way.startswith("1..6"):
            rows[-1]["times_faster_than_plain"] = seconds["1..6 s, plain"] / taken
            rows[-1]["than_separate"] = seconds["1..6 s, separate"] / taken
    return rows


def separate(
    network: Network, faces: NDArray[np.uint8], features: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Score every window by itself."""
    total = np.zeros((len(faces), 2), np.float32)
    with torch.inference_mode():
        for length in PUBLISHED:
            for start in range(0, len(faces), 25 * length):
                stop = min(start + 25 * length, len(faces))
                seen = network.encode_faces(torch.from_numpy(faces[None, start:stop]))
                heard = network.encode_audio(torch.from_numpy(features[None, 4 * start : 4 * stop]))
                total[start:stop] += network.fuse(heard, seen).av[0].numpy()
    return total / np.float32(len(PUBLISHED))


def parts(
    network: Network,
    published: Network,
    faces: NDArray[np.uint8],
    features: NDArray[np.float32],
) -> dict[str, Callable[[], object]]:
    """Return what runs the parts of one pass over the track, in pieces of 25 frames."""
    pieces = cut(faces)
    steps = torch.from_numpy(features[: 100 * len(pieces)]).view(-1, 100, features.shape[1])
    with torch.inference_mode():
        seen = torch.cat([network.encode_faces(piece) for piece in pieces])
        heard = network.encode_audio(steps)
    return {
        "one pass, faces, plain": partial(look_at, published.encode_faces, pieces),
        "one pass, faces": partial(look_at, network.encode_faces, pieces),
        "one pass, sound": torch.inference_mode()(partial(network.encode_audio, steps)),
        "one pass, fusion": torch.inference_mode()(partial(network.fuse, heard, seen)),
    }


def stem_parts(network: TalkNet, faces: NDArray[np.uint8]) -> dict[str, Callable[[], object]]:
    """Return what runs the first layers of TalkNet's visual encoder over the track."""
    frontend, pieces = network.visual_frontend, cut(faces)
    return {
        "one pass, stem, plain": partial(look_at, partial(plain_stem, frontend), pieces),
        "one pass, stem": partial(look_at, partial(frontend.stem, start=0, stop=25), pieces),
    }


def cut(faces: NDArray[np.uint8]) -> list[Tensor]:
    """Return the faces of a track in pieces (1, 25, H, W)."""
    starts = range(0, len(faces) - 24, 25)
    return [torch.from_numpy(faces[None, start : start + 25]) for start in starts]


@torch.inference_mode()
def look_at(look: Callable[[Tensor], Tensor], pieces: Sequence[Tensor]) -> None:
    """Look at the pieces of a track one by one."""
    for piece in pieces:
        look(piece)


if __name__ == "__main__":
    sys.exit(main())
