"""Turn people away from the camera, as most videos show frontal faces."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.datasets.face_pictures.cutouts import Cutout, pack
from utils.datasets.face_pictures.heads import AXIS, Head, model_head

UNIT = 110  # pixels per unit of the head
SIZE = (440, 400)  # height and width of a rendered head with shoulders, pixels
ORIGIN = (200, 170)  # x, y of the point between the eyes, pixels
PIVOT = np.array([0, -0.9, AXIS])  # centre of rotation of heads
YAWS = (20.0, 110.0)  # degrees to either side


def likeness(front: Cutout) -> float:
    """Return the correlation of a face with its mirror image, which is high for frontal faces."""
    image, _ = front.decode()
    x1, y1, x2, y2 = (max(0, round(value)) for value in front.face)
    small = np.asarray(cv2.resize(image[y1:y2, x1:x2], (24, 28)), np.float32).mean(axis=2)
    small -= np.asarray(cv2.GaussianBlur(small, (0, 0), 8), np.float32)  # light from one side
    return float(np.corrcoef(small.ravel(), small[:, ::-1].ravel())[0, 1])


def turn_head(front: Cutout, rng: np.random.Generator) -> Cutout:
    """Return a frontal person as seen from the side, from above or from below.

    The box is that of the model's face; a detector's box may differ slightly.
    """
    head = model_head(front, rng)
    yaw = rng.choice([-1, 1]) * rng.uniform(*YAWS)
    pitch = float(np.clip(rng.normal(8, 16), -30, 45))
    image, matte, box = render(head, (float(yaw), pitch, float(rng.normal(0, 8))), rng)
    return replace(pack(front.identity, image, matte, box), modelled=True)


def render(
    head: Head, pose: tuple[float, float, float], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """Return image, matte and box of the face of a head turned by yaw, pitch and roll in degrees.

    The direction of the light and the share of the yaw that the shoulders follow are random.
    """
    points = _posed(head.points, pose, float(rng.uniform(0.2, 1.0)))
    across, down = np.gradient(points, axis=1), np.gradient(points, axis=0)
    normals = np.cross(down, across)
    normals /= np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), 1e-9)
    lamp = np.array([rng.normal(0, 1), rng.normal(0.4, 0.6), rng.uniform(0.3, 1.5)])
    lit = np.clip(normals @ (lamp / np.linalg.norm(lamp)), 0, None)
    ambient = rng.uniform(0.4, 0.9)
    colours = head.colours * (ambient + (1.15 - ambient) * lit)[..., None]
    near = 1 + 0.06 * points[..., 2]  # perspective
    columns = ORIGIN[0] + points[..., 0] * near * UNIT
    rows = ORIGIN[1] - (points[..., 1] * near + PIVOT[1]) * UNIT
    visible = (normals[..., 2] > 0) & (columns > 1) & (columns < SIZE[1] - 2)
    visible &= (rows > 1) & (rows < SIZE[0] - 2)
    order = np.argsort(points[..., 2][visible])  # nearer points are drawn later
    pixels = rows[visible][order].astype(int), columns[visible][order].astype(int)
    image, label = np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, np.uint8)
    image[pixels] = np.clip(colours[visible][order], 0, 255)
    label[pixels] = 1 + head.face[visible][order]
    image, label = _fill_holes(image, label)
    return image, _soft_matte(label), _bounding_box(label == 2)


def _posed(
    points: NDArray[np.float64], pose: tuple[float, float, float], follow: float
) -> NDArray[np.float64]:
    """Return points relative to `PIVOT`, rotated; shoulders follow a share of the head's yaw."""
    yaw, pitch, roll = np.deg2rad(pose)
    height = points[:, :1, 1]
    with_head = np.interp(height, [-1.9, -1.2], [follow, 1.0])
    neck = np.interp(height, [-1.7, -1.0], [0.0, 1.0])
    posed: NDArray[np.float64] = points - PIVOT
    for angles, first, second in (
        (yaw * with_head, 2, 0),
        (pitch * neck, 1, 2),
        (roll * neck, 0, 1),
    ):
        a, b = posed[..., first].copy(), posed[..., second].copy()
        posed[..., first] = a * np.cos(angles) - b * np.sin(angles)
        posed[..., second] = a * np.sin(angles) + b * np.cos(angles)
    return posed


def _fill_holes(
    image: NDArray[np.uint8], label: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return both with holes between the points filled."""
    near = np.ones((3, 3), np.uint8)
    whole = cv2.morphologyEx(label, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    hole = (label == 0) & (np.asarray(whole) > 0)
    filled = cv2.medianBlur(np.where(hole[..., None], cv2.dilate(image, near), image), 3)
    whole = np.where(hole, cv2.dilate(label, near), label)
    return np.asarray(filled, np.uint8), np.asarray(whole, np.uint8)


def _soft_matte(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the matte of a rendered head, slightly eroded, with soft edges."""
    matte = np.where(label > 0, 255, 0).astype(np.uint8)
    matte = np.asarray(cv2.erode(cv2.medianBlur(matte, 5), np.ones((3, 3), np.uint8)), np.uint8)
    return np.asarray(cv2.GaussianBlur(matte, (0, 0), 1.2), np.uint8)


def _bounding_box(face: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the box around the visible part of the face; an empty box if not visible."""
    y, x = np.nonzero(face)
    if not len(x):
        return np.zeros(4, np.float32)
    left, right = np.quantile(x, [0.01, 0.99])  # ignores outliers
    return np.array([left, y.min(), right, y.max()], np.float32)
