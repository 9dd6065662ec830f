"""Model a head in three dimensions around a frontal face.

The head is a surface over height and angle, with random human proportions. Its front is textured
with the photograph; ears, hair, neck and clothes are painted. The unit is a decimetre; the origin
is between the eyes.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.datasets.face_pictures.cutouts import Cutout

ROWS, COLUMNS = 560, 840  # points of the surface
TOP, BOTTOM = 1.15, -2.3  # range of modelled heights
FACE_TOP, FACE_BOTTOM = 0.5, -1.15  # heights of a face's box
AXIS = -0.95  # depth of the axis of the head
# Height, depth of the front, depth of the back, half of the width.
OUTLINE = np.array(
    [
        (1.15, -0.95, -0.96, 0.02),
        (1.12, -0.70, -1.25, 0.25),
        (1.00, -0.38, -1.55, 0.45),
        (0.80, -0.16, -1.75, 0.62),
        (0.50, -0.02, -1.88, 0.73),
        (0.20, 0.04, -1.90, 0.75),
        (0.05, -0.06, -1.88, 0.73),
        (-0.30, -0.04, -1.80, 0.68),
        (-0.50, 0.00, -1.70, 0.63),
        (-0.62, 0.07, -1.62, 0.60),
        (-0.70, 0.03, -1.58, 0.57),
        (-0.79, 0.06, -1.55, 0.54),
        (-0.90, -0.03, -1.50, 0.48),
        (-1.02, 0.01, -1.48, 0.40),
        (-1.12, -0.04, -1.46, 0.40),
        (-1.20, -0.40, -1.45, 0.48),
        (-1.60, -0.55, -1.50, 0.52),
        (-1.80, -0.45, -1.60, 1.00),
        (-2.00, -0.30, -1.70, 1.70),
        (-2.30, -0.10, -1.75, 1.95),
    ]
)
HAIRS = ((20, 18, 16), (35, 24, 18), (70, 45, 28), (110, 75, 45), (190, 155, 105), (150, 148, 145))


@dataclass(frozen=True, eq=False)
class Head:
    """Points of a head with shoulders, their colours, and which belong to the face."""

    points: NDArray[np.float64]  # (ROWS, COLUMNS, 3) right, up, forward
    colours: NDArray[np.float64]  # (ROWS, COLUMNS, 3) RGB
    face: NDArray[np.bool_]  # (ROWS, COLUMNS) whether inside the face's box


def model_head(front: Cutout, rng: np.random.Generator) -> Head:
    """Return a head of random shape with this face."""
    points, angles = _surface(rng)
    share, thickness = _hair(points[..., 1], np.abs(np.rad2deg(angles)), rng)
    skin, hair = _palette(front, rng)
    colours = _add_photograph(front, _skin(skin, points, rng), points, np.cos(angles), rng)
    if rng.random() < 0.25:
        colours = _add_beard(colours, hair, points, np.cos(angles), rng)
    colours = _add_clothes(colours, points[..., 1], rng)
    streaks = cv2.resize(rng.normal(0, 1, (12, 240)), (COLUMNS, ROWS))
    strands = hair * (1 + 0.25 * streaks[..., None])
    colours = colours + (strands - colours) * share[..., None]
    outward = points - np.array([0, 0, AXIS])
    outward[..., 1] = np.maximum(outward[..., 1], 0)
    outward /= np.maximum(np.linalg.norm(outward, axis=2, keepdims=True), 1e-3)
    height = points[..., 1]
    face = (height < FACE_TOP) & (height > FACE_BOTTOM) & (np.abs(angles) < np.deg2rad(65))
    return Head(points + outward * (share * thickness)[..., None], colours, face & (share < 0.5))


def _surface(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points (ROWS, COLUMNS, 3) of a bald head and their angles, 0 in front."""
    y = np.linspace(TOP, BOTTOM, ROWS)[:, None]
    heights, *sides = OUTLINE[::-1].T
    sides = [sides[0] + rng.normal(0, 0.02, len(heights))] + [
        side * rng.uniform(0.92, 1.08) for side in sides[1:]
    ]
    front, back, wide = (
        np.asarray(cv2.GaussianBlur(np.interp(y, heights, side), (1, 15), 0, sigmaY=3), np.float64)
        for side in sides
    )
    closed = np.minimum(np.arange(ROWS)[:, None] / 8, 1)  # closes the crown
    front, back, wide = AXIS + (front - AXIS) * closed, AXIS + (back - AXIS) * closed, wide * closed
    angles = np.broadcast_to(np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False), (ROWS, COLUMNS))
    sine, cosine = np.sin(angles), np.cos(angles)
    power = rng.uniform(0.8, 0.95)
    x = wide * np.sign(sine) * np.abs(sine) ** power
    depth = np.where(cosine > 0, front - AXIS, AXIS - back)
    z = AXIS + depth * np.sign(cosine) * np.abs(cosine) ** power
    ahead = np.clip(cosine * 4, 0, 1)
    tip = rng.uniform(-0.48, -0.34)  # of the nose
    ridge = np.interp(y, [tip - 0.12, tip - 0.02, 0.1], [0.02, 1, 0.06])
    breadth = np.interp(y, [tip, 0.1], [rng.uniform(0.1, 0.17), 0.07])
    z = z + ahead * rng.uniform(0.2, 0.38) * ridge * np.exp(-((x / breadth) ** 2) / 2)
    sockets = np.exp(-(((np.abs(x) - 0.32) / 0.14) ** 2 + ((y + 0.02) / 0.1) ** 2) / 2)
    z = z - ahead * 0.07 * sockets
    ears = np.exp(-(((z - AXIS + 0.05) / 0.14) ** 4 + ((y + 0.12) / 0.3) ** 4))
    x = x + np.sign(x) * rng.uniform(0.06, 0.2) * ears
    return np.stack([x, np.broadcast_to(y, x.shape), z], axis=2), angles


def _hair(
    y: NDArray[np.float64], degrees: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], float]:
    """Return the share of hair at each point, [0, 1], and its thickness: none, short or long."""
    line = rng.uniform(0.5, 0.8)
    kind = rng.random()
    if kind < 0.1:
        lowest = [TOP + 1] * 6
    elif kind < 0.55:
        burns = rng.uniform(-0.4, 0.3)
        lowest = [line, line, rng.uniform(0.2, 0.5), burns, 0.15, rng.uniform(-1.0, -0.4)]
    else:
        end = rng.uniform(-2.0, -0.9)
        lowest = [line, line, rng.uniform(0.0, 0.5), end, end, end]
    border = np.interp(degrees, [0, 35, 55, 75 + rng.uniform(-10, 15), 105, 130], lowest)
    ragged = cv2.resize(rng.normal(0, 0.04, (8, 60)), (COLUMNS, ROWS))
    return np.clip((y - border + ragged) / 0.06 + 0.5, 0, 1), float(rng.uniform(0.03, 0.22))


def _palette(
    front: Cutout, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the colours of skin and hair; hair is sampled above the face if dark, else random."""
    photo, _ = front.decode()
    x1, y1, x2, y2 = (max(0, round(value)) for value in front.face)
    high = y2 - y1
    cheeks = photo[y1 + int(0.45 * high) : y1 + int(0.7 * high), x1:x2].reshape(-1, 3)
    skin = np.median(cheeks, axis=0) * rng.uniform(0.8, 1.05)
    above = photo[max(0, y1 - int(0.25 * high)) : max(1, y1 - int(0.05 * high)), x1:x2]
    hair = np.median(above.reshape(-1, 3), axis=0)
    if rng.random() < 0.6 or hair.sum() > 0.55 * skin.sum():
        hair = np.array(HAIRS[rng.integers(len(HAIRS))]) * rng.uniform(0.6, 1.2)
    return skin, hair


def _skin(
    colour: NDArray[np.float64], points: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return skin colours of all points, darker in the ears and below the chin."""
    y, z = points[..., 1], points[..., 2]
    rough = cv2.resize(rng.normal(0, 5, (60, 90)), (COLUMNS, ROWS))
    ears = 1 - 0.35 * np.exp(-(((z - AXIS + 0.02) / 0.07) ** 2 + ((y + 0.12) / 0.16) ** 2))
    shade = ears * np.interp(y, [-1.7, -1.15, -1.0], [0.75, 0.6, 1.0])
    return np.asarray((colour + rough[..., None]) * shade[..., None], np.float64)


def _add_photograph(
    front: Cutout,
    colours: NDArray[np.float64],
    points: NDArray[np.float64],
    ahead: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the colours with the photograph on the front; `ahead` is the cosine of the angle."""
    photo, matte = front.decode()
    x1, y1, x2, y2 = front.face
    scale = (y2 - y1) / (FACE_TOP - FACE_BOTTOM)
    columns = (x1 + x2) / 2 + points[..., 0] * scale * rng.uniform(0.9, 1.05)
    rows = y1 + (FACE_TOP - points[..., 1]) * scale
    maps = columns.astype(np.float32), rows.astype(np.float32)
    border = cv2.BORDER_REPLICATE
    texture = np.asarray(cv2.remap(photo, *maps, cv2.INTER_LINEAR, borderMode=border), np.float64)
    inside = np.asarray(cv2.remap(matte, *maps, cv2.INTER_LINEAR), np.float64) / 255
    above_chin = np.clip((points[..., 1] + 1.2) / 0.12, 0, 1)
    share = inside * above_chin * np.clip((ahead - rng.uniform(0.2, 0.45)) / 0.3, 0, 1)
    return np.asarray(colours + (texture - colours) * share[..., None], np.float64)


def _add_beard(
    colours: NDArray[np.float64],
    hair: NDArray[np.float64],
    points: NDArray[np.float64],
    ahead: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the colours with a beard around the mouth and up to the ears."""
    x, y = points[..., 0], points[..., 1]
    jaw = np.clip((-0.52 - y + 0.25 * np.clip(0.6 - ahead, 0, 1)) / 0.08, 0, 1)
    mouth = np.exp(-((x / 0.25) ** 2 + ((y + 0.7) / 0.07) ** 2))
    share = jaw * (y > -1.2) * (ahead > -0.1) * (1 - mouth) * rng.uniform(0.3, 0.9)
    return np.asarray(colours + (0.9 * hair - colours) * share[..., None], np.float64)


def _add_clothes(
    colours: NDArray[np.float64], y: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the colours with clothes of one colour below the neck."""
    cloth = rng.uniform(0, 255, 3) * rng.uniform(0.2, 1.0)
    rough = cv2.resize(rng.normal(0, 10, (60, 90)), (COLUMNS, ROWS))
    return np.where((y < rng.uniform(-1.75, -1.4))[..., None], cloth + rough[..., None], colours)
