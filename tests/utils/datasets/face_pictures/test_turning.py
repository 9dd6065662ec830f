"""Heads modelled around a frontal face: their views, and the boxes of their faces."""

import cv2
import matplotlib.cbook
import numpy as np
import pytest
from numpy.typing import NDArray

from utils.datasets.face_pictures.cutouts import Cutout, cut_out, pack
from utils.datasets.face_pictures.heads import Head, model_head
from utils.datasets.face_pictures.turning import SIZE, likeness, render, turn_head

FACE = (183.0, 120.5, 353.0, 333.0)


@pytest.fixture(scope="module")
def front() -> Cutout:
    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    photo = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), np.uint8)
    found = cut_out(photo, np.array(FACE, np.float32), "hopper")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def head(front: Cutout) -> Head:
    return model_head(front, np.random.default_rng(0))


def seen(
    head: Head, yaw: float, pitch: float = 0.0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    return render(head, (yaw, pitch, 0.0), np.random.default_rng(1))


def middle(matte: NDArray[np.uint8]) -> float:
    """Return the column around which the head lies, its shoulders left aside."""
    return float(np.nonzero(matte[:200] > 127)[1].mean())


def test_frontal_view_shows_the_photograph(front: Cutout, head: Head) -> None:
    image, matte, box = seen(head, 0)
    x1, y1, x2, y2 = box.astype(int)
    assert matte[y1:y2, x1:x2].mean() > 240
    photo, _ = front.decode()
    a1, b1, a2, b2 = (round(value) for value in front.face)
    small, expected = (
        np.asarray(cv2.resize(part, (16, 20), interpolation=cv2.INTER_AREA), float)[4:16, 4:12]
        for part in (image[y1:y2, x1:x2], photo[b1:b2, a1:a2])
    )
    assert np.corrcoef(small.mean(axis=2).ravel(), expected.mean(axis=2).ravel())[0, 1] > 0.7


def test_turned_head_has_a_narrower_face_at_one_side(head: Head) -> None:
    centre = {}
    width = {}
    for yaw in (-80, 0, 80):
        _, matte, box = seen(head, yaw)
        centre[yaw] = (box[0] + box[2]) / 2 - middle(matte)
        width[yaw] = box[2] - box[0]
    assert centre[-80] < -30 and centre[80] > 30 and abs(centre[0]) < 10
    assert max(width[-80], width[80]) < 0.7 * width[0]


def test_bowed_head_has_a_lower_face(head: Head) -> None:
    assert seen(head, 0, 35)[2][1] > seen(head, 0)[2][1] + 10


def test_no_face_from_behind(head: Head) -> None:
    image, matte, box = seen(head, 180)
    assert box.tolist() == [0, 0, 0, 0]
    assert image.shape == (*SIZE, 3) and (matte > 127).mean() > 0.2


def test_turned_people_keep_their_names_and_are_reproducible(front: Cutout) -> None:
    one, same, other = (turn_head(front, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert one.identity == "hopper" and one.modelled and not front.modelled
    assert np.array_equal(one.image, same.image) and one.face == same.face
    assert one.face != other.face
    x1, y1, x2, y2 = one.face
    assert 0 <= x1 < x2 <= SIZE[1] and 0 <= y1 < y2 <= SIZE[0]


def test_frontal_faces_are_like_their_mirror_image() -> None:
    photo = np.full((120, 120, 3), 180, np.uint8)
    for x in (40, 80):
        cv2.circle(photo, (x, 45), 8, (30, 30, 30), -1)
    lopsided = photo.copy()
    cv2.circle(lopsided, (80, 45), 8, (180, 180, 180), -1)
    box, matte = np.array([10, 5, 110, 115], np.float32), np.full((120, 120), 255, np.uint8)
    assert likeness(pack("drawn", photo, matte, box)) > 0.95
    assert likeness(pack("drawn", lopsided, matte, box)) < 0.3
