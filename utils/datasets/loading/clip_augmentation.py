"""Resize the faces of a clip for ASC and ASDNet, and augment them in training."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

FLIP_PROBABILITY = 0.5
MIN_CROP = 0.5  # of the side
JITTER = (0.6, 1.4)  # factor of brightness, contrast and saturation


@dataclass(frozen=True)
class ClipAugmentation:
    """How clips are augmented."""

    jitter: Literal["frame", "clip"] = "frame"  # one draw per frame or per clip
    published_crop: bool = False  # smaller, and always at the upper left


def resize_faces(faces: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return faces (T, H, W) or (T, H, W, 3) resized to squares of side `size`."""
    if faces.shape[1:3] == (size, size):
        return faces
    method = cv2.INTER_AREA if faces.shape[1] > size else cv2.INTER_CUBIC
    resized = np.empty((len(faces), size, size, *faces.shape[3:]), np.uint8)
    for face, out in zip(faces, resized, strict=True):
        cv2.resize(face, (size, size), dst=out, interpolation=method)
    return resized


def augment_clip(
    faces: NDArray[np.uint8], changes: ClipAugmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return square RGB faces (T, H, H, 3) randomly flipped, cropped and colour-jittered."""
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
            jitter_colours(face, factors[number % num_draws], orders[number % num_draws])
            for number, face in enumerate(faces)
        ]
    )


def draw_crop(size: int, published: bool, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of a random square of 0.5 to 1 times the side.

    Kept, if `published`: the original uses the side as right and bottom, so the crop is smaller by
    its left and top, but at least one pixel.
    """
    side = max(1, int(size * rng.uniform(MIN_CROP, 1)))
    left, top = rng.integers(0, size - side + 1, 2).tolist()
    if published:
        return left, top, max(side, left + 1), max(side, top + 1)
    return left, top, left + side, top + side


def jitter_colours(
    face: NDArray[np.uint8], factors: NDArray[np.float32], order: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Return an RGB face with scaled brightness, contrast and saturation.

    Contrast is scaled about the mean luma of the image, saturation about the luma of each pixel;
    each step is rounded and clipped to [0, 255].

    Args:
        face: (H, W, 3).
        factors: (3,) for brightness, contrast and saturation.
        order: (3,) in which the three are applied.
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
