"""Frames are marked where the teacher sees a face, and in between where it loses one."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from model.contract import WeightsFile
from model.shipped.tiny_fcos_marks import EVERY, MarkedFrame, join, look, mark_video
from utils.boxes import iou
from utils.structures import Detections


class BrightSquare:
    """Finds the bright square of an image, except in frames of its choice.

    Args:
        certain: The confidence of the square in each image in turn; 0 does not find it.
    """

    name = "bright_square"
    weights: WeightsFile | None = None

    def __init__(self, certain: Sequence[float]) -> None:
        self._certain = list(certain)

    def image_size(self, width: int, height: int) -> tuple[int, int]:
        """Return half the size."""
        return width // 2, height // 2

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Return the box around what is bright."""
        return [self._detect_one(image, self._certain.pop(0)) for image in images]

    def _detect_one(self, image: NDArray[np.uint8], confidence: float) -> Detections:
        rows, columns = np.nonzero(image.mean(axis=2) > 128)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        found = [box] if confidence else []
        confidences = np.full(len(found), confidence, np.float32)
        return Detections(np.array(found, np.float32).reshape(-1, 4), confidences)


def left_of_square(frame: int) -> int:
    """Return the column, of an image of 160 pixels, where the square of 40 begins."""
    return 20 + frame // 4


def write_square(path: Path, num_frames: int) -> Path:
    """Write a square that moves a pixel to the right every four frames."""
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(num_frames):
            image = np.full((120, 160, 3), 20, np.uint8)
            left = left_of_square(number)
            image[40:80, left : left + 40] = 230
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path


CASES = {
    "always seen": ([0.9] * 12, [0.9] * 12, [True] * 12),
    "lost in between": (
        [0.9] * 4 + [0.0] * 3 + [0.9] * 5,
        [0.9] * 4 + [0.0] * 3 + [0.9] * 5,
        [True] * 12,
    ),
    "doubtful in between": (
        [0.9] * 6 + [0.5] + [0.9] * 5,
        [0.9] * 6 + [0.5] + [0.9] * 5,
        [True] * 12,
    ),
    "doubtful at the end": ([0.9] * 11 + [0.5], [0.9] * 11 + [0.5], [True] * 11 + [False]),
}


@pytest.mark.parametrize(("certain", "confidences", "clear"), CASES.values(), ids=list(CASES))
def test_marks(
    certain: list[float], confidences: list[float], clear: list[bool], tmp_path: Path
) -> None:
    video = write_square(tmp_path / "square.mp4", 12 * EVERY)
    frames = mark_video(BrightSquare(certain), video, 1000)
    assert [one.confidences.tolist() for one in frames] == [
        [pytest.approx(value)] for value in confidences
    ]
    assert [one.clear.tolist() for one in frames] == [[value] for value in clear]
    for number, one in enumerate(frames):
        left = left_of_square(EVERY * number) / 2
        expected = np.array([[left, 20, left + 20, 40]], np.float32)
        assert iou(one.boxes, expected).min() > 0.85
        assert one.image.shape == (60, 80, 3)


def test_a_face_that_is_gone_for_long_is_not_marked(tmp_path: Path) -> None:
    video = write_square(tmp_path / "square.mp4", 18 * EVERY)
    frames = mark_video(BrightSquare([0.9] * 6 + [0.0] * 6 + [0.9] * 6), video, 1000)
    assert [len(one.boxes) for one in frames] == [1] * 6 + [0] * 6 + [1] * 6


def test_frames_are_spread_over_the_video(tmp_path: Path) -> None:
    video = write_square(tmp_path / "square.mp4", 60)
    frames = mark_video(BrightSquare([0.9] * 4), video, 4)
    lefts = [one.boxes[0, 0] for one in frames]
    assert lefts == pytest.approx([left_of_square(frame) / 2 for frame in (0, 15, 30, 45)], abs=1)


def test_the_ease_of_a_frame_is_that_of_its_hardest_clear_face() -> None:
    boxes = np.zeros((3, 4), np.float32)
    nothing = np.zeros(0, np.uint8)
    confidences = np.array([0.9, 0.5, 0.7], np.float32)
    frame = MarkedFrame(nothing, boxes, confidences, np.array([True, False, True]))
    assert frame.ease == pytest.approx(0.7)
    assert join(nothing, Detections(boxes[:0], confidences[:0]), []).ease == 1


def test_look_gives_boxes_in_pixels_of_the_image() -> None:
    image = np.full((120, 160, 3), 20, np.uint8)
    image[40:80, 20:60] = 230
    assert look(BrightSquare([0.8]), image).boxes.tolist() == [[20, 40, 60, 80]]
