"""Change face crops as cameras, codecs, light and other detectors do, a whole clip alike."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.datasets.pairings.film import coded
from utils.structures import FPS

Picture = NDArray[np.uint8]
Change = Callable[[Picture], Picture]

PULLS = 5  # places to a side at which a face is pulled or pressed


def change_crops(crops: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return crops (T, H, W) of one face under other circumstances."""
    if rng.random() < 0.5:
        crops = crops[:, :, ::-1]
    size = crops.shape[1]
    move = _mover(size, len(crops), rng)
    changes = _changes(size, rng)
    crops = crops[_shown_frames(len(crops), rng)]
    changed = np.empty_like(crops)
    for frame, crop in enumerate(crops):
        picture = move(np.ascontiguousarray(crop), frame)
        for change in changes:
            picture = change(picture)
        changed[frame] = picture
    return coded(changed, int(rng.integers(26, 42))) if rng.random() < 0.25 else changed


def _shown_frames(num_frames: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return which frame is shown in each frame (T,): some videos have few images a second."""
    frames = np.arange(num_frames)
    if rng.random() < 0.8:
        return frames
    rate = float(rng.uniform(10, 24)) / FPS
    return np.asarray(np.ceil(np.floor(frames * rate) / rate), np.intp)


def _mover(
    size: int, num_frames: int, rng: np.random.Generator
) -> Callable[[Picture, int], Picture]:
    """Return what turns, scales and shifts a picture as another detector's box would.

    Most faces are also pulled and pressed here and there, into those of other people.
    """
    middle, unit = (size / 2, size / 2), size / 112
    matrix = cv2.getRotationMatrix2D(middle, rng.normal(0, 6), rng.uniform(0.85, 1.18))
    matrix[:, 2] += rng.normal(0, 3.5 * unit, 2)
    matrix[0] *= np.exp(rng.normal(0, 0.06))
    columns, rows = np.meshgrid(*2 * [np.arange(size, dtype=np.float32)])
    backwards = cv2.invertAffineTransform(matrix)
    places = np.einsum("ij,jyx->yxi", backwards, np.stack((columns, rows, np.ones_like(rows))))
    pulls = rng.normal(0, rng.uniform(0, 3.5) * unit, (PULLS, PULLS, 2)).astype(np.float32)
    places += cv2.resize(pulls, (size, size), interpolation=cv2.INTER_CUBIC)
    places = places.astype(np.float32)
    shaking = rng.normal(0, 0.4 * unit, (num_frames, 2)) * (rng.random() < 0.5)

    def move(picture: Picture, frame: int) -> Picture:
        shaken = places - shaking[frame].astype(np.float32)
        moved = cv2.remap(picture, shaken, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, np.uint8)

    return move


def _changes(size: int, rng: np.random.Generator) -> list[Change]:
    """Choose what else happens to every picture of a clip."""
    changes: list[Change] = []
    if rng.random() < 0.45:
        changes.append(_coarse(int(size * rng.uniform(0.16, 0.7))))
    if rng.random() < 0.35:
        changes.append(_compressed(int(rng.uniform(8, 60))))
    if rng.random() < 0.3:
        changes.append(_blurred(rng.uniform(0.4, 2.2)))
    if rng.random() < 0.8:
        changes.append(_toned(rng))
    if rng.random() < 0.3:
        changes.append(_lit_from_a_side(size, rng))
    if rng.random() < 0.3:
        changes.append(_grainy(rng.uniform(1, 10), rng))
    if rng.random() < 0.12:
        changes.append(_covered(size, rng))
    return changes


def _coarse(small: int) -> Change:
    def change(picture: Picture) -> Picture:
        shrunk = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(shrunk, picture.shape), np.uint8)

    return change


def _compressed(quality: int) -> Change:
    def change(picture: Picture) -> Picture:
        _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), np.uint8)

    return change


def _blurred(sigma: float) -> Change:
    return lambda picture: np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


def _toned(rng: np.random.Generator) -> Change:
    gamma, gain, offset = np.exp(rng.normal(0, 0.35)), rng.uniform(0.5, 1.5), rng.uniform(-50, 50)
    levels = (np.arange(256) / 255) ** gamma * 255 * gain + offset
    table = np.clip(levels, 0, 255).astype(np.uint8)
    return lambda picture: table[picture]


def _lit_from_a_side(size: int, rng: np.random.Generator) -> Change:
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.6)
    across = np.linspace(-1, 1, size, dtype=np.float32)
    slope = np.cos(angle) * across + np.sin(angle) * across[:, None]
    light = (1 + strength * slope).astype(np.float32)
    return lambda picture: np.clip(picture * light, 0, 255).astype(np.uint8)


def _grainy(strength: float, rng: np.random.Generator) -> Change:
    def change(picture: Picture) -> Picture:
        grain = rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(strength)
        return np.clip(picture + grain, 0, 255).astype(np.uint8)

    return change


def _covered(size: int, rng: np.random.Generator) -> Change:
    height, width = (int(side) for side in rng.integers(size // 11, size * 2 // 5, 2))
    top, left = int(rng.integers(size // 4, size - height)), int(rng.integers(0, size - width))
    level = int(rng.integers(0, 256))

    def change(picture: Picture) -> Picture:
        covered = picture.copy()
        covered[top : top + height, left : left + width] = level
        return covered

    return change
