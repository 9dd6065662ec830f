"""Faces near localised speech gain score, others lose, by the stated rule."""

import numpy as np
import pytest

from utils.arrays.fusion import LARGEST_SCORE, FusionOptions, array_scores, fuse
from utils.arrays.geometry import Camera
from utils.arrays.speech_positions import Heard

CAMERA = Camera("a", fov_deg=60)
BOX = np.array([[400.0, 100, 500, 200]])  # of 1000 px


def heard(position: float, confidence: float, count: int = 1) -> Heard:
    return Heard(np.full(count, position, np.float32), np.full(count, confidence, np.float32))


def test_the_rule() -> None:
    edge = CAMERA.angle_deg(np.array([0.5]))[0]
    place = CAMERA.angle_deg(np.array([0.6]))[0]
    probability = 0.9 * np.exp(-0.5 * ((place - edge) / 4) ** 2)
    found = array_scores(BOX, heard(0.6, 0.9), CAMERA, 1000, 4.0)
    np.testing.assert_allclose(found, np.log(probability / (1 - probability)), rtol=1e-5)


@pytest.mark.parametrize(
    ("position", "confidence", "score"),
    [
        (0.45, 1.0, LARGEST_SCORE),
        (0.41, 0.5, 0.0),
        (0.45, 0.0, -LARGEST_SCORE),
        (0.9, 1.0, -LARGEST_SCORE),
        (1.4, 1.0, -LARGEST_SCORE),
    ],
    ids=["in the face", "even odds", "silence", "elsewhere", "outside the view"],
)
def test_scores(position: float, confidence: float, score: float) -> None:
    found = array_scores(BOX, heard(position, confidence), CAMERA, 1000)
    np.testing.assert_allclose(found, [score], atol=1e-4)


def test_faces_are_told_apart_where_looks_are_alike() -> None:
    left, right = np.tile([200.0, 0, 300, 100], (50, 1)), np.tile([600.0, 0, 700, 100], (50, 1))
    there = heard(0.65, 0.95, 90)
    options = FusionOptions()
    looks = np.full(50, 0.5)
    assert (fuse(looks, right, 10, there, (CAMERA, 1000), options) > 3).all()
    assert (fuse(looks, left, 10, there, (CAMERA, 1000), options) < -3).all()
    unheard = FusionOptions(array_weight=0)
    assert (fuse(looks, left, 10, there, (CAMERA, 1000), unheard) == 0.5).all()


def test_clocks_of_25_and_30_frames_meet() -> None:
    there = Heard(np.full(60, 0.45, np.float32), np.repeat([0, 1], 30).astype(np.float32))
    found = fuse(np.zeros(50), np.repeat(BOX, 50, 0), 0, there, (CAMERA, 1000), FusionOptions())
    assert (found[:25] < 0).all()
    assert (found[25:] > 0).all()
    late = FusionOptions(array_offset_s=0.4)
    found = fuse(np.zeros(50), np.repeat(BOX, 50, 0), 0, there, (CAMERA, 1000), late)
    assert (found[:35] < 0).all()
    assert (found[35:] > 0).all()


def test_wrong_numbers_are_errors() -> None:
    with pytest.raises(ValueError, match="for 1 frames, one per box, found 2"):
        array_scores(BOX, heard(0.5, 1, 2), CAMERA, 1000)
    with pytest.raises(ValueError, match="--spreadDeg must be above 0"):
        FusionOptions(spread_deg=0)
