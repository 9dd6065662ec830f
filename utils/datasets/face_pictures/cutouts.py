"""Cut people out of video frames, to compose other images with their faces."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.files import reading_table

INDEX = "INDEX.csv"  # beside the videos, with columns file and identity
SUFFIXES = (".mp4", ".mpg", ".avi", ".webm", ".mkv", ".mov")
FACE_HEIGHT = 240  # pixels; larger faces are resized to it
MATTE_FACE = 64  # pixels; height of a face at which mattes are computed
SMALLEST_FACE = 24  # pixels; smaller faces are skipped


@dataclass(frozen=True, eq=False)
class Cutout:
    """One person's head and shoulders, encoded because there are thousands."""

    identity: str
    image: NDArray[np.uint8]  # JPEG, (H, W, 3) BGR when decoded
    matte: NDArray[np.uint8]  # PNG, (H, W), 255 for the person
    face: tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the image
    modelled: bool = False  # whether it is rendered from a 3D model of the head
    hard: bool = False  # whether a detector has low confidence in the face

    def decode(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the image (H, W, 3) RGB and the matte (H, W)."""
        image = cv2.imdecode(self.image, cv2.IMREAD_COLOR_RGB)
        matte = cv2.imdecode(self.matte, cv2.IMREAD_GRAYSCALE)
        return np.asarray(image, np.uint8), np.asarray(matte, np.uint8)


def find_videos(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the videos of folders by person; without an index, each file is another person.

    Raises:
        FileNotFoundError: A folder has no videos.
    """
    people: dict[str, list[Path]] = {}
    for folder in folders:
        videos = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
        if not videos:
            kinds = ", ".join(SUFFIXES)
            raise FileNotFoundError(f"expected videos ({kinds}) in {folder}, found none")
        names = _identities(folder / INDEX)
        for path in videos:
            people.setdefault(names.get(path.name, path.stem), []).append(path)
    return people


def _identities(index: Path) -> dict[str, str]:
    if not index.is_file():
        return {}
    with reading_table(index) as file:
        rows = list(csv.DictReader(file))
    return {row["file"]: row["identity"] for row in rows if row.get("identity")}


def cut_out(frame: NDArray[np.uint8], box: NDArray[np.float32], identity: str) -> Cutout | None:
    """Return the person whose face is in the box, or None if the face is too small."""
    width, height = box[2:] - box[:2]
    if height < SMALLEST_FACE:
        return None
    left, top = box[0] - 0.9 * width, box[1] - 0.75 * height
    right, bottom = box[2] + 0.9 * width, box[3] + 0.9 * height
    x1, y1 = max(int(left), 0), max(int(top), 0)
    x2, y2 = min(int(right), frame.shape[1]), min(int(bottom), frame.shape[0])
    image = frame[y1:y2, x1:x2]
    scale = min(1.0, FACE_HEIGHT / float(height))
    if scale < 1:
        image = np.asarray(
            cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
    face = (box - np.array([x1, y1, x1, y1], np.float32)) * np.float32(scale)
    return pack(identity, image, _find_matte(image, face), face)


def pack(
    identity: str, image: NDArray[np.uint8], matte: NDArray[np.uint8], face: NDArray[np.float32]
) -> Cutout:
    """Return a cutout with encoded image (H, W, 3) RGB and matte (H, W)."""
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [1, 95])[1]
    png = cv2.imencode(".png", matte)[1]
    x1, y1, x2, y2 = (float(value) for value in face)
    return Cutout(identity, np.asarray(jpeg, np.uint8), np.asarray(png, np.uint8), (x1, y1, x2, y2))


def _find_matte(image: NDArray[np.uint8], face: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the person's matte, 255 inside, with soft edges.

    GrabCut (Rother et al., 2004) is initialised with the centre of the face as foreground and the
    area beside and above the head as background.
    """
    scale = MATTE_FACE / float(face[3] - face[1])
    small = np.asarray(cv2.resize(image, None, fx=scale, fy=scale), np.uint8)
    x1, y1, x2, y2 = face * scale
    centre = (int((x1 + x2) / 2), int((y1 + y2) / 2))
    wide, high = float(x2 - x1), float(y2 - y1)
    marks = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    head = (int(0.85 * wide), int(0.95 * high))
    cv2.ellipse(marks, centre, head, 0, 0, 360, cv2.GC_PR_FGD, -1)
    shoulders = (centre[0], int(y2 + 0.9 * high))
    cv2.ellipse(marks, shoulders, (int(1.3 * wide), int(0.8 * high)), 0, 0, 360, cv2.GC_PR_FGD, -1)
    cv2.ellipse(marks, centre, (int(0.4 * wide), int(0.45 * high)), 0, 0, 360, cv2.GC_FGD, -1)
    cv2.setRNGSeed(0)  # grabCut initialises its clusters with OpenCV's generator
    model = (np.zeros((1, 65)), np.zeros((1, 65)))
    cv2.grabCut(small, marks, None, *model, 2, cv2.GC_INIT_WITH_MASK)
    inside = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    inside = np.asarray(cv2.medianBlur(inside, 5), np.uint8)
    cv2.ellipse(inside, centre, (int(0.45 * wide), int(0.5 * high)), 0, 0, 360, 255, -1)
    size = (image.shape[1], image.shape[0])
    large = cv2.resize(inside, size, interpolation=cv2.INTER_LINEAR)
    spread = max(1.0, 0.02 * float(face[3] - face[1]))
    return np.asarray(cv2.GaussianBlur(large, (0, 0), spread), np.uint8)
