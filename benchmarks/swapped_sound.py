"""Score faces with another video's audio: `python -m benchmarks.swapped_sound VIDEO VIDEO ...`.

Each video's faces are scored with the audio of the next video, looped from its start; the last
video's with that of the first. No visible person is audible, so every face-frame classified as
speaking is a false positive. The share of false positives is reported.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measure import report
from model.checkpoints.build import load_single
from model.contract import Network
from model.face_finding import FaceFinder, choose_finder
from model.scoring.windows import score_track
from utils.errors import UserError
from utils.media.audio import Sound
from utils.media.container import ReadOptions, VideoInfo, probe
from utils.model_options import DetectorOptions
from utils.structures import SAMPLE_RATE, SAMPLES_PER_FRAME, CropPiece


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, score the faces, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="+", type=Path, help="two or more videos with speech")
    parser.add_argument("--networks", nargs="+", default=["synchrony", "lr_asd", "light_asd"])
    parser.add_argument("--threads", type=int, help="processor cores to use; default: all")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args(arguments)
    if len(options.videos) < 2:
        parser.error("expected two or more videos, found one")
    if options.threads:
        torch.set_num_threads(options.threads)
    networks = {name: cast(Network, load_single(name)) for name in options.networks}
    finder = choose_finder(DetectorOptions(), "cpu")
    videos = [probe(path) for path in options.videos]
    sounds = [read_sound(video) for video in videos]
    counts = [
        count_called(networks, find_crops(finder, video), sounds[(number + 1) % len(sounds)])
        for number, video in enumerate(videos)
    ]
    named = list(zip([video.path.stem for video in videos], counts, strict=True))
    report([shares(*row) for row in [*named, ("all", sum(counts, Counter()))]], options.json)
    return 0


def count_called(
    networks: Mapping[str, Network], pieces: Sequence[CropPiece], sound: NDArray[np.int16]
) -> Counter[str]:
    """Count the face-frames and, for each network, those classified as speaking."""
    counts: Counter[str] = Counter()
    for piece in pieces:
        start = piece.start * SAMPLES_PER_FRAME
        heard = np.resize(np.roll(sound, -start), len(piece.crops) * SAMPLES_PER_FRAME)
        counts["frames"] += len(piece.crops)
        for name, network in networks.items():
            counts[name] += int((score_track(network, piece.crops, heard) > 0).sum())
    return counts


def shares(video: str, counts: Counter[str]) -> dict[str, object]:
    """Return a row of the table: the share of false positives per network."""
    frames = counts["frames"]
    named = {name: round(count / max(1, frames), 3) for name, count in counts.items()}
    return {"video": video, **named, "frames": frames}


def read_sound(video: VideoInfo) -> NDArray[np.int16]:
    """Return the whole audio of a video.

    Raises:
        UserError: It has none.
    """
    sound = Sound(video, ReadOptions(), video.duration_s + 1)
    if not sound.has_sound:
        raise UserError(f"{video.path}: expected a video with sound, found none in it")
    return sound.read(0, int(video.duration_s * SAMPLE_RATE))


def find_crops(finder: FaceFinder, video: VideoInfo) -> list[CropPiece]:
    """Return the crops of the tracks that are kept."""
    pieces = [piece for piece in finder(video) if isinstance(piece, CropPiece)]
    dropped = {piece.track for piece in pieces if not piece.kept}
    return [piece for piece in pieces if piece.track not in dropped]


if __name__ == "__main__":
    sys.exit(main())
