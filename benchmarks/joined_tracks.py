"""Measure face embedders by how well made tracks are joined to people, and choose thresholds.

python -m benchmarks.joined_tracks --videos DIR,DIR --embedders face_reid bundled

Shots of 0.4 to 1.3 s are taken from videos that show one person each. Three quarters of them are
spoiled: faces of 20 to 140 pixels, dark, tinted, blurred, noisy, compressed. YuNet, tracker and
choice of crops are those of the demo. Tracks of two to seven people make a video, and its tracks
are joined as by the demo. Prints pairwise precision and recall over all videos, with 95 % intervals
by resampling videos, for each threshold.

INDEX.csv beside the videos (columns file and identity) says who is in which; files that show
several people are left out.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import report
from model.checkpoints.registry import find_file, get_weights
from model.contract import FaceDetector, FaceEmbedder
from model.detection import detect_faces
from model.detectors.yunet import YuNet
from model.embedders import bundled
from model.embedding import load_embedder, places_of
from model.shipped.face_embedder_faces import upright_image
from utils.datasets.face_pictures.augmentation import dim, recolour
from utils.datasets.face_pictures.cutouts import find_videos
from utils.errors import UserError
from utils.media.container import ReadOptions, ReadReport, probe
from utils.media.source_frames import read_source_frames
from utils.people.grouping import FaceTracks, group_tracks, mean_direction
from utils.progress import bar
from utils.structures import CropPiece, FaceCrops, Frame
from utils.tracking.crops import CropOptions, crop_faces
from utils.tracking.face_choice import FaceChoice
from utils.tracking.greedy_tracker import GreedyTracker, TrackOptions

SHORTEST, LONGEST = 10, 33  # frames of a shot
SPOILED = 0.75  # share of the shots
HEIGHTS = (20, 140)  # pixels of spoiled faces
EVERY = 2  # frames from one that is searched for faces to the next
DRAWS = 1000  # of the bootstrap over videos


class ShotTrack(NamedTuple):
    """The face of one shot."""

    person: str
    num_frames: int
    faces: FaceCrops


class JoinedPairs(NamedTuple):
    """Pairs of tracks of one video."""

    same: int  # of one person
    joined: int
    right: int  # of one person and joined


@dataclass(frozen=True, eq=False)
class ShotTaker:
    """Takes shots from the videos of one person."""

    detector: FaceDetector
    videos: Sequence[Path]
    each: int
    rng: np.random.Generator

    def tracks(self, person: str) -> Iterator[ShotTrack]:
        """Yield the faces that are found; a shot in which there is none gives nothing."""
        for number in range(self.each):
            images = self._read(self.videos[number % len(self.videos)])
            if not images:
                continue
            if self.rng.random() < SPOILED:
                images = self._spoil(images)
            pieces = [piece for piece in self._follow(images) if piece.faces is not None]
            if pieces:
                largest = max(pieces, key=_height)
                assert largest.faces is not None
                yield ShotTrack(person, len(largest.boxes), largest.faces)

    def _read(self, path: Path) -> list[NDArray[np.uint8]]:
        """Return the RGB images of a shot, from a random place on."""
        video, length = probe(path), int(self.rng.integers(SHORTEST, LONGEST + 1))
        length_s = length / float(video.fps)
        start_s = float(self.rng.uniform(0, max(0.0, video.duration_s - length_s - 0.2)))
        options = ReadOptions(start_s=start_s, duration_s=length_s, threads=1)
        return [
            upright_image(video, one) for one in read_source_frames(video, options, ReadReport())
        ]

    def _spoil(self, images: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        """Return the images as another camera or codec might show them."""
        rng, seed = self.rng, int(self.rng.integers(2**32))
        height = float(np.exp(rng.uniform(*np.log(HEIGHTS))))
        seen = _sized(images[0], self.detector)
        boxes = self.detector.detect([seen])[0].boxes * (images[0].shape[0] / seen.shape[0])
        own = float((boxes[:, 3] - boxes[:, 1]).max(initial=0))
        scale = min(1.0, height / own) if own else 1.0
        dark, blur = rng.random() < 0.2, float(rng.uniform(0.4, 1.5)) * (rng.random() < 0.25)
        noise, quality = float(rng.uniform(0, 8)), int(rng.integers(25, 90))
        changed = []
        for image in images:
            same = np.random.default_rng(seed)  # the light does not change in a shot
            small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            lit = recolour(np.asarray(small, np.uint8), same, 0.7)
            lit = dim(lit, same) if dark else lit
            if blur:
                lit = np.asarray(cv2.GaussianBlur(lit, (0, 0), blur), np.uint8)
            grain = rng.normal(0, noise, lit.shape[:2])[..., None]
            rough = np.clip(lit + grain, 0, 255).astype(np.uint8)
            _, coded = cv2.imencode(".jpg", rough, [cv2.IMWRITE_JPEG_QUALITY, quality])
            changed.append(np.asarray(cv2.imdecode(coded, cv2.IMREAD_UNCHANGED), np.uint8))
        return changed

    def _follow(self, images: Sequence[NDArray[np.uint8]]) -> Iterator[CropPiece]:
        """Yield the face tracks of a shot, as the demo finds them."""
        frames = (
            Frame(
                index,
                np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8),
                _sized(image, self.detector),
            )
            for index, image in enumerate(images)
        )
        choice = FaceChoice(places_of(self.detector.name))
        found = detect_faces(frames, self.detector, EVERY)
        tracker = GreedyTracker(TrackOptions(), EVERY)
        for item in crop_faces(found, tracker, CropOptions(), choice=choice):
            if isinstance(item, CropPiece) and item.kept:
                yield item


def _height(piece: CropPiece) -> float:
    """Return the mean height of a face, pixels."""
    return float((piece.boxes[:, 3] - piece.boxes[:, 1]).mean())


def _sized(image: NDArray[np.uint8], detector: FaceDetector) -> NDArray[np.uint8]:
    """Return an image in the size that the detector reads."""
    size = detector.image_size(image.shape[1], image.shape[0])
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def make_tracks(
    detector: FaceDetector, videos: str, left_out: Sequence[str], each: int, seed: int
) -> list[ShotTrack]:
    """Return about `each` tracks of each person who is alone in videos."""
    people = find_videos([Path(folder) for folder in videos.split(",")])
    alone = {
        name: paths for name, paths in people.items() if ";" not in name and name not in left_out
    }
    tracks: list[ShotTrack] = []
    with bar("making tracks", len(alone), "people") as advance:
        for number, (name, paths) in enumerate(alone.items()):
            rng = np.random.default_rng((seed, number))
            tracks += ShotTaker(detector, paths, each, rng).tracks(name)
            advance(number + 1)
    return tracks


def draw_videos(
    tracks: Sequence[ShotTrack], count: int, rng: np.random.Generator
) -> list[list[int]]:
    """Return the tracks of made videos: two to seven people, two to six tracks each."""
    owners = np.array([track.person for track in tracks])
    names = np.unique(owners)
    if len(names) < 2:
        raise UserError(f"expected tracks of two people or more, found those of {len(names)}")
    videos = []
    for _ in range(count):
        people = rng.choice(names, min(len(names), int(rng.integers(2, 8))), replace=False)
        chosen: list[int] = []
        for person in people:
            own = np.flatnonzero(owners == person)
            chosen += rng.permutation(own)[: int(rng.integers(2, 7))].tolist()
        videos.append(rng.permutation(chosen).tolist())
    return videos


def count_pairs(
    tracks: Sequence[ShotTrack], vectors: NDArray[np.float32], threshold: float
) -> JoinedPairs:
    """Return how the tracks of one video, shown one after the other, are joined."""
    lengths = np.array([track.num_frames for track in tracks], np.int64)
    stops = np.cumsum(lengths)
    weights = np.array([track.faces.qualities.max() for track in tracks], np.float32)
    faces = FaceTracks(np.arange(len(tracks)), stops - lengths, stops, vectors, weights)
    labels, _ = group_tracks(faces, threshold)
    pairs = list(combinations(range(len(tracks)), 2))
    same = [tracks[one].person == tracks[other].person for one, other in pairs]
    joined = [bool(labels[one] == labels[other]) for one, other in pairs]
    right = sum(a and b for a, b in zip(same, joined, strict=True))
    return JoinedPairs(sum(same), sum(joined), right)


def rates(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return precision and recall (..., 2) of counts of pairs (..., 3)."""
    same, joined, right = np.moveaxis(counts, -1, 0)
    return np.stack((right / np.maximum(joined, 1), right / np.maximum(same, 1)), -1)


def row_of(counts: Sequence[JoinedPairs], rng: np.random.Generator) -> dict[str, object]:
    """Return precision and recall over all videos, and their intervals."""
    table = np.array(counts, np.int64)
    drawn = table[rng.integers(len(table), size=(DRAWS, len(table)))].sum(axis=1)
    (low_p, low_r), (high_p, high_r) = np.percentile(rates(drawn), (2.5, 97.5), axis=0)
    precision, recall = rates(table.sum(axis=0))
    row: dict[str, object] = {"precision": float(precision), "from": low_p, "to": high_p}
    return row | {"recall": float(recall), "recall from": low_r, "recall to": high_r}


def load(name: str) -> FaceEmbedder:
    """Return an embedder by its name, or the bundled one with the weights of a file."""
    if name.endswith(".safetensors"):
        return bundled.load(find_file(Path(name)), "cpu")
    return load_embedder(name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, make the tracks, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", required=True, help="folders of videos, with commas between")
    parser.add_argument("--leftOut", nargs="*", default=[], help="people who are not used")
    parser.add_argument("--embedders", nargs="+", default=["face_reid", "bundled"])
    parser.add_argument("--thresholds", nargs="+", type=float, help="default: the embedder's own")
    parser.add_argument("--each", type=int, default=16, help="shots of a person")
    parser.add_argument("--count", type=int, default=200, help="videos made of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args(arguments)
    detector = YuNet(get_weights("yunet"))
    tracks = make_tracks(detector, options.videos, options.leftOut, options.each, options.seed)
    videos = draw_videos(tracks, options.count, np.random.default_rng(options.seed))
    print(f"{len(tracks)} tracks of {len({track.person for track in tracks})} people")
    rows = []
    for name in options.embedders:
        embedder = load(name)
        vectors = np.stack(
            [mean_direction(embedder.embed(one.faces.crops), one.faces.qualities) for one in tracks]
        )
        for threshold in options.thresholds or [embedder.threshold]:
            counts = [
                count_pairs([tracks[one] for one in video], vectors[video], threshold)
                for video in videos
            ]
            row = {"embedder": name, "threshold": threshold}
            rows.append(row | row_of(counts, np.random.default_rng(options.seed)))
    report(rows, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
