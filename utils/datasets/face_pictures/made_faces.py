"""Make faces of people who do not exist from aligned crops of a few who do, and spoil crops.

In aligned crops the eyes, the nose and the mouth of everybody lie at the same places, so one
person's can be put between those of another.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.datasets.face_pictures.augmentation import dim, recolour

Image = NDArray[np.uint8]  # (H, W, 3) RGB, an aligned crop
GRID = 5  # points a side that a face is bent at,
BEND = 0.035  # each moved by so much of the side (standard deviation)
CUTS = (0.52, 0.56, 0.72)  # heights below the eyes, the nose's bridge and its tip
SMALLEST = 0.15  # of its side, to which the content of a spoiled crop is reduced


def make_face(own: Image, others: Sequence[Image], rng: np.random.Generator) -> Image:
    """Return somebody new, of crops of different people: of `own`, and of parts of the others."""
    face = own
    for other in others:
        face = mix(face, other, rng)
    if rng.random() < 0.85:
        face = bend(face, rng)
    if rng.random() < 0.7:
        face = recolour(face, rng, 0.7)
    return np.ascontiguousarray(face[:, ::-1]) if rng.random() < 0.5 else face


def mix(own: Image, other: Image, rng: np.random.Generator) -> Image:
    """Return a face with a part of another's, or all of it faintly, in the own colours."""
    base, put = own.astype(np.float32), other.astype(np.float32)
    if rng.random() < 0.5:
        put = put[:, ::-1]
    put = (put - put.mean((0, 1))) / (put.std((0, 1)) + 1) * base.std((0, 1)) + base.mean((0, 1))
    height, width = own.shape[:2]
    mask = np.full((height, width), rng.uniform(0.35, 0.65), np.float32)
    kind = rng.integers(3)
    if kind == 0:  # the part below or above a line
        cut = int(height * rng.choice(CUTS))
        mask[:] = 0
        mask[cut:] = 1
        mask = 1 - mask if rng.random() < 0.5 else mask
    elif kind == 1:  # the inner face; hair and outline stay
        mask[:] = 0
        middle, axes = (width // 2, int(0.6 * height)), (int(0.34 * width), int(0.4 * height))
        cv2.ellipse(mask, middle, axes, 0, 0, 360, float(rng.uniform(0.6, 1)), -1)
    soft = np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.05 * width), np.float32)[..., None]
    return np.asarray(np.clip(base + (put - base) * soft, 0, 255), np.uint8)


def bend(face: Image, rng: np.random.Generator) -> Image:
    """Return a face of another shape: wider here, longer there."""
    height, width = face.shape[:2]
    moves = rng.normal(0, BEND * width, (GRID, GRID, 2)).astype(np.float32)
    smooth = cv2.resize(moves, (width, height), interpolation=cv2.INTER_CUBIC)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    border = cv2.BORDER_REPLICATE
    x, y = columns + smooth[..., 0], rows + smooth[..., 1]
    return np.asarray(cv2.remap(face, x, y, cv2.INTER_LINEAR, borderMode=border), np.uint8)


def spoil(face: Image, rng: np.random.Generator) -> Image:
    """Return the same face as a worse detector, camera or codec might show it."""
    face = shift(face, rng)
    if rng.random() < 0.5:
        face = np.ascontiguousarray(face[:, ::-1])
    face = recolour(face, rng, 0.6)
    if rng.random() < 0.1:
        face = dim(face, rng)
    side = face.shape[0]
    if rng.random() < 0.4:  # small in the frame
        small = round(side * np.exp(rng.uniform(np.log(SMALLEST), 0)))
        reduced = cv2.resize(face, (small, small), interpolation=cv2.INTER_AREA)
        face = np.asarray(cv2.resize(reduced, (side, side)), np.uint8)
    if rng.random() < 0.2:
        face = np.asarray(cv2.GaussianBlur(face, (0, 0), *rng.uniform(0.4, 1.5, 2)), np.uint8)
    if rng.random() < 0.2:
        noise = rng.normal(0, rng.uniform(2, 12), face.shape[:2])
        face = np.clip(face + noise[..., None], 0, 255).astype(np.uint8)
    if rng.random() < 0.1:
        grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
        face = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    if rng.random() < 0.15:  # a hand, a microphone, another's head
        face = face.copy()
        wide, high = (rng.uniform(0.15, 0.45, 2) * side).astype(int)
        x, y = rng.integers(0, side - wide), rng.integers(0, side - high)
        face[y : y + high, x : x + wide] = rng.integers(0, 256, 3)
    return face


def shift(face: Image, rng: np.random.Generator) -> Image:
    """Return a face turned, scaled and moved a little: its points were not found exactly."""
    side = face.shape[0]
    middle = (side / 2, side / 2)
    place = cv2.getRotationMatrix2D(middle, rng.normal(0, 5), float(np.exp(rng.normal(0, 0.06))))
    place[:, 2] += rng.normal(0, 0.025 * side, 2)
    border = cv2.BORDER_REPLICATE
    return np.asarray(cv2.warpAffine(face, place, (side, side), borderMode=border), np.uint8)
