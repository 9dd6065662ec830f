"""Collect aligned faces of people in videos, and make those of people who do not exist."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.contract import FaceDetector, FaceEmbedder
from model.embedders.bundled import SIDE
from model.shipped.tiny_fcos_marks import look
from utils.datasets.face_pictures.cutouts import find_videos
from utils.datasets.face_pictures.made_faces import make_face
from utils.errors import UserError
from utils.files import replacing
from utils.media.container import ReadOptions, ReadReport, VideoInfo, probe
from utils.media.source_frames import SourceFrame, read_source_frames
from utils.structures import Frame
from utils.tracking.face_alignment import align, cut_colour, points_in_box

logger = logging.getLogger(__name__)

SURE = 0.7  # the detector's confidence from which on a face is used
SMALLEST = 40  # pixels of a box's height
LONGEST_S = 5.0  # of a video that is read
AT_ONCE = 64  # faces that are made before they are embedded
MIXED = (1, 2, 3, 4)  # people of whom a face is made


@dataclass(frozen=True, eq=False)
class Faces:
    """Aligned crops, and whose each is or what a teacher says of it."""

    crops: NDArray[np.uint8]  # (N, H, W, 3) RGB
    targets: NDArray[np.float32]  # (N, C), unit vectors
    people: NDArray[np.int64]  # (N,) number of the person; -1 for those who do not exist

    def __len__(self) -> int:
        return len(self.crops)


@dataclass(frozen=True)
class FaceSources:
    """Whose faces are collected."""

    folders: Sequence[Path]  # of videos
    left_out: Sequence[str] = ()  # files and people
    only: Sequence[str] = ()  # if given, the only people
    each: int = 12  # faces of a person, at most


def collect(
    detector: FaceDetector, sources: FaceSources, advance: Callable[[int], object]
) -> dict[str, NDArray[np.uint8]]:
    """Return aligned crops (N, 128, 128, 3) of each person, in order of time.

    Of a frame, the largest face is used.

    Args:
        detector: Finds the faces and, if it can, their points.
        sources: Whose faces.
        advance: Told after each person how many there were.
    """
    found: dict[str, NDArray[np.uint8]] = {}
    people = find_videos(sources.folders)
    for number, (name, paths) in enumerate(people.items(), 1):
        videos = [path for path in paths if path.name not in sources.left_out]
        skipped = name in sources.left_out or (sources.only and name not in sources.only)
        if videos and not skipped:
            pictures = sample(videos, sources.each)
            crops = [crop for one in pictures if (crop := cut(detector, one)) is not None]
            if crops:
                found[name] = np.stack(crops)
        advance(number)
    if len(found) < 2:
        raise UserError(f"expected faces of two people or more, found those of {len(found)}")
    return found


def sample(videos: Sequence[Path], most: int) -> Iterator[NDArray[np.uint8]]:
    """Yield about `most` RGB images, evenly spread over the beginnings of the videos.

    There are none without videos.
    """
    if not videos:
        return
    chosen = videos[:: -(-len(videos) // most)]
    each = max(1, round(most / len(chosen)))
    for path in chosen:
        video = probe(path)
        length_s = min(video.duration_s or LONGEST_S, LONGEST_S)
        every = max(1, int(length_s * float(video.fps)) // each)
        options = ReadOptions(duration_s=LONGEST_S, threads=1)
        for index, source in enumerate(read_source_frames(video, options, ReadReport())):
            if index % every == every // 2:
                yield upright_image(video, source)


def upright_image(video: VideoInfo, source: SourceFrame) -> NDArray[np.uint8]:
    """Return a frame as it is shown, RGB."""
    image = np.asarray(source.image.to_ndarray(format="rgb24"), np.uint8)
    return np.ascontiguousarray(video.orientation.upright(image))


def cut(detector: FaceDetector, picture: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Return the largest face of a picture, aligned, or None if it shows none clearly."""
    faces = look(detector, picture)
    boxes = faces.boxes
    heights = np.where(faces.confidences >= SURE, boxes[:, 3] - boxes[:, 1], 0)
    if heights.max(initial=0) < SMALLEST:
        return None
    largest = int(heights.argmax())
    points = points_in_box(boxes[largest], np.full((5, 2), 0.5))
    if faces.landmarks is not None:
        points = faces.landmarks[largest].astype(np.float64)
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    return cut_colour(Frame(0, grey, picture), align(points))


def make(
    teacher: FaceEmbedder,
    people: dict[str, NDArray[np.uint8]],
    count: int,
    seed: int,
    advance: Callable[[int], object],
) -> Faces:
    """Return the crops of people, and as many made of them that there are `count`.

    They are embedded in full size and reduced to the size that the student reads.
    """
    rng = np.random.default_rng(seed)
    own = list(people.values())
    real = [(number, crop) for number, group in enumerate(own) for crop in group][:count]
    numbers = np.full(count, -1, np.int64)
    numbers[: len(real)] = [number for number, _ in real]
    small, targets = [], []
    for start in range(0, count, AT_ONCE):
        crops = [crop for _, crop in real[start : start + AT_ONCE]]
        while start + len(crops) < min(start + AT_ONCE, count):
            count_mixed = min(len(own), int(rng.choice(MIXED)))
            mixed = rng.choice(len(own), count_mixed, replace=False)
            one, *others = (own[index][rng.integers(len(own[index]))] for index in mixed)
            crops.append(make_face(one, others, rng))
        targets.append(teacher.embed(np.stack(crops)))
        small += [cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for one in crops]
        advance(start + len(crops))
    return Faces(np.stack(small).astype(np.uint8), np.concatenate(targets), numbers)


def write(faces: Faces, path: Path) -> None:
    """Write faces to an NPZ file."""
    with replacing(path) as temporary:
        np.savez(temporary, crops=faces.crops, targets=faces.targets, people=faces.people)


def read(path: Path) -> Faces:
    """Read what `write` wrote."""
    with np.load(path) as arrays:
        return Faces(arrays["crops"], arrays["targets"], arrays["people"])
