"""Augment people and light, to train a detector with few faces."""

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.datasets.face_pictures.cutouts import Cutout


def blend_face(
    image: NDArray[np.uint8],
    face: tuple[float, float, float, float],
    other: Cutout,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Return a person whose face is blended with another's, with unchanged colours."""
    x1, y1, x2, y2 = (max(0, round(value)) for value in face)
    target = image[y1:y2, x1:x2].astype(np.float32)
    source, _ = other.decode()
    a1, b1, a2, b2 = (max(0, round(value)) for value in other.face)
    size = (target.shape[1], target.shape[0])
    added = np.asarray(cv2.resize(source[b1:b2, a1:a2], size), np.float32)
    added = (added - added.mean((0, 1))) / (added.std((0, 1)) + 1)
    added = added * target.std((0, 1)) + target.mean((0, 1))
    mask = np.zeros(target.shape[:2], np.float32)
    middle = (size[0] // 2, size[1] // 2)
    axes = (int(0.4 * size[0]), int(0.42 * size[1]))
    cv2.ellipse(mask, middle, axes, 0, 0, 360, float(rng.uniform(0.4, 1)), -1)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), max(1.0, 0.06 * size[0])), np.float32)
    mixed = target + (added - target) * mask[..., None]
    blended = image.copy()
    blended[y1:y2, x1:x2] = np.clip(mixed, 0, 255).astype(np.uint8)
    return blended


def recolour(
    image: NDArray[np.uint8], rng: np.random.Generator, strength: float
) -> NDArray[np.uint8]:
    """Return the image in another light: gamma, gain of each colour, and light from one side."""
    gamma = np.exp(rng.normal(0, 0.35 * strength))
    gains = np.exp(rng.normal(0, 0.08 * strength, 3)) * np.exp(rng.normal(0, 0.2 * strength))
    levels = (np.arange(256)[:, None] / 255) ** gamma * gains * 255
    table = np.clip(levels, 0, 255).astype(np.uint8)
    toned = np.asarray(cv2.LUT(image, table[None]), np.uint8)
    if rng.random() > 0.4 * strength:
        return toned
    left, right = rng.uniform(0.4, 1.3, 2)
    across = left + (right - left) * np.linspace(0, 1, image.shape[1], dtype=np.float32)
    lit = toned * across[None, :, None].astype(np.float32)
    return np.asarray(np.clip(lit, 0, 255), np.uint8)


def dim(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the image in low light, as on a stage: dark, tinted, with up to two spotlights."""
    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    lamps = np.full((height, width), rng.uniform(0.3, 1.0), np.float32)
    for _ in range(rng.integers(0, 3)):
        x, y = rng.uniform(0, 1, 2) * (width, height)
        spread = rng.uniform(0.1, 0.8) * max(width, height)
        lamp = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * spread**2))
        lamps = np.maximum(lamps, rng.uniform(0.5, 1.5) * lamp)
    tint = np.exp(rng.normal(0, 0.3, 3))
    light = np.exp(rng.uniform(np.log(0.15), np.log(0.8))) * tint / tint.max()
    levels = (image.astype(np.float32) / 255) ** np.float32(rng.uniform(0.9, 1.4))
    dark = levels * lamps[..., None] * (255 * light).astype(np.float32)
    return np.asarray(np.clip(dark, 0, 255), np.uint8)


def hide_face(
    image: NDArray[np.uint8], face: tuple[float, float, float, float], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return the person with a face replaced by a blur, shuffled tiles or plain skin."""
    x1, y1, x2, y2 = (max(0, round(value)) for value in face)
    hidden = image.copy()
    part = hidden[y1:y2, x1:x2]
    kind = rng.integers(3)
    if kind == 0:
        part[:] = cv2.GaussianBlur(part, (0, 0), 0.35 * (x2 - x1))
    elif kind == 1:
        rows, columns = rng.permutation(4), rng.permutation(4)
        high, wide = part.shape[0] // 4, part.shape[1] // 4
        pieces = part[: 4 * high, : 4 * wide].reshape(4, high, 4, wide, 3)
        part[: 4 * high, : 4 * wide] = pieces[rows][:, :, columns].reshape(4 * high, 4 * wide, 3)
    else:
        noise = rng.normal(0, rng.uniform(2, 20), (9, 9, 3))
        rough = cv2.resize(noise, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_CUBIC)
        part[:] = np.clip(np.median(part, axis=(0, 1)) + rough, 0, 255).astype(np.uint8)
    return hidden


def cover_face(
    image: NDArray[np.uint8],
    matte: NDArray[np.uint8],
    face: tuple[float, float, float, float],
    rng: np.random.Generator,
) -> float:
    """Draw glasses, a hat, a hand, a microphone or another object over some faces, in place.

    Returns:
        The approximate share of the face that is hidden.
    """
    x1, y1, x2, y2 = face
    wide, high = x2 - x1, y2 - y1
    grey = int(rng.integers(0, 120))
    colour = tuple(int(np.clip(grey + shift, 0, 255)) for shift in rng.integers(-20, 20, 3))
    kind = rng.random()
    if kind < 0.12:  # glasses, a third of them dark
        thick = -1 if rng.random() < 0.33 else max(1, round(0.02 * wide))
        axes = (int(0.19 * wide), int(0.12 * high))
        for side in (0.28, 0.72):
            middle = (int(x1 + side * wide), int(y1 + 0.4 * high))
            cv2.ellipse(image, middle, axes, 0, 0, 360, colour, thick, cv2.LINE_AA)
        return 0.0
    if kind < 0.2:  # hat or hair
        middle = (int(x1 + 0.5 * wide), int(y1 - 0.05 * high))
        axes = (int(rng.uniform(0.55, 0.75) * wide), int(rng.uniform(0.2, 0.32) * high))
        for target, paint in ((image, colour), (matte, (255,))):
            cv2.ellipse(target, middle, axes, 0, 0, 360, paint, -1, cv2.LINE_AA)
        return 0.0
    if kind < 0.28:  # a microphone, hand or other object in front of the lower half
        skin = tuple(int(value) for value in np.median(image.reshape(-1, 3), axis=0))
        paint = colour if rng.random() < 0.6 else skin
        middle = (int(x1 + rng.uniform(0.2, 0.8) * wide), int(y1 + rng.uniform(0.8, 1.0) * high))
        axes = (int(rng.uniform(0.12, 0.35) * wide), int(rng.uniform(0.1, 0.3) * high))
        cv2.ellipse(image, middle, axes, int(rng.integers(180)), 0, 360, paint, -1, cv2.LINE_AA)
        return 0.0
    if kind < 0.34:  # an object in front of one side
        edge = rng.uniform(0.1, 0.6)
        start, stop = (x1 - wide, x1 + edge * wide)
        if rng.random() < 0.5:
            start, stop = x2 - edge * wide, x2 + wide
        cv2.rectangle(image, (int(start), 0), (int(stop), image.shape[0]), colour, -1)
        return float(edge)
    return 0.0
