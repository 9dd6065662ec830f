"""Cut-out people and images composed of them, with correct boxes."""

from dataclasses import replace
from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
import pytest
from numpy.typing import NDArray

from utils.datasets.face_pictures import composites
from utils.datasets.face_pictures.augmentation import blend_face, dim, hide_face, recolour
from utils.datasets.face_pictures.composites import CompositeMaker
from utils.datasets.face_pictures.cutouts import Cutout, cut_out, find_videos, pack

FACE = (183.0, 120.5, 353.0, 333.0)


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), np.uint8)


@pytest.fixture(scope="module")
def person(portrait: NDArray[np.uint8]) -> Cutout:
    found = cut_out(portrait, np.array(FACE, np.float32), "hopper")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def background() -> NDArray[np.uint8]:
    grey = np.full((400, 600, 3), 128, np.uint8)
    return np.asarray(cv2.imencode(".jpg", grey)[1], np.uint8)


def test_cutout_contains_the_face(portrait: NDArray[np.uint8], person: Cutout) -> None:
    image, matte = person.decode()
    assert image.shape[:2] == matte.shape
    x1, y1, x2, y2 = (round(value) for value in person.face)
    assert y2 - y1 == pytest.approx(212.5, abs=1)
    middle = matte[y1 + 30 : y2 - 30, x1 + 30 : x2 - 30]
    assert middle.min() > 250
    assert matte[:10, :10].max() == 0
    expected = portrait[120:332, 183:353].astype(int)
    assert np.abs(image[y1 : y1 + 212, x1 : x1 + 170] - expected).mean() < 6


def test_small_faces_are_skipped(portrait: NDArray[np.uint8]) -> None:
    assert cut_out(portrait, np.array([10, 10, 26, 30], np.float32), "hopper") is None


def test_composites_differ_from_the_background_where_boxes_are(
    person: Cutout, background: NDArray[np.uint8]
) -> None:
    sizes: list[float] = []
    for seed in range(12):
        composite = CompositeMaker([person], [background], np.random.default_rng(seed)).compose()
        height, width = composite.image.shape[:2]
        assert len(composite.boxes) == len(composite.clear)
        for box in composite.boxes:
            x1, y1, x2, y2 = np.clip(box, 0, [width, height, width, height]).astype(int)
            assert composite.image[y1 : y2 + 1, x1 : x2 + 1].std() > 5
            sizes.append(float(box[3] - box[1]))
    assert len(sizes) > 10
    assert min(sizes) < 40 and max(sizes) > 100


def test_composites_are_reproducible(person: Cutout, background: NDArray[np.uint8]) -> None:
    one, same, other = (
        CompositeMaker([person], [background], np.random.default_rng(seed)).compose()
        for seed in (3, 3, 4)
    )
    assert np.array_equal(one.image, same.image)
    assert np.array_equal(one.boxes, same.boxes)
    assert not np.array_equal(one.image.shape, other.image.shape) or not np.array_equal(
        one.image, other.image
    )


def test_people_who_are_hard_to_detect_are_drawn_more_often(
    background: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = np.full((120, 100), 255, np.uint8)
    box = np.array([20, 20, 80, 100], np.float32)
    red, green = (
        pack(name, np.full((120, 100, 3), colour, np.uint8), whole, box)
        for name, colour in (("easy", (200, 30, 30)), ("hard", (30, 200, 30)))
    )
    monkeypatch.setattr(composites, "HARD", 1.0)
    for hard, stronger in ((False, 0), (True, 1)):
        people = [red, replace(green, hard=True)] if hard else [red]
        composite = CompositeMaker(people, [background], np.random.default_rng(1)).compose()
        (x1, y1, x2, y2), *_ = np.array(composite.boxes).astype(int)
        face = composite.image[max(0, y1) : y2, max(0, x1) : x2].reshape(-1, 3)
        assert np.median(face, axis=0).argmax() == stronger


def test_hide_face_changes_only_the_face(person: Cutout) -> None:
    image, _ = person.decode()
    x1, y1, x2, y2 = (round(value) for value in person.face)
    for seed in range(6):
        hidden = hide_face(image, person.face, np.random.default_rng(seed))
        changed = np.abs(hidden.astype(int) - image).mean(axis=2)
        assert changed[y1:y2, x1:x2].mean() > 8
        changed[y1:y2, x1:x2] = 0
        assert changed.max() == 0


def test_blending_a_face_with_itself(person: Cutout) -> None:
    image, _ = person.decode()
    same = blend_face(image, person.face, person, np.random.default_rng(0))
    assert np.abs(same.astype(int) - image).mean() < 1


def test_recolour() -> None:
    image = np.full((20, 30, 3), 100, np.uint8)
    means = [recolour(image, np.random.default_rng(seed), 1.0).mean() for seed in range(20)]
    assert min(means) < 80
    assert max(means) > 120


def test_dim_only_darkens() -> None:
    image = np.full((40, 60, 3), 200, np.uint8)
    means = [dim(image, np.random.default_rng(seed)).mean() for seed in range(20)]
    assert max(means) < 180
    assert min(means) < 30
    assert dim(np.zeros_like(image), np.random.default_rng(0)).max() == 0


def test_people_of_an_index(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c.avi"):
        (tmp_path / name).touch()
    (tmp_path / "INDEX.csv").write_text("file,identity\na.mp4,ann\nb.mp4,ann\n", "utf-8")
    people = find_videos([tmp_path])
    assert {name: [path.name for path in paths] for name, paths in people.items()} == {
        "ann": ["a.mp4", "b.mp4"],
        "c": ["c.avi"],
    }


def test_folder_without_videos(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected videos"):
        find_videos([tmp_path])
