"""The bundled detector finds faces, at any size, alone and in batches."""

import json
import os
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from model.checkpoints.registry import find_file
from model.detectors.tiny_fcos import (
    STRIDES,
    TinyFcos,
    TinyFcosNetwork,
    add_large,
    cells,
    decode,
    load,
    mirrored_cells,
    pad,
    strongest,
)
from utils.boxes import iou
from utils.model_options import DetectorOptions
from utils.structures import Detections

ROOT = Path(__file__).parents[3]
DEMO = (ROOT / "demo" / "001.mp4", ROOT / "demo" / "001.labels.json")
WEIGHTS = ROOT / "pretrain" / "tiny_fcos.safetensors"
CLIPS = Path(os.environ.get("TALKNET_PRETRAIN") or ".").parent / "clips"


def load_file_of(path: Path, confidence: float | None = None) -> TinyFcos:
    options = DetectorOptions("tiny_fcos", confidence=confidence)
    return load(find_file(path), options, "cpu", "fp32")


@pytest.fixture(scope="module")
def detector() -> TinyFcos:
    return load_file_of(WEIGHTS)


def labelled_frames(
    video: Path, labels_file: Path, every_s: float
) -> list[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    labels = json.loads(labels_file.read_text("utf-8"))
    rows = [row for person in labels["persons"].values() for row in person["faces"]]
    frames = []
    due_s = every_s / 2
    with av.open(str(video)) as container:
        for decoded in container.decode(video=0):
            time_s = float(decoded.time or 0)
            if time_s >= due_s:
                due_s += every_s
                boxes = [row[2:6] for row in rows if row[0] <= time_s < row[1]]
                image = decoded.to_ndarray(format="rgb24")
                frames.append((image, np.array(boxes, np.float32).reshape(-1, 4)))
    return frames


def found_in(detector: TinyFcos, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the boxes in pixels of an image read at the detector's size."""
    height, width = image.shape[:2]
    size = detector.image_size(width, height)
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    boxes = detector.detect([small])[0].boxes
    return boxes * np.array([width / size[0], height / size[1]] * 2, np.float32)


def test_cells_cover_the_image() -> None:
    places = cells(64, 96)
    assert len(places) == 8 * 12 + 4 * 6 + 2 * 3
    assert places[0].tolist() == [4, 4, 8]
    assert places[13].tolist() == [12, 12, 8]
    assert places[-1].tolist() == [80, 48, 32]


def test_cells_first_used_in_detection_serve_training() -> None:
    with torch.inference_mode():
        places = cells(32, 160)
    distances = torch.ones((len(places), 4), requires_grad=True)
    decode(distances, places).sum().backward()  # type: ignore[no-untyped-call]
    assert distances.grad is not None


def test_decode() -> None:
    distances = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert decode(distances, torch.tensor([[100.0, 50.0, 8.0]])).tolist() == [[92, 34, 124, 82]]


@pytest.mark.parametrize("size", [(1, 1), (33, 31), (32, 64), (180, 320)])
def test_network_says_something_of_every_cell(size: tuple[int, int]) -> None:
    inputs = pad(torch.zeros((2, 3, *size)))
    height, width = inputs.shape[2:]
    assert (height % STRIDES[-1], width % STRIDES[-1]) == (0, 0)
    assert height - size[0] < STRIDES[-1] and width - size[1] < STRIDES[-1]
    logits, distances = TinyFcosNetwork().eval()(inputs)
    num_cells = len(cells(height, width))
    assert logits.shape == (2, num_cells)
    assert distances.shape == (2, num_cells, 4)
    assert distances.min() > 0


def test_folded_network_says_the_same() -> None:
    network = TinyFcosNetwork().eval()
    network.load_state_dict({k: v.float() for k, v in load_file(WEIGHTS).items()})
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((1, 3, 96, 128), generator=generator) * 255
    with torch.inference_mode():
        logits, distances = network(images)
        TinyFcos(network)
        folded_logits, folded_distances = network(images)
    assert torch.allclose(logits, folded_logits, atol=1e-3)
    assert torch.allclose(distances, folded_distances, rtol=1e-3, atol=1e-3)


def test_weights_are_small() -> None:
    assert WEIGHTS.stat().st_size < 1_000_000


def test_faces_of_the_demo_clip_are_found(detector: TinyFcos) -> None:
    frames = labelled_frames(*DEMO, 1.0)
    assert len(frames) == 27
    shared: list[float] = []
    num_false = 0
    for image, boxes in frames:
        overlap = iou(boxes[:, None], found_in(detector, image)[None])
        shared += list(overlap.max(axis=1, initial=0))
        num_false += int((overlap.max(axis=0, initial=0) < 0.4).sum())
    assert len(shared) > 40
    assert min(shared) > 0.5
    assert np.mean(shared) > 0.7
    assert num_false <= 1


def test_batch_gives_what_single_images_give(detector: TinyFcos) -> None:
    frames = labelled_frames(*DEMO, 2.5)
    images = [np.asarray(cv2.resize(one, (320, 180)), np.uint8) for one, _ in frames]
    together = detector.detect(images)
    assert len(together) == len(images) == 11
    for image, found in zip(images, together, strict=True):
        alone = detector.detect([image])[0]
        np.testing.assert_allclose(found.boxes, alone.boxes, atol=1e-2)
        np.testing.assert_allclose(found.confidences, alone.confidences, atol=1e-4)
        assert found.boxes.dtype == found.confidences.dtype == np.float32
        assert (np.diff(found.confidences) <= 0).all()


@pytest.mark.parametrize(
    ("confidence", "tolerance"), [(0.8, 1e-4), (0.5, 0.05)], ids=["doubtful", "sure"]
)
def test_mirrored_images_have_mirrored_faces(confidence: float, tolerance: float) -> None:
    detector = load_file_of(WEIGHTS, confidence)
    image, _ = labelled_frames(*DEMO, 5.0)[0]
    small = np.asarray(cv2.resize(image, (320, 180)), np.uint8)
    found = detector.detect([small])[0]
    mirrored = detector.detect([np.ascontiguousarray(small[:, ::-1])])[0]
    assert len(found) == len(mirrored) == 2
    np.testing.assert_allclose(mirrored.confidences, found.confidences, atol=tolerance)
    expected = np.array([320, 0, 320, 0]) + found.boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1]
    np.testing.assert_allclose(mirrored.boxes, expected, atol=100 * tolerance)


def test_cells_of_the_mirror_image() -> None:
    where = mirrored_cells(32, 64)
    places, other = cells(32, 64), cells(32, 64)[where]
    assert torch.equal(other[:, 0], 64 - places[:, 0])
    assert torch.equal(other[:, 1:], places[:, 1:])


def test_the_strongest_box_of_each_face_is_kept() -> None:
    boxes = np.array([[0, 0, 40, 40], [90, 0, 130, 40], [2, 0, 42, 40]], np.float32)
    found = strongest(Detections(boxes, np.array([0.6, 0.7, 0.8], np.float32)))
    assert found.boxes.tolist() == boxes[[2, 1]].tolist()
    assert found.confidences.tolist() == pytest.approx([0.8, 0.7])


def squares(*rows: tuple[float, float, float]) -> Detections:
    """Make detections on one line, each given as left side, size and confidence."""
    table = np.array(rows, np.float32).reshape(-1, 3)
    left, size = table[:, 0], table[:, 1]
    boxes = np.stack([left, 0 * left, left + size, size], axis=1)
    return Detections(boxes, table[:, 2])


ADDED: dict[str, tuple[list[tuple[float, float, float]], ...]] = {
    "a large face": ([], [(10, 100, 0.6)], [(10, 100, 0.6)]),
    "a small face": ([], [(10, 90, 0.9)], []),
    "found at both": ([(10, 100, 0.6)], [(14, 100, 0.9)], [(10, 100, 0.6)]),
    "two faces": ([(10, 40, 0.6)], [(200, 120, 0.9)], [(200, 120, 0.9), (10, 40, 0.6)]),
    "nothing": ([], [], []),
}


@pytest.mark.parametrize(("fine", "coarse", "expected"), ADDED.values(), ids=list(ADDED))
def test_half_the_size_adds_large_faces(
    fine: list[tuple[float, float, float]],
    coarse: list[tuple[float, float, float]],
    expected: list[tuple[float, float, float]],
) -> None:
    found = add_large(squares(*fine), squares(*coarse))
    assert found.boxes.tolist() == squares(*expected).boxes.tolist()
    assert found.confidences.tolist() == squares(*expected).confidences.tolist()
    assert found.boxes.dtype == found.confidences.dtype == np.float32


def test_no_images(detector: TinyFcos) -> None:
    assert detector.detect([]) == []


@pytest.mark.parametrize("size", [(1, 1), (3, 320), (64, 64), (180, 320), (320, 180)])
@pytest.mark.parametrize("kind", ["grey", "noise", "coarse noise"])
def test_images_without_faces(detector: TinyFcos, kind: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (4, *size, 3), dtype=np.uint8)
    coarse = noise[:, ::8, ::8].repeat(8, axis=1).repeat(8, axis=2)[:, : size[0], : size[1]]
    grey = np.full((4, *size, 3), 90, np.uint8)
    images = {"grey": grey, "noise": noise, "coarse noise": coarse}[kind]
    for found in detector.detect(list(images)):
        assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("video", "image"),
    [((1280, 720), (480, 270)), ((480, 854), (270, 480)), ((160, 120), (480, 360))],
)
def test_image_size(detector: TinyFcos, video: tuple[int, int], image: tuple[int, int]) -> None:
    assert detector.image_size(*video) == image


def test_confidence_is_obeyed() -> None:
    image, _ = labelled_frames(*DEMO, 5.0)[0]
    many, none = (load_file_of(WEIGHTS, level).detect([image])[0] for level in (0.05, 1.0))
    assert len(none) == 0
    assert len(many) > 0
    assert many.confidences.min() >= 0.05


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    state = load_file(WEIGHTS)
    del state["score.bias"]
    path = tmp_path / "cut.safetensors"
    save_file(state, path)
    with pytest.raises(ValueError, match=r"cut\.safetensors.*score\.bias") as failure:
        load_file_of(path)
    assert "\n" not in str(failure.value)


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / "short.safetensors"
    path.write_bytes(WEIGHTS.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"short\.safetensors"):
        load_file_of(path)


@pytest.mark.weights
@pytest.mark.skipif(not CLIPS.is_dir(), reason="needs TALKNET_PRETRAIN and ../clips beside it")
@pytest.mark.parametrize("name", ["debate_overlap", "no_audio_stream", "selfie_monologue"])
def test_faces_of_real_clips_are_found(detector: TinyFcos, name: str) -> None:
    best: list[float] = []
    num_false = 0
    for image, boxes in labelled_frames(CLIPS / f"{name}.mp4", CLIPS / f"{name}.json", 1.0):
        overlap = iou(boxes[:, None], found_in(detector, image)[None])
        best += list(overlap.max(axis=1, initial=0))
        num_false += int((overlap.max(axis=0, initial=0) < 0.4).sum())
    assert np.mean(np.array(best) >= 0.4) > 0.9
    assert num_false <= 0.1 * len(best)
