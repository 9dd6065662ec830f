"""A folder of images with annotated faces, and augmented crops of them to train a detector.

`pictures.csv` has a line for each image, written after the image: its file, and for each box
x1, y1, x2, y2 in pixels and 1 if the face must be detected, 0 if it may be detected or not.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.datasets.face_pictures.augmentation import dim, recolour
from utils.errors import UserError
from utils.files import append_line, read_lines, replacing

TABLE = "pictures.csv"
ZOOMS = (0.45, 1.4)  # scale of an image, drawn on a log scale
SMALLEST = 7.0  # pixels of a face's height; smaller faces may be detected or not
BEND = (0.7, 0.25)  # maximum log of the local scale of columns and of rows
DARK = 0.15  # share of crops in low light
FAINT = 3.0  # grey levels; in low light, a face with less contrast may be detected or not
TURNED = 0.3  # share of crops turned in their plane
TURN = 25.0  # degrees, at most
COARSE = 0.15  # share of crops reduced and enlarged again
COARSEST = 0.35  # smallest factor of that
FILL = 127  # grey level of padding


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """An image and its faces."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    boxes: NDArray[np.float32]  # (N, 4) x1, y1, x2, y2 in its pixels
    clear: NDArray[np.bool_]  # (N,) True: must be detected; False: may be detected or not


class ImageFolder:
    """Reads and extends a folder of annotated images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows = list(csv.reader(read_lines(folder / TABLE)))

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, annotated: AnnotatedImage) -> None:
        """Write an image, then its line."""
        name = f"{len(self._rows):06d}.jpg"
        bgr = annotated.image[..., ::-1]
        encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        with replacing(self.folder / name) as temporary:
            temporary.write_bytes(encoded.tobytes())
        row = [name]
        for box, clear in zip(annotated.boxes, annotated.clear, strict=True):
            row += [*(f"{value:.1f}" for value in box), str(int(clear))]
        append_line(self.folder / TABLE, ",".join(row))
        self._rows.append(row)

    def read(self, index: int) -> AnnotatedImage:
        """Return an image.

        Raises:
            UserError: Its file is missing or damaged.
        """
        name, *numbers = self._rows[index]
        image = cv2.imread(str(self.folder / name), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise UserError(
                f"expected an image in {self.folder / name}, found none or a damaged file; "
                f"remove {self.folder} to create all again"
            )
        values = np.array(numbers, np.float32).reshape(-1, 5)
        return AnnotatedImage(np.asarray(image, np.uint8), values[:, :4], values[:, 4] > 0)


def draw_batch(
    images: ImageFolder, indices: Sequence[int], side: int, rng: np.random.Generator
) -> list[AnnotatedImage]:
    """Return an augmented crop of `side` pixels of each of the images."""
    return [augment(crop(images.read(index), side, rng), rng) for index in indices]


def crop(annotated: AnnotatedImage, side: int, rng: np.random.Generator) -> AnnotatedImage:
    """Return a random square of an image at a random scale, mostly around a face."""
    zoom = float(np.exp(rng.uniform(*np.log(ZOOMS))))
    method = cv2.INTER_AREA if zoom < 1 and rng.random() < 0.7 else cv2.INTER_LINEAR
    image = np.asarray(cv2.resize(annotated.image, None, fx=zoom, fy=zoom, interpolation=method))
    height, width = image.shape[:2]
    boxes = annotated.boxes * np.float32(zoom)
    centre = rng.uniform(0, 1, 2) * (width, height)
    if len(boxes) and rng.random() < 0.8:
        chosen = boxes[rng.integers(len(boxes))]
        centre = (chosen[:2] + chosen[2:]) / 2 + rng.uniform(-0.45, 0.45, 2) * side
    room = np.array([width - side, height - side])
    low, high = np.minimum(room, 0), np.maximum(room, 0)
    x, y = (int(value) for value in np.clip(centre - side / 2, low, high))
    square = np.full((side, side, 3), FILL, np.uint8)
    part = image[max(y, 0) : y + side, max(x, 0) : x + side]
    top, left = max(-y, 0), max(-x, 0)
    square[top : top + part.shape[0], left : left + part.shape[1]] = part
    boxes = boxes - np.array([x, y, x, y], np.float32)
    inside = np.clip(boxes, 0, side)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    share = np.prod(inside[:, 2:] - inside[:, :2], axis=1) / np.maximum(areas, 1e-6)
    visible = share > 0.1
    large = boxes[:, 3] - boxes[:, 1] >= SMALLEST
    clear = annotated.clear & large & (share > 0.6)
    return AnnotatedImage(square, boxes[visible], clear[visible])


def augment(annotated: AnnotatedImage, rng: np.random.Generator) -> AnnotatedImage:
    """Return an image that is randomly bent, mirrored, relit, blurred, noisy or compressed."""
    image, boxes = annotated.image, annotated.boxes
    if rng.random() < 0.5:
        image, boxes = bend(image, boxes, rng)
    if rng.random() < TURNED:
        image, boxes = turn(image, boxes, rng)
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
        width = image.shape[1]
        boxes = np.stack(
            [width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1
        )
    image = recolour(image, rng, 0.8)
    clear = annotated.clear
    if rng.random() < DARK:
        image = dim(image, rng)
        clear = clear & (_contrasts(image, boxes) >= FAINT)
    if rng.random() < 0.1:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        image = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    if rng.random() < 0.25:
        spread = rng.uniform(0.3, 1.4, 2)
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), *spread), np.uint8)
    if rng.random() < COARSE:
        image = coarsen(image, rng)
    if rng.random() < 0.25:
        noise = rng.normal(0, rng.uniform(2, 14), image.shape[:2]).astype(np.float32)
        image = np.clip(image + noise[..., None], 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        quality = int(rng.integers(12, 80))
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return AnnotatedImage(image, boxes, clear)


def turn(
    image: NDArray[np.uint8], boxes: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return an image turned in its plane, and the boxes, which keep their size."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-TURN, TURN), 1.0)
    border = (FILL, FILL, FILL)
    turned = cv2.warpAffine(image, matrix, (width, height), borderValue=border)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    halves = (boxes[:, 2:] - boxes[:, :2]) / 2
    moved = centres @ matrix[:, :2].T + matrix[:, 2]
    placed = np.concatenate([moved - halves, moved + halves], axis=1)
    return np.asarray(turned, np.uint8), placed.astype(np.float32)


def coarsen(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the image reduced and enlarged again."""
    size = image.shape[1], image.shape[0]
    share = rng.uniform(COARSEST, 0.8)
    small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _contrasts(image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the standard deviation of brightness in each box, (N,); 0 outside the image."""
    contrasts = np.zeros(len(boxes))
    for row, (x1, y1, x2, y2) in enumerate(np.maximum(boxes, 0).astype(int)):
        part = image[y1:y2, x1:x2]
        contrasts[row] = part.mean(axis=2).std() if part.size else 0.0
    return contrasts


def bend(
    image: NDArray[np.uint8], boxes: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return an image with columns and rows stretched and squeezed, and its boxes.

    This changes the shape of heads, and resembles heads that are turned away.
    """
    maps = []
    bent = boxes.copy()
    for axis, strength in ((0, BEND[0]), (1, BEND[1])):
        length = image.shape[1 - axis]
        parts = np.exp(rng.uniform(-strength, strength, rng.integers(2, 9)))
        target = np.concatenate([[0.0], np.cumsum(parts)]) / parts.sum() * length
        source = np.linspace(0, length, len(target))
        maps.append(np.interp(np.arange(length) + 0.5, target, source).astype(np.float32) - 0.5)
        corners = boxes[:, axis::2]
        inside = np.clip(corners, 0, length)
        bent[:, axis::2] = np.interp(inside, source, target) + (corners - inside)
    columns, rows = np.meshgrid(*maps)
    border = cv2.BORDER_REPLICATE
    moved = cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(moved, np.uint8), bent
