"""Find faces without looking, and make embeddings of tracks whose people are known."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.contract import WeightsFile
from utils.structures import Detections, ScoredTrack, TrackEmbeddings
from utils.tracking.face_alignment import TEMPLATE

SIZE = 64  # C


class WholeFace:
    """Finds one face in the middle of everything, with its points, and a smaller one."""

    name = "whole face"
    weights: WeightsFile | None = None

    def image_size(self, width: int, height: int) -> tuple[int, int]:
        return width // 2, height // 2

    def detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        found = []
        for picture in pictures:
            height, width = picture.shape[:2]
            large = np.array([0.1 * width, 0.1 * height, 0.9 * width, 0.9 * height])
            boxes = np.array([large / 2, large], np.float32)
            points = np.array([width, height]) * TEMPLATE
            marks = np.array([points / 2, points], np.float32)
            sure = np.float32(0.9 if picture.mean() > 20 else 0.5)
            found.append(Detections(boxes, np.full(2, sure), marks))
        return found


def directions(num_people: int, seed: int = 0) -> NDArray[np.float32]:
    """Return one unit vector (C,) for each person, nearly at right angles."""
    vectors = np.random.default_rng(seed).normal(size=(num_people, SIZE))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def made_track(number: int, start: int, length: int = 50) -> ScoredTrack:
    """Return a still, silent face."""
    boxes = np.tile(np.array([10, 10, 60, 60], np.float32), (length, 1))
    scores = np.full(length, -1, np.float32)
    image = np.zeros((112, 112), np.uint8)
    return ScoredTrack(number, 0, start, boxes, scores, scores, image)


def made_embeddings(
    number: int,
    direction: NDArray[np.float32],
    noise: float = 0.5,
    quality: float = 0.6,
) -> TrackEmbeddings:
    """Return three crops of a person; `noise` is the length of what is added to the direction."""
    rng = np.random.default_rng([number, 7])
    added = rng.normal(size=(3, SIZE))
    vectors = direction + noise * added / np.linalg.norm(added, axis=1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    qualities = np.array([quality, quality / 2, quality / 2], np.float32)
    image = np.full((128, 128, 3), number % 256, np.uint8)
    return TrackEmbeddings(number, vectors.astype(np.float32), qualities, image)
