"""Make images to train a face detector on, marked by another detector: the teacher."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.contract import FaceDetector
from model.shipped.tiny_fcos_marks import SAME, SURE, MarkedFrame, look, mark_video
from utils.boxes import iou
from utils.datasets.face_pictures.augmentation import hide_face
from utils.datasets.face_pictures.composites import Composite, CompositeMaker
from utils.datasets.face_pictures.cutouts import Cutout, cut_out, find_videos
from utils.datasets.face_pictures.images import AnnotatedImage, ImageFolder
from utils.datasets.face_pictures.turning import likeness, turn_head
from utils.files import check_folder

logger = logging.getLogger(__name__)

STORED = 480  # pixels of the longer side of an image
VIDEOS = 6  # of each person that are read at most,
LONGEST_S = 30.0  # and so much of each
FRAMES = 48  # of each person that are kept,
CHOICE = 3  # each the hardest of so many neighbours, and the others too
HARD = 0.85  # if the teacher is less certain than this of a face in them, or the student errs
FRONTAL = 0.4  # heads are turned of faces that are so much like themselves in the mirror
NEARBY = 0.25  # IoU with the face of the model from which on the teacher means it
BACKGROUND = 1024  # pixels of the longer side of a background that is held
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@dataclass(frozen=True)
class Sources:
    """What images are made of."""

    videos: Sequence[Path]  # folders
    backgrounds: Path  # a folder of images, in any depth
    held_out: Sequence[str] = ()  # people who are left out
    only_held_out: bool = False  # all others are left out instead
    seed: int = 0
    student: FaceDetector | None = None  # its mistakes are trained on more
    num_turned: int = 30  # heads turned away that are made of each person


def prepare(
    teacher: FaceDetector,
    sources: Sources,
    folder: Path,
    count: int,
    advance: Callable[[int], object],
) -> ImageFolder:
    """Return a folder of `count` marked images, making what is missing.

    Args:
        teacher: Finds faces from a confidence of `DOUBTFUL` on.
        sources: What they are made of.
        folder: Where they lie.
        count: How many are wanted, frames of the videos included.
        advance: Told after each image how many there are.
    """
    check_folder(folder)
    images = ImageFolder(folder)
    if len(images) >= count:
        return images
    material = gather(teacher, sources)
    people = material.cutouts + turn_heads(teacher, material.cutouts, sources)
    backgrounds = read_backgrounds(sources.backgrounds) + material.faceless
    logger.info("%d people cut out or turned, %d backgrounds", len(people), len(backgrounds))
    for index in range(len(images), count):
        rng = np.random.default_rng((sources.seed, index))
        if index < len(material.frames):
            images.add(material.frames[index])
        else:
            composer = CompositeMaker(people, backgrounds, rng)
            images.add(mark(teacher, composer.compose()))
        advance(len(images))
    return images


@dataclass(frozen=True)
class Material:
    """What the videos give to make images of."""

    cutouts: list[Cutout] = field(default_factory=list)
    frames: list[AnnotatedImage] = field(default_factory=list)  # as they are
    faceless: list[NDArray[np.uint8]] = field(default_factory=list)  # their faces hidden; JPEG


def gather(teacher: FaceDetector, sources: Sources) -> Material:
    """Return the people of the videos cut out, the frames, and the frames with faces hidden."""
    material = Material()
    for name, videos in find_videos(sources.videos).items():
        if (name in sources.held_out) != sources.only_held_out:
            continue
        step = -(-len(videos) // VIDEOS)
        most = max(1, FRAMES * CHOICE // len(videos[::step]))
        frames: list[MarkedFrame] = []
        for path in videos[::step]:
            frames += mark_video(teacher, path, most, LONGEST_S)
        for start in range(0, len(frames), CHOICE):
            neighbours = sorted(frames[start : start + CHOICE], key=lambda one: one.ease)
            for number, frame in enumerate(neighbours):
                if number == 0 or frame.ease < HARD or _misleads(sources.student, frame):
                    _keep(material, frame, name)
            rng = np.random.default_rng((sources.seed, len(material.frames)))
            material.faceless.append(_faceless(neighbours[0], rng))
        logger.info("%s: %d cut out so far", name, len(material.cutouts))
    return material


def _misleads(student: FaceDetector | None, frame: MarkedFrame) -> bool:
    return student is not None and errs(student, frame)


def errs(student: FaceDetector, frame: MarkedFrame) -> bool:
    """Return whether a student misses a face that is clearly there, or finds a false one."""
    overlap = iou(frame.boxes[:, None], look(student, frame.image).boxes[None])
    missed = overlap[frame.clear].max(axis=1, initial=0) < SAME
    return bool(missed.any() or (overlap.max(axis=0, initial=0) < SAME).any())


def _keep(material: Material, frame: MarkedFrame, identity: str) -> None:
    """Add a frame as it is, and the people in it cut out."""
    image = frame.image
    clear = frame.clear
    for box, confidence in zip(frame.boxes[clear], frame.confidences[clear], strict=True):
        cut = cut_out(image, box, identity)
        if cut is not None:
            material.cutouts.append(replace(cut, hard=bool(confidence < HARD)))
    material.frames.append(reduced(image, frame.boxes, clear))


def turn_heads(teacher: FaceDetector, cutouts: Sequence[Cutout], sources: Sources) -> list[Cutout]:
    """Return people seen from in front, turned away, where the teacher still sees a face."""
    people: dict[str, list[Cutout]] = {}
    for one in cutouts:
        if likeness(one) >= FRONTAL:
            people.setdefault(one.identity, []).append(one)
    rng = np.random.default_rng((sources.seed, 1))
    heads = []
    for fronts in people.values():
        for _ in range(sources.num_turned):
            head = confirmed(teacher, turn_head(fronts[rng.integers(len(fronts))], rng))
            if head is not None:
                heads.append(head)
    logger.info("%d heads of %d people turned", len(heads), len(people))
    return heads


def confirmed(teacher: FaceDetector, head: Cutout) -> Cutout | None:
    """Return a modelled head with the face where the teacher sees it, or None if it does not."""
    image, matte = head.decode()
    shown = np.where(matte[..., None] > 127, image, np.uint8(127)).astype(np.uint8)
    found = look(teacher, shown)
    overlap = iou(np.array(head.face, np.float32), found.boxes)
    best = int(overlap.argmax()) if len(overlap) else -1
    if best < 0 or overlap[best] < NEARBY or found.confidences[best] < SURE:
        return None
    x1, y1, x2, y2 = (float(value) for value in found.boxes[best])
    hard = bool(found.confidences[best] < HARD)
    return replace(head, face=(x1, y1, x2, y2), hard=hard)


def _faceless(frame: MarkedFrame, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a frame whose faces are hidden, to put others into, as the bytes of a JPEG file."""
    image = frame.image
    for box in frame.boxes:
        left, top, right, bottom = (float(value) for value in box)
        image = hide_face(image, (left, top, right, bottom), rng)
    return _encode(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), np.uint8))


def mark(teacher: FaceDetector, made: Composite) -> AnnotatedImage:
    """Return a composite with its faces where the teacher sees them, else where they were put.

    A face that was put in clearly is one even if the teacher misses it; what the teacher finds
    beside them is one if it is sure.
    """
    found = look(teacher, made.image)
    put = np.array(made.boxes, np.float32).reshape(-1, 4)
    overlap = iou(put[:, None], found.boxes[None])
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
    return reduced(made.image, np.array(boxes, np.float32).reshape(-1, 4), np.array(clear, bool))


def reduced(
    image: NDArray[np.uint8], boxes: NDArray[np.float32], clear: NDArray[np.bool_]
) -> AnnotatedImage:
    """Return an image in the size in which it is kept."""
    scale = min(1.0, STORED / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return AnnotatedImage(np.asarray(small, np.uint8), boxes * np.float32(scale), clear)


def read_backgrounds(folder: Path) -> list[NDArray[np.uint8]]:
    """Return the images below a folder, none too large, as the bytes of JPEG files.

    Raises:
        FileNotFoundError: There is none.
    """
    held = []
    for path in sorted(one for one in folder.rglob("*") if one.suffix.lower() in IMAGES):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None or min(image.shape[:2]) < 64:
            continue
        held.append(_encode(np.asarray(image, np.uint8)))
    if not held:
        kinds = ", ".join(IMAGES)
        raise FileNotFoundError(f"expected images ({kinds}) below {folder}, found none")
    return held


def _encode(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a BGR image, none too large, as the bytes of a JPEG file."""
    scale = BACKGROUND / max(image.shape[:2])
    if scale < 1:
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        image = np.asarray(small, np.uint8)
    return np.asarray(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1], np.uint8)
