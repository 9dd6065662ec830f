"""YuNet finds the faces of real clips, at sizes from a thumbnail to high definition."""

import json
import os
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from model.checkpoints.registry import find_file, find_weights
from model.detectors.yunet import YuNet
from utils.boxes import iou

PRETRAIN = os.environ.get("TALKNET_PRETRAIN")
CLIPS = Path(PRETRAIN or ".").parent / "clips"
needs_weights = pytest.mark.skipif(not PRETRAIN, reason="needs TALKNET_PRETRAIN")
needs_clips = pytest.mark.skipif(
    not PRETRAIN or not CLIPS.is_dir(), reason="needs TALKNET_PRETRAIN and ../clips beside it"
)


@pytest.fixture(scope="module")
def detector() -> YuNet:
    weights = find_weights("yunet")
    assert weights is not None
    return YuNet(weights)


def labelled_image(name: str, time_s: float) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the image of a clip at that time and the labelled boxes in it."""
    labels = json.loads((CLIPS / f"{name}.json").read_text("utf-8"))
    boxes = [
        row[2:6]
        for person in labels["persons"].values()
        for row in person["faces"]
        if row[0] <= time_s < row[1]
    ]
    with av.open(str(CLIPS / f"{name}.mp4")) as container:
        for decoded in container.decode(video=0):
            if decoded.time - labels["video_starts_at"] >= time_s:
                return decoded.to_ndarray(format="rgb24"), np.array(boxes, np.float32)
    raise AssertionError(f"{name} ends before {time_s} s")


@pytest.mark.weights
@needs_clips
@pytest.mark.parametrize("longer_side", [None, 1280, 160], ids=["own size", "large", "thumbnail"])
@pytest.mark.parametrize("name", ["debate_overlap", "no_audio_stream", "selfie_monologue"])
def test_labelled_faces_are_found(detector: YuNet, name: str, longer_side: int | None) -> None:
    image, expected = labelled_image(name, 2.5)
    height, width = image.shape[:2]
    scale = 1.0 if longer_side is None else longer_side / max(height, width)
    video = cv2.resize(image, (round(width * scale), round(height * scale)))
    small = cv2.resize(video, detector.image_size(video.shape[1], video.shape[0]))
    found = detector.detect([small, small])[1]
    back = np.array([width / small.shape[1], height / small.shape[0]] * 2, np.float32)
    assert iou((found.boxes * back)[:, None], expected[None]).max(axis=0).min() > 0.5
    assert len(found) == len(expected)
    assert found.boxes.dtype == found.confidences.dtype == np.float32
    assert found.confidences.min() >= 0.6


@pytest.mark.weights
@needs_weights
@pytest.mark.parametrize("size", [(1, 1), (3, 320), (32, 32), (180, 320), (33, 31)])
def test_images_without_faces(detector: YuNet, size: tuple[int, int]) -> None:
    for found in detector.detect([np.full((*size, 3), 90, np.uint8)] * 4):
        assert found.boxes.shape == (0, 4)


@pytest.mark.weights
@needs_weights
@pytest.mark.parametrize(
    ("video", "image"),
    [
        ((1280, 720), (320, 180)),
        ((480, 854), (180, 320)),
        ((160, 120), (320, 240)),
        ((7680, 4320), (320, 180)),
        ((1, 1000), (1, 320)),
    ],
)
def test_image_size(detector: YuNet, video: tuple[int, int], image: tuple[int, int]) -> None:
    assert detector.image_size(*video) == image


@pytest.mark.parametrize("content", [b"not a network", b""], ids=["text", "empty"])
def test_a_file_that_is_no_network(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "face_detection.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="expected YuNet's ONNX file") as failure:
        YuNet(find_file(path))
    assert "\n" not in str(failure.value)
