"""Annotated images: round trip, and boxes after augmentation."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from utils.datasets.face_pictures import images
from utils.datasets.face_pictures.images import (
    FILL,
    AnnotatedImage,
    ImageFolder,
    augment,
    bend,
    coarsen,
    crop,
    draw_batch,
    turn,
)


def with_rectangle(
    box: tuple[int, int, int, int], width: int = 320, height: int = 200
) -> AnnotatedImage:
    """Return a dark image whose only face is a bright rectangle."""
    image = np.full((height, width, 3), 20, np.uint8)
    cv2.rectangle(image, box[:2], (box[2] - 1, box[3] - 1), (230, 230, 230), -1)
    return AnnotatedImage(image, np.array([box], np.float32), np.array([True]))


def bright_part(image: NDArray[np.uint8]) -> list[int]:
    """Return the corners of what is brighter than halfway between the darkest and brightest."""
    grey = cv2.GaussianBlur(image.mean(axis=2), (0, 0), 1.0)
    rows, columns = np.nonzero(grey > (grey.min() + grey.max()) / 2)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_round_trip(tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path / "pictures")
    one = with_rectangle((100, 50, 160, 130))
    none = AnnotatedImage(one.image, np.zeros((0, 4), np.float32), np.zeros(0, bool))
    doubtful = AnnotatedImage(one.image, one.boxes, np.array([False]))
    for annotated in (one, none, doubtful):
        folder.add(annotated)
    again = ImageFolder(tmp_path / "pictures")
    assert len(again) == 3
    for index, annotated in enumerate((one, none, doubtful)):
        found = again.read(index)
        assert np.abs(found.image.astype(int) - annotated.image).max() < 25
        assert found.boxes.tolist() == annotated.boxes.tolist()
        assert found.clear.tolist() == annotated.clear.tolist()


def test_incomplete_last_line_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = ImageFolder(tmp_path)
    first, second = with_rectangle((100, 50, 160, 130)), with_rectangle((20, 40, 90, 130))
    folder.add(first)
    folder.add(second)
    whole = (tmp_path / "pictures.csv").read_bytes()
    (tmp_path / "pictures.csv").write_bytes(whole[:-10])  # as after SIGKILL
    again = ImageFolder(tmp_path)
    assert len(again) == 1
    assert "pictures.csv: the last line is incomplete" in caplog.text
    again.add(second)
    assert (tmp_path / "pictures.csv").read_bytes() == whole
    assert ImageFolder(tmp_path).read(1).boxes.tolist() == second.boxes.tolist()


def test_damaged_image(tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path)
    folder.add(with_rectangle((100, 50, 160, 130)))
    (tmp_path / "000000.jpg").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"000000\.jpg"):
        folder.read(0)


@pytest.mark.parametrize("seed", range(8))
def test_boxes_after_cropping(seed: int) -> None:
    square = crop(with_rectangle((100, 50, 180, 150)), 224, np.random.default_rng(seed))
    assert square.image.shape == (224, 224, 3)
    image = square.image.copy()
    image[(image == 127).all(axis=2)] = 20
    if len(square.boxes):
        assert np.abs(np.clip(square.boxes[0], 0, 224) - bright_part(image)).max() <= 2.5
    else:
        assert image.max() < 60


@pytest.mark.parametrize("seed", range(8))
def test_boxes_after_augmentation(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "DARK", 0.0)  # a lamp's edge is no rectangle's
    monkeypatch.setattr(images, "TURNED", 0.0)  # a box does not surround a turned rectangle
    changed = augment(with_rectangle((60, 50, 180, 150)), np.random.default_rng(seed))
    assert np.abs(changed.boxes[0] - bright_part(changed.image)).max() <= 4


def test_invisible_faces_in_low_light_are_not_clear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(images, "DARK", 1.0)
    face = with_rectangle((60, 50, 180, 150))
    plain = AnnotatedImage(np.full_like(face.image, 20), face.boxes, face.clear)
    for seed in range(6):
        assert not augment(plain, np.random.default_rng(seed)).clear.any()
    grid = face.image.copy()
    grid[:, ::16] = 0
    assert any(
        augment(
            AnnotatedImage(grid, face.boxes, face.clear), np.random.default_rng(seed)
        ).clear.all()
        for seed in range(6)
    )


@pytest.mark.parametrize("seed", range(8))
def test_boxes_after_bending(seed: int) -> None:
    annotated = with_rectangle((60, 50, 180, 150))
    boxes = np.concatenate([annotated.boxes, [[-20, -10, 330, 220]]]).astype(np.float32)
    image, bent = bend(annotated.image, boxes, np.random.default_rng(seed))
    assert np.abs(bent[0] - bright_part(image)).max() <= 2
    assert bent[1].tolist() == pytest.approx([-20, -10, 330, 220])
    assert np.abs(bent[0] - annotated.boxes[0]).max() > 1


@pytest.mark.parametrize("seed", range(4))
def test_boxes_follow_the_turn(seed: int) -> None:
    image = np.full((200, 320, 3), 20, np.uint8)
    cv2.circle(image, (200, 80), 30, (230, 230, 230), -1)
    boxes = np.array([[170, 50, 230, 110]], np.float32)
    turned, moved = turn(image, boxes, np.random.default_rng(seed))
    turned[(turned == FILL).all(axis=2)] = 20
    assert np.abs(moved[0] - bright_part(turned)).max() <= 2
    assert np.abs(moved[0] - boxes[0]).max() > 0.1


def test_coarse_images_keep_their_size_and_lose_detail() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    coarse = coarsen(image, np.random.default_rng(1))
    assert coarse.shape == image.shape
    assert coarse.std() < 0.8 * image.std()
    assert abs(coarse.mean() - image.mean()) < 2


def test_tiny_and_cut_faces_are_not_clear() -> None:
    tiny = with_rectangle((100, 50, 104, 56))
    for seed in range(4):
        assert not crop(tiny, 64, np.random.default_rng(seed)).clear.any()


def test_batches_are_reproducible(tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path)
    folder.add(with_rectangle((100, 50, 160, 130)))
    one, same, other = (
        draw_batch(folder, [0, 0], 96, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    for a, b in zip(one, same, strict=True):
        assert np.array_equal(a.image, b.image) and np.array_equal(a.boxes, b.boxes)
    assert not all(np.array_equal(a.image, b.image) for a, b in zip(one, other, strict=True))
