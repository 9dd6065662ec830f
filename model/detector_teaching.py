"""Make pictures to train a face detector on, marked by another detector: the teacher."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.contract import FaceDetector
from utils.datasets.face_changes import hide_face
from utils.datasets.face_composites import Composer, Composite
from utils.datasets.face_cutouts import Cutout, cut_out, find_videos, sample_frames
from utils.datasets.face_pictures import MarkedPicture, PictureFolder
from utils.structures import Detections

logger = logging.getLogger(__name__)

SURE = 0.7  # the teacher's confidence from which on a box is a face
DOUBTFUL = 0.4  # below it there is none; between them there may or may not be one
SAME = 0.4  # IoU from which on two boxes are of one face
STORED = 480  # pixels of the longer side of a picture
FRAMES = 32  # of each person that are kept,
CHOICE = 3  # each the hardest of so many neighbours
BACKGROUND = 1024  # pixels of the longer side of a background that is held
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@dataclass(frozen=True)
class Sources:
    """What pictures are made of."""

    videos: Sequence[Path]  # folders
    backgrounds: Path  # a folder of pictures, in any depth
    held_out: Sequence[str] = ()  # people who are left out
    only_held_out: bool = False  # all others are left out instead
    seed: int = 0


def prepare(
    teacher: FaceDetector,
    sources: Sources,
    folder: Path,
    count: int,
    advance: Callable[[int], object],
) -> PictureFolder:
    """Return a folder of `count` marked pictures, making what is missing.

    Args:
        teacher: Finds faces from a confidence of `DOUBTFUL` on.
        sources: What they are made of.
        folder: Where they lie.
        count: How many are wanted, frames of the videos included.
        advance: Told after each picture how many there are.
    """
    pictures = PictureFolder(folder)
    if len(pictures) >= count:
        return pictures
    material = gather(teacher, sources)
    backgrounds = read_backgrounds(sources.backgrounds) + material.faceless
    logger.info("%d people cut out, %d backgrounds", len(material.cutouts), len(backgrounds))
    for index in range(len(pictures), count):
        rng = np.random.default_rng((sources.seed, index))
        if index < len(material.frames):
            pictures.add(material.frames[index])
        else:
            composer = Composer(material.cutouts, backgrounds, rng)
            pictures.add(mark(teacher, composer.compose()))
        advance(len(pictures))
    return pictures


@dataclass(frozen=True)
class Material:
    """What the videos give to make pictures of."""

    cutouts: list[Cutout] = field(default_factory=list)
    frames: list[MarkedPicture] = field(default_factory=list)  # as they are
    faceless: list[NDArray[np.uint8]] = field(default_factory=list)  # their faces hidden; JPEG


def gather(teacher: FaceDetector, sources: Sources) -> Material:
    """Return the people of the videos cut out, the frames, and the frames with faces hidden."""
    material = Material()
    for name, videos in find_videos(sources.videos).items():
        if (name in sources.held_out) != sources.only_held_out:
            continue
        frames = sample_frames(videos, FRAMES * CHOICE)
        while neighbours := list(islice(frames, CHOICE)):
            seen = [(frame, look(teacher, frame)) for frame in neighbours]
            frame, found = min(seen, key=lambda one: _ease(one[1]))
            for box, confidence in zip(found.boxes, found.confidences, strict=True):
                cut = cut_out(frame, box, name) if confidence >= SURE else None
                if cut is not None:
                    material.cutouts.append(cut)
            rng = np.random.default_rng((sources.seed, len(material.frames)))
            material.faceless.append(_faceless(frame, found, rng))
            sure = found.confidences >= SURE
            material.frames.append(reduced(frame, found.boxes, sure))
        logger.info("%s: %d cut out so far", name, len(material.cutouts))
    return material


def _ease(found: Detections) -> float:
    """Return how certain the teacher is of the hardest face that it is sure of."""
    return float(found.confidences[found.confidences >= SURE].min(initial=1.0))


def _faceless(
    frame: NDArray[np.uint8], found: Detections, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return a frame whose faces are hidden, to put others into, as the bytes of a JPEG file."""
    for box in found.boxes:
        left, top, right, bottom = (float(value) for value in box)
        frame = hide_face(frame, (left, top, right, bottom), rng)
    return _encode(np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), np.uint8))


def look(teacher: FaceDetector, picture: NDArray[np.uint8]) -> Detections:
    """Return the teacher's faces in pixels of the picture, whatever size it wants to see."""
    height, width = picture.shape[:2]
    wanted = teacher.picture_size(width, height)
    how = cv2.INTER_AREA if wanted[0] < width else cv2.INTER_LINEAR
    seen = np.asarray(cv2.resize(picture, wanted, interpolation=how), np.uint8)
    found = teacher.detect([seen])[0]
    scale = np.array([width / wanted[0], height / wanted[1]] * 2, np.float32)
    return Detections(found.boxes * scale, found.confidences)


def mark(teacher: FaceDetector, made: Composite) -> MarkedPicture:
    """Return a composite with its faces where the teacher sees them, else where they were put.

    A face that was put in clearly is one even if the teacher misses it; what the teacher finds
    beside them is one if it is sure.
    """
    found = look(teacher, made.picture)
    put = np.array(made.boxes, np.float32).reshape(-1, 4)
    overlap = overlaps(put, found.boxes)
    boxes, clear = [], []
    taken = np.zeros(len(found), bool)
    for row, box, visible in zip(overlap, put, made.clear, strict=True):
        best = int(row.argmax()) if len(row) else -1
        if best >= 0 and row[best] >= SAME and not taken[best]:
            taken[best] = True
            boxes.append(found.boxes[best])
            clear.append(visible or bool(found.confidences[best] >= SURE))
        else:
            boxes.append(box)
            clear.append(visible)
    for box, confidence, used in zip(found.boxes, found.confidences, taken, strict=True):
        if not used:
            boxes.append(box)
            clear.append(bool(confidence >= SURE))
    return reduced(made.picture, np.array(boxes, np.float32).reshape(-1, 4), np.array(clear, bool))


def reduced(
    picture: NDArray[np.uint8], boxes: NDArray[np.float32], clear: NDArray[np.bool_]
) -> MarkedPicture:
    """Return a picture in the size in which it is kept."""
    scale = min(1.0, STORED / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return MarkedPicture(np.asarray(small, np.uint8), boxes * np.float32(scale), clear)


def read_backgrounds(folder: Path) -> list[NDArray[np.uint8]]:
    """Return the pictures below a folder, none too large, as the bytes of JPEG files.

    Raises:
        FileNotFoundError: There is none.
    """
    held = []
    for path in sorted(one for one in folder.rglob("*") if one.suffix.lower() in PICTURES):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None or min(image.shape[:2]) < 64:
            continue
        held.append(_encode(np.asarray(image, np.uint8)))
    if not held:
        kinds = ", ".join(PICTURES)
        raise FileNotFoundError(f"expected pictures ({kinds}) below {folder}, found none")
    return held


def overlaps(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the IoU of each of (N, 4) with each of (M, 4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(one[:, 2:] - one[:, :2], axis=1) for one in (a, b)]
    overlap: NDArray[np.float32] = shared / (areas[0][:, None] + areas[1][None] - shared)
    return overlap


def _encode(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a BGR picture, none too large, as the bytes of a JPEG file."""
    scale = BACKGROUND / max(image.shape[:2])
    if scale < 1:
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        image = np.asarray(small, np.uint8)
    return np.asarray(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1], np.uint8)
