"""The faces of a clip as ASC and ASDNet read them: resized, and changed while training."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

FLIP_PROBABILITY = 0.5
MIN_CROP = 0.5  # of the side
JITTER = (0.6, 1.4)  # factor of brightness, contrast and saturation


@dataclass(frozen=True)
class FaceChanges:
    """What is changed at random."""

    jitter: Literal["frame", "clip"] = "frame"  # colours are drawn for each frame, or once
    published_crop: bool = False  # narrower, and always in the upper left


def resize_faces(faces: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return faces (T, H, W) or (T, H, W, 3) with sides of `size`, whatever their aspect."""
    if faces.shape[1:3] == (size, size):
        return faces
    shrinks = faces.shape[1] > size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    resized = np.empty((len(faces), size, size, *faces.shape[3:]), np.uint8)
    for face, out in zip(faces, resized, strict=True):
        cv2.resize(face, (size, size), dst=out, interpolation=method)
    return resized


def change_clip(
    faces: NDArray[np.uint8], changes: FaceChanges, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return square RGB faces (T, H, H, 3) flipped, cropped and in other colours, as published."""
    size = faces.shape[1]
    if rng.random() < FLIP_PROBABILITY:
        faces = faces[:, :, ::-1]
    left, top, right, bottom = draw_crop(size, changes.published_crop, rng)
    faces = resize_faces(np.ascontiguousarray(faces[:, top:bottom, left:right]), size)
    num_draws = len(faces) if changes.jitter == "frame" else 1
    factors = rng.uniform(*JITTER, (num_draws, 3)).astype(np.float32)
    orders = [rng.permutation(3) for _ in range(num_draws)]
    return np.stack(
        [
            jitter(face, factors[number % num_draws], orders[number % num_draws])
            for number, face in enumerate(faces)
        ]
    )


def draw_crop(size: int, published: bool, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of a square with a half to the whole of the side.

    Kept, if `published`: the side stands where right and bottom were meant, so the part is
    narrower by what lies left of it and above, and at least a pixel is left.
    """
    side = max(1, int(size * rng.uniform(MIN_CROP, 1)))
    left, top = rng.integers(0, size - side + 1, 2).tolist()
    if published:
        return left, top, max(side, left + 1), max(side, top + 1)
    return left, top, left + side, top + side


def jitter(
    face: NDArray[np.uint8], factors: NDArray[np.float32], order: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Return an RGB face with brightness, contrast and saturation times a factor each.

    Contrast is about the picture's mean luma, saturation about each pixel's; each step is rounded
    and clipped to [0, 255].

    Args:
        face: (H, W, 3).
        factors: (3,) of brightness, contrast and saturation.
        order: (3,) in which the three come.
    """
    for change in order.tolist():
        factor = float(factors[change])
        other, share, level = face, 0.0, 0.0
        if change == 1:
            level = (1 - factor) * float(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).mean())
        elif change == 2:
            luma = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
            other, share = np.asarray(cv2.cvtColor(luma, cv2.COLOR_GRAY2RGB), np.uint8), 1 - factor
        face = np.asarray(cv2.addWeighted(face, factor, other, share, level), np.uint8)
    return face
