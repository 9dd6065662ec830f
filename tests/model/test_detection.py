"""The detector runs on the right frames, once per image; boxes are in source pixels."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model import detection
from model.contract import WeightsFile
from model.detection import choose_detector, detect_faces, load_detector
from utils.errors import WeightsUnavailableError
from utils.model_options import DetectorOptions
from utils.structures import Detections, Frame

PRETRAIN = os.environ.get("TALKNET_PRETRAIN")
SHIPPED = Path(__file__).parents[2] / "pretrain"


class BrightSpots:
    """Finds the bright pixels of an image as one box each; counts what it is shown."""

    name = "bright spots"
    weights: WeightsFile | None = None

    def __init__(self) -> None:
        self.batches: list[int] = []

    def image_size(self, width: int, height: int) -> tuple[int, int]:
        return width // 4, height // 4

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        self.batches.append(len(images))
        found = []
        for image in images:
            y, x = np.nonzero(image[..., 0] > 200)
            boxes = np.stack([x, y, x + 1, y + 1], axis=1).astype(np.float32)
            found.append(Detections(boxes, np.ones(len(boxes), np.float32)))
        return found


def frames_of(*lengths: int, repeat: int = 1) -> Iterator[Frame]:
    """Frames of shots of these lengths; frame i has a spot at row 1, column i mod 10.

    Each image is shown `repeat` times in a row, as the same arrays.
    """
    index = 0
    for shot, length in enumerate(lengths):
        for _ in range(length):
            if index % repeat == 0:
                grey = np.zeros((12, 40), np.uint8)
                image = np.zeros((6, 10, 3), np.uint8)
                image[1, index % 10] = 255
            yield Frame(index, grey, image, shot)
            index += 1


@pytest.mark.parametrize(
    ("lengths", "every", "looked"),
    [
        ([], 2, []),
        ([1], 5, [0]),
        ([6], 1, [0, 1, 2, 3, 4, 5]),
        ([6], 2, [0, 2, 4, 5]),
        ([7], 3, [0, 3, 6]),
        ([4, 1, 5], 3, [0, 3, 4, 5, 8, 9]),
        ([3, 3], 100, [0, 2, 3, 5]),
    ],
    ids=["empty", "one frame", "all", "every second", "every third", "three shots", "ends only"],
)
def test_where_faces_are_looked_for(lengths: list[int], every: int, looked: list[int]) -> None:
    frames = list(detect_faces(frames_of(*lengths), BrightSpots(), every))
    assert [frame.index for frame in frames] == list(range(sum(lengths)))
    assert [frame.index for frame in frames if frame.faces is not None] == looked
    for frame in frames:
        if frame.faces is not None:
            column = frame.index % 10
            expected = np.array([[4 * column, 2, 4 * column + 4, 4]], np.float32)
            np.testing.assert_array_equal(frame.faces.boxes, expected)


def test_video_that_begins_later() -> None:
    late = (replace(frame, index=frame.index + 19) for frame in frames_of(5))
    frames = detect_faces(late, BrightSpots(), 2)
    assert [frame.index for frame in frames if frame.faces is not None] == [19, 21, 23]


@pytest.mark.parametrize(("every", "num_images"), [(1, 34), (2, 34), (3, 34), (7, 16)])
def test_a_repeated_image_is_looked_at_once(every: int, num_images: int) -> None:
    detector = BrightSpots()
    frames = list(detect_faces(frames_of(100, repeat=3), detector, every))
    assert sum(detector.batches) == num_images
    for frame in frames:
        if frame.faces is not None:
            assert frame.faces.boxes[0, 0] == 4 * ((frame.index - frame.index % 3) % 10)


def test_batches_are_full() -> None:
    detector = BrightSpots()
    assert len(list(detect_faces(frames_of(40, 40), detector, 1))) == 80
    assert detector.batches == [32, 32, 16]


@pytest.mark.parametrize("colour", ["none", "the image", "its own"])
def test_few_frames_are_held(monkeypatch: pytest.MonkeyPatch, colour: str) -> None:
    own = 12 * 40 * 3 if colour == "its own" else 0
    monkeypatch.setattr(detection, "HELD_BYTES", 10 * (12 * 40 + 6 * 10 * 3 + own))
    taken: list[int] = []

    def counted() -> Iterator[Frame]:
        for frame in frames_of(200):
            taken.append(frame.index)
            shown = {"none": None, "the image": frame.image}.get(
                colour, np.zeros((12, 40, 3), np.uint8)
            )
            yield replace(frame, colour=shown)

    given = [(frame.index, len(taken)) for frame in detect_faces(counted(), BrightSpots(), 4)]
    assert max(num_taken - index for index, num_taken in given) == 11


def test_no_faces() -> None:
    grey, image = np.zeros((12, 40), np.uint8), np.zeros((6, 10, 3), np.uint8)
    (frame,) = detect_faces(iter([Frame(0, grey, image)]), BrightSpots(), 1)
    assert frame.faces is not None and frame.faces.boxes.shape == (0, 4)


def test_every_is_checked() -> None:
    with pytest.raises(ValueError, match=r"every 1, 2, \.\.\. frames, got 0"):
        next(detect_faces(frames_of(3), BrightSpots(), 0))


@pytest.mark.parametrize(
    ("field", "value", "flag"),
    [
        ("detect_every", 0, "--detectEvery"),
        ("facedet_scale", 0.0, "--facedetScale"),
        ("facedet_scale", float("nan"), "--facedetScale"),
        ("confidence", 1.5, "--confidence"),
    ],
)
def test_wrong_options(field: str, value: Any, flag: str) -> None:
    with pytest.raises(ValueError, match=f"{flag} must be .*, got {value}"):
        DetectorOptions(**{field: value})


@pytest.mark.parametrize(
    ("detect_every", "device", "every"),
    [(None, "cpu", 2), (None, "cuda", 1), (5, "cpu", 5), (5, "cuda:1", 5)],
)
def test_how_often(detect_every: int | None, device: str, every: int) -> None:
    assert DetectorOptions(detect_every=detect_every).every(device) == every


def test_unknown_detector() -> None:
    with pytest.raises(ValueError, match=r"named one of auto, .*yunet; got 'haar'"):
        load_detector("haar")


@pytest.mark.parametrize("name", ["auto", "s3fd", "yunet"])
def test_no_detector_is_available(offline: Path, name: str) -> None:
    assert offline.is_dir()
    with pytest.raises(WeightsUnavailableError, match="no face detector is available") as failure:
        load_detector(name)
    message = str(failure.value)
    assert "\n" not in message
    assert ("face_detection_yunet_2023mar.onnx" in message) == (name != "s3fd")
    assert ("sfd_face.pth" in message) == (name == "s3fd")
    assert ("tiny_fcos.safetensors" in message) == (name == "auto")
    assert "TALKNET_PRETRAIN" in message


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_shipped_detector_takes_over(offline: Path, device: str) -> None:
    """Without any download, the bundled weights are used."""
    (offline / "tiny_fcos.safetensors").write_bytes(
        (SHIPPED / "tiny_fcos.safetensors").read_bytes()
    )
    choice = choose_detector(DetectorOptions(), device)
    assert choice.detector.name == "tiny_fcos"
    preferred = "yunet" if device == "cpu" else "s3fd"
    assert choice.reason == (
        f"tiny_fcos (tiny_fcos.safetensors), because {preferred} is not available "
        f"(--detector {preferred} says why)"
    )


@pytest.mark.weights
@pytest.mark.skipif(not PRETRAIN, reason="needs TALKNET_PRETRAIN")
@pytest.mark.parametrize(
    ("name", "device", "reason"),
    [
        ("auto", "cpu", "yunet (face_detection_yunet_2023mar.onnx), the one for a CPU"),
        ("yunet", "cpu", "yunet (face_detection_yunet_2023mar.onnx), as asked for"),
        ("auto", "cuda", "because s3fd is not available (--detector s3fd says why)"),
    ],
)
def test_what_is_chosen(offline: Path, name: Any, device: str, reason: str) -> None:
    assert PRETRAIN is not None and offline.is_dir()
    file = "face_detection_yunet_2023mar.onnx"
    (offline / file).write_bytes((Path(PRETRAIN) / file).read_bytes())
    choice = choose_detector(DetectorOptions(name), device)
    assert choice.detector.name == "yunet"
    assert reason in choice.reason and "\n" not in choice.reason
    with pytest.raises(WeightsUnavailableError, match="no face detector is available"):
        choose_detector(DetectorOptions("s3fd"), device)
