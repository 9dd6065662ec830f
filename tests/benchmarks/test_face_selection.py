"""Detectors are compared by people, with turned faces apart, on frames that YuNet marked."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.face_selection import FACES, Seen, observe, shares, summary, totals
from model.contract import WeightsFile
from utils.datasets.face_pictures.images import AnnotatedImage, ImageFolder
from utils.structures import Detections


class Always:
    """Finds the same boxes in every image."""

    name = "always"
    weights: WeightsFile | None = None

    def __init__(self, found: Detections) -> None:
        self._found = found

    def image_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size of the video."""
        return width, height

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Return the boxes."""
        return [self._found for _ in images]


def seen_of(person: str, best: Sequence[float], turned: Sequence[int], *false: float) -> Seen:
    return Seen(person, np.array(turned) > 0, np.array(best), np.array(false))


SEEN = [
    seen_of("ann", [0.9, 0.4], [0, 1], 0.7),
    seen_of("ann", [0.6], [0]),
    seen_of("bob", [0.3], [1], 0.2, 0.8),
    seen_of("nobody", [], []),
]


def test_people_are_counted_apart() -> None:
    found = totals(SEEN, 0.5)
    assert {name: row.tolist() for name, row in found.items()} == {
        "ann": [2, 3, 2, 1, 0, 1],
        "bob": [1, 1, 0, 1, 0, 1],
        "nobody": [1, 0, 0, 0, 0, 0],
    }


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [(0.5, [(2 / 3 + 0) / 2, 0, (0.5 + 1) / 3]), (0.3, [1, 1, (0.5 + 1) / 3])],
)
def test_people_count_equally_and_turned_faces_are_pooled(
    confidence: float, expected: list[float]
) -> None:
    rows = np.stack(list(totals(SEEN, confidence).values()))
    assert shares(rows).tolist() == pytest.approx(expected)
    assert shares(rows[None].repeat(3, axis=0)).shape == (3, 3)


def test_no_turned_faces() -> None:
    rows = np.stack(list(totals([seen_of("ann", [0.9], [0])], 0.5).values()))
    assert np.isnan(shares(rows)[1])


def test_intervals_surround_the_measures() -> None:
    record = summary(SEEN * 5, 0.5)
    assert record["confidence"] == 0.5
    assert record["recall"] == "0.333 (0.000 to 0.667)"


def test_marks_that_may_not_be_faces_are_neither_missed_nor_false(tmp_path: Path) -> None:
    boxes = np.array([[10, 10, 40, 40], [60, 10, 90, 40], [10, 60, 40, 90]], np.float32)
    images = ImageFolder(tmp_path)
    blank = np.zeros((100, 100, 3), np.uint8)
    images.add(AnnotatedImage(blank, boxes, np.array([True, True, False])))
    (tmp_path / FACES).write_text("ann,0,1,0\n", "utf-8")
    found = np.array([[11, 10, 41, 40], [10, 60, 40, 90], [60, 60, 90, 90]], np.float32)
    detector = Always(Detections(found, np.array([0.9, 0.8, 0.7], np.float32)))
    (one,) = observe(detector, tmp_path)
    assert one.person == "ann"
    assert one.turned.tolist() == [False, True]
    assert one.best.tolist() == pytest.approx([0.9, 0])
    assert one.false.tolist() == pytest.approx([0.7])
