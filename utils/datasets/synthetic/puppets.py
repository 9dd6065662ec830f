"""Draw portraits that turn their heads, blink and speak.

A portrait is drawn by one inverse warp, from pixels of the canvas to pixels of the portrait.
Positions and lengths are in pixels of the portrait unless stated otherwise.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.datasets.synthetic.portraits import Mouth, Portrait

FloatImage = NDArray[np.float32]


@dataclass(frozen=True)
class Pose:
    """Pose of a person in one frame."""

    x: float  # centre of the face on the canvas
    y: float
    scale: float  # canvas pixels per portrait pixel
    turn: float = 0.0  # of the head about the neck, radians, clockwise
    shift: tuple[float, float] = (0.0, 0.0)  # of the head, portrait pixels
    opening: float = 0.0  # of the mouth, 0 closed to 1 widest
    rounding: float = 0.0  # of the lips, -1 spread to 1 pursed
    lids: float = 0.0  # 0 open to 1 closed


def smoothstep(low: float, high: float, values: FloatImage) -> FloatImage:
    """Return a smooth step from 0 at `low` to 1 at `high`."""
    part = np.clip((values - low) / (high - low), 0.0, 1.0)
    return np.asarray(part * part * (3.0 - 2.0 * part), np.float32)


def face_box(portrait: Portrait, pose: Pose) -> tuple[float, float, float, float]:
    """Return the face's x1, y1, x2, y2 on the canvas."""
    x1, y1, x2, y2 = portrait.face
    middle = np.array(((x1 + x2) / 2, (y1 + y2) / 2))
    neck = np.array(portrait.neck)
    cos, sin = np.cos(pose.turn), np.sin(pose.turn)
    moved = np.array(((cos, -sin), (sin, cos))) @ (middle - neck) + neck + np.array(pose.shift)
    x, y = (moved - middle) * pose.scale + (pose.x, pose.y)
    width, height = (x2 - x1) * pose.scale / 2, (y2 - y1) * pose.scale / 2
    return float(x - width), float(y - height), float(x + width), float(y + height)


def _turn_head(portrait: Portrait, pose: Pose, x: FloatImage, y: FloatImage) -> None:
    """Map positions on the posed portrait to the original one, in place."""
    centre_x, centre_y, half_x, half_y = portrait.head
    reach = np.hypot((x - centre_x) / half_x, (y - centre_y) / half_y)
    weight = 1.0 - smoothstep(0.95, 1.6, reach.astype(np.float32))
    neck_x, neck_y = portrait.neck
    cos, sin = np.float32(np.cos(pose.turn)), np.float32(np.sin(pose.turn))
    from_x, from_y = x - neck_x - pose.shift[0], y - neck_y - pose.shift[1]
    x += weight * (cos * from_x + sin * from_y + neck_x - x)
    y += weight * (cos * from_y - sin * from_x + neck_y - y)


def _open_mouth(
    mouth: Mouth, pose: Pose, x: FloatImage, y: FloatImage
) -> tuple[FloatImage, FloatImage, FloatImage]:
    """Map positions on the face with an open mouth to the original face, in place.

    Returns:
        For each position, the distances below the upper and above the lower lip (both positive
        inside the mouth), and the distance from the centre, 1 at the corners.
    """
    upper, lower = np.array(mouth.upper, np.float32), np.array(mouth.lower, np.float32)
    left, right, level = upper[0, 0], upper[-1, 0], float(upper[:, 1].mean())
    middle, half = (left + right) / 2, (right - left) / 2
    near = np.exp(-(((x - middle) / (1.6 * half)) ** 4) - ((y - level) / (1.3 * half)) ** 4)
    x += (x - middle) * near * np.float32(0.28 * pose.rounding)

    across = np.abs(x - middle) / half
    gap = mouth.widest * pose.opening * (1.0 - np.minimum(across, 1.0) ** 2.0) ** 0.85
    rest_upper = np.interp(x, upper[:, 0], upper[:, 1]).astype(np.float32)
    rest_lower = np.interp(x, lower[:, 0], lower[:, 1]).astype(np.float32)
    below_upper = y - rest_upper + 0.18 * gap
    above_lower = rest_upper + 0.82 * gap - y

    up = 0.18 * gap * (1.0 - smoothstep(0.3, 1.0, -below_upper / (level - mouth.nose)))
    depth = -above_lower / (mouth.chin - level)  # 0 at the lower lip, 1 at the chin
    jaw = 0.7 * mouth.widest * pose.opening - 0.4 * float((rest_lower - rest_upper).max())
    taken = smoothstep(0.0, 0.6, depth)
    down = (rest_upper + 0.82 * gap - rest_lower) * (1.0 - taken)
    down += jaw * np.exp(-(((x - middle) / mouth.jaw) ** 4)) * taken
    down *= 1.0 - smoothstep(1.05, 2.2, depth)
    y[:] = np.where(
        below_upper < above_lower,
        np.minimum(y + up, rest_upper - 0.6),
        np.maximum(y - down, rest_lower + 0.6),
    )
    return below_upper, above_lower, across


def _paint_mouth(
    portrait: Portrait,
    scale: float,
    x: FloatImage,
    lips: tuple[FloatImage, FloatImage, FloatImage],
    drawn: FloatImage,
) -> None:
    """Paint the inside of the mouth and the upper teeth over the drawn face."""
    below_upper, above_lower, across = lips
    mouth = portrait.mouth
    size = mouth.widest / 15.0
    inside = np.clip(below_upper * scale + 0.3, 0, 1) * np.clip(above_lower * scale + 0.3, 0, 1)
    inside *= 1.0 - smoothstep(0.9, 1.0, across)
    if mouth.teeth:
        upper = np.array(mouth.upper, np.float32)
        rest = np.interp(x, upper[:, 0], upper[:, 1]).astype(np.float32)
        teeth = cv2.remap(portrait.image, x, rest + below_upper, cv2.INTER_CUBIC).astype(np.float32)
        visibility = 1.0 - smoothstep(4.0, 6.0, below_upper)
    else:
        teeth = np.full((*x.shape, 3), (206, 178, 152), np.float32)
        visibility = smoothstep(0.3 * size, 1.0 * size, below_upper)
        visibility = visibility * 0.8 * (1.0 - smoothstep(2.2 * size, 3.0 * size, below_upper))
        visibility = visibility * (1.0 - smoothstep(0.35, 0.75, across))
        visibility = visibility * smoothstep(1.5 * size, 3.5 * size, below_upper + above_lower)
    dark = np.array((52, 20, 18), np.float32)
    tongue = 1.0 + 0.9 * (1.0 - smoothstep(0.0, 5.0 * size, above_lower))
    colour = dark * tongue[..., None]
    shade = 0.78 + 0.22 * smoothstep(0.0, 3.0 * size, below_upper)
    colour += visibility[..., None] * (teeth * shade[..., None] - colour)
    drawn += inside[..., None] * (colour - drawn)


def _close_eyes(portrait: Portrait, pose: Pose, positions: FloatImage, drawn: FloatImage) -> None:
    """Paint lids over the eyes, with the mirrored skin below the eye.

    Args:
        portrait: The person.
        pose: States how far lids are closed.
        positions: (2, H, W) x and y on the portrait.
        drawn: (H, W, 3) image of the head; changed in place.
    """
    for eye in portrait.eyes:
        across, above = (positions[0] - eye.x) / eye.width, (positions[1] - eye.y) / eye.height
        round_eye = 1.0 - smoothstep(0.8, 1.25, np.hypot(across, above).astype(np.float32))
        edge = -1.0 + 2.0 * pose.lids - 0.5 * across**2 * (2.0 * pose.lids - 1.0)
        lid = round_eye * (1.0 - smoothstep(-0.12, 0.12, (above - edge).astype(np.float32)))
        lashes = round_eye * np.exp(-(((above - edge) / 0.22) ** 2)) * min(1.0, 3.0 * pose.lids)
        mirrored = np.float32(2 * eye.y + 2.5 * eye.height) - positions[1]
        skin = cv2.remap(portrait.image, positions[0], mirrored, cv2.INTER_LINEAR)
        colour = skin * (0.94 + 0.05 * above)[..., None].astype(np.float32)
        drawn += lid[..., None] * (colour - drawn)
        drawn += 0.6 * lashes[..., None] * (np.float32(48.0) - drawn)


def draw(canvas: FloatImage, portrait: Portrait, pose: Pose) -> None:
    """Draw a person over the canvas (H, W, 3), RGB in [0, 255]."""
    x1, y1, x2, y2 = portrait.face
    rows, columns = np.indices(canvas.shape[:2], dtype=np.float32)
    x = np.asarray((columns - pose.x) / pose.scale + (x1 + x2) / 2, np.float32)
    y = np.asarray((rows - pose.y) / pose.scale + (y1 + y2) / 2, np.float32)
    head = _around(x, y, portrait.head, 1.7)
    _turn_head(portrait, pose, x[head], y[head])
    mouth = portrait.mouth
    level, jaw = mouth.upper[0][1], 2.2 * mouth.jaw
    lower_face = _around(x, y, ((x1 + x2) / 2, level, jaw, 3.0 * (mouth.chin - level)), 1.0)
    positions = np.stack((x[head], y[head]))
    lips = _open_mouth(mouth, pose, x[lower_face], y[lower_face])

    drawn = cv2.remap(portrait.image, x, y, cv2.INTER_CUBIC).astype(np.float32)
    alpha = cv2.remap(portrait.matte, x, y, cv2.INTER_LINEAR).astype(np.float32) / 255.0
    _paint_mouth(portrait, pose.scale, x[lower_face], lips, drawn[lower_face])
    if pose.lids > 0.0:
        _close_eyes(portrait, pose, positions, drawn[head])
    canvas += alpha[..., None] * (drawn - canvas)


def _around(
    x: FloatImage, y: FloatImage, ellipse: tuple[float, float, float, float], reach: float
) -> tuple[slice, slice]:
    """Return the rows and columns of the map around an ellipse enlarged by `reach`."""
    centre_x, centre_y, half_x, half_y = ellipse
    columns = np.flatnonzero(np.abs(x[0] - centre_x) <= reach * half_x)
    rows = np.flatnonzero(np.abs(y[:, 0] - centre_y) <= reach * half_y)
    if not len(rows) or not len(columns):
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
