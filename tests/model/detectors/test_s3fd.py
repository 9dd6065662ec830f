"""S3FD equals the published detector's maps, boxes and faces, for both weights files."""

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.checkpoints.registry import find_file
from model.detectors import s3fd
from model.layers.nms import suppress
from tests.parity import fill, references
from utils.model_options import DetectorOptions
from utils.structures import Detections

SIZE = np.array([160, 128, 160, 128], np.float32)  # of the reference image, twice


@pytest.fixture(scope="module")
def reference() -> dict[str, NDArray[np.float32]]:
    return references.reference("s3fd")


@pytest.fixture(scope="module")
def published_state() -> dict[str, Tensor]:
    """Return a weights file as published with TalkNet, filled with the reference's numbers."""
    names = {ours: published for published, ours in s3fd.TALKNET_NAMES.items()}
    state = {}
    for key, tensor in s3fd.S3fdNetwork().state_dict().items():
        ours = next(name for name in names if key.startswith(f"{name}."))
        published = names[ours] + key.removeprefix(ours)
        state[published] = torch.from_numpy(fill.array(published, tensor.shape))
    return state


@pytest.fixture(scope="module")
def levels(published_state: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    image = torch.from_numpy(fill.inputs("s3fd.image", (1, 3, 128, 160), -120, 140))
    with torch.inference_mode():
        return s3fd.build(published_state).eval().forward(image)


@pytest.fixture(scope="module")
def priors(levels: list[tuple[Tensor, Tensor]]) -> Tensor:
    return s3fd.make_priors(tuple(tuple(loc.shape[2:]) for loc, _ in levels))


@pytest.fixture(scope="module")
def places_and_confidences() -> tuple[Tensor, Tensor]:
    """Return the reference's drawn outputs of a network, which have many confident faces."""
    places = torch.from_numpy(fill.inputs("s3fd.post.loc", (1, 1708, 4), -2, 2))
    logits = torch.from_numpy(fill.inputs("s3fd.post.conf", (1, 1708, 2), -4, 4))
    return places[0], logits[0].softmax(dim=-1)[:, 1]


def rows(found: Detections) -> NDArray[np.float32]:
    """(N, 5) confidence and corners, relative to the reference image."""
    return np.column_stack([found.confidences, found.boxes / SIZE])


def test_raw_maps(
    levels: list[tuple[Tensor, Tensor]], reference: dict[str, NDArray[np.float32]]
) -> None:
    for index, (loc, conf) in enumerate(levels):
        np.testing.assert_allclose(loc, reference[f"raw_loc{index}"], atol=1e-3)
        np.testing.assert_allclose(conf, reference[f"raw_conf{index}"], atol=1e-3)


def test_flattened_maps_and_priors(
    levels: list[tuple[Tensor, Tensor]], priors: Tensor, reference: dict[str, NDArray[np.float32]]
) -> None:
    places, confidences = s3fd.flatten(levels)
    np.testing.assert_allclose(places, reference["loc"], atol=1e-3)
    np.testing.assert_allclose(confidences, reference["conf_softmax"][..., 1], atol=1e-4)
    relative = priors[:, [0, 1, 2, 2]].numpy() / SIZE
    np.testing.assert_allclose(relative, reference["priors"], atol=1e-6)


def test_detections_of_the_whole_network(
    levels: list[tuple[Tensor, Tensor]], priors: Tensor, reference: dict[str, NDArray[np.float32]]
) -> None:
    places, confidences = s3fd.flatten(levels)
    found = rows(s3fd.choose(places[0], confidences[0], priors, 0.05))
    expected = reference["detect"]
    assert len(found) == len(expected) == int(reference["detect_count"][0])
    # Confidences near 0.5 may swap places: each box must be there once, with its confidence.
    nearest = np.abs(found[:, None] - expected[None]).max(axis=2).argmin(axis=1)
    assert sorted(nearest) == list(range(len(expected)))
    np.testing.assert_allclose(found, expected[nearest], atol=1e-3)


def test_faces_of_drawn_outputs(
    places_and_confidences: tuple[Tensor, Tensor],
    priors: Tensor,
    reference: dict[str, NDArray[np.float32]],
) -> None:
    found = s3fd.choose(*places_and_confidences, priors, 0.05)
    np.testing.assert_allclose(rows(found), reference["post_detect"], atol=1e-3)


def test_starting_at_the_threshold_gives_the_same_faces(
    places_and_confidences: tuple[Tensor, Tensor],
    priors: Tensor,
    reference: dict[str, NDArray[np.float32]],
) -> None:
    found = s3fd.choose(*places_and_confidences, priors, 0.9)
    boxes = found.boxes / SIZE * np.array([640, 512, 640, 512], np.float32)
    table = np.column_stack([boxes, found.confidences])
    np.testing.assert_allclose(table, reference["post_faces_before_nms"], atol=1e-3)
    kept = suppress(boxes, np.arange(len(boxes)), 0.1)
    np.testing.assert_allclose(table[kept], reference["post_faces"], atol=1e-3)


@pytest.mark.parametrize("scale", [0.5, 0.25])
def test_photo_is_prepared_as_published(
    scale: float, reference: dict[str, NDArray[np.float32]]
) -> None:
    photo = reference["photo_rgb"].astype(np.uint8)
    detector = s3fd.S3fd(s3fd.S3fdNetwork(), scale=scale)
    name = f"photo_tensor_scale{scale}".replace(".", "p")
    np.testing.assert_allclose(detector.prepare([photo]), reference[name], atol=1e-4)


class DrawnOutputs(s3fd.S3fdNetwork):
    """Returns the outputs of the reference's stand-in network for every image."""

    def __init__(self, places: Tensor, confidences: Tensor) -> None:
        super().__init__()
        self.places, self.logits = places, torch.logit(confidences, eps=1e-7)

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        levels, start = [], 0
        for height, width in ((32, 40), (16, 20), (8, 10), (4, 5), (2, 3), (1, 2)):
            stop = start + height * width
            loc = self.places[start:stop].T.reshape(1, 4, height, width)
            conf = self.logits[start:stop].reshape(1, 1, height, width)
            conf = torch.cat([torch.zeros_like(conf), conf], dim=1)
            levels.append((loc, conf))
            start = stop
        shape = (len(images), -1, -1, -1)
        return [(loc.expand(shape), conf.expand(shape)) for loc, conf in levels]


def test_photo_faces(
    places_and_confidences: tuple[Tensor, Tensor], reference: dict[str, NDArray[np.float32]]
) -> None:
    photo = reference["photo_rgb"].astype(np.uint8)
    detector = s3fd.S3fd(DrawnOutputs(*places_and_confidences))
    found = detector.detect([photo, photo])[1]
    # The published code gives boxes relative to its image, which the priors took for 160x128.
    boxes = found.boxes / SIZE * np.array([130, 97, 130, 97], np.float32)
    table = np.column_stack([boxes, found.confidences])
    np.testing.assert_allclose(table, reference["photo_faces_conf0p9"], atol=1e-3)


def test_photo_faces_of_two_scales(
    places_and_confidences: tuple[Tensor, Tensor],
    priors: Tensor,
    reference: dict[str, NDArray[np.float32]],
) -> None:
    found = s3fd.choose(*places_and_confidences, priors, 0.97)
    boxes = np.tile(found.boxes / SIZE * np.array([130, 97, 130, 97], np.float32), (2, 1))
    confidences = np.tile(found.confidences, 2)
    kept = suppress(boxes, np.argsort(-confidences, kind="stable"), 0.1)
    table = np.column_stack([boxes, confidences])[kept]
    np.testing.assert_allclose(table, reference["photo_faces_two_scales_conf0p97"], atol=1e-3)


@pytest.fixture(scope="module")
def theirs() -> Any:
    """face-alignment's own network, with weights that give maps of every size of numbers."""
    net_s3fd = pytest.importorskip("face_alignment.detection.sfd.net_s3fd")
    network = net_s3fd.s3fd().eval()
    fill.fill(network)
    return network


@pytest.mark.parametrize("size", [(128, 160), (90, 161)], ids=["even", "odd"])
def test_face_alignment_layout(theirs: Any, size: tuple[int, int]) -> None:
    rgb = torch.from_numpy(fill.inputs(f"s3fd.{size}", (1, 3, *size), -120, 140))
    with torch.inference_mode():
        expected = theirs(rgb.flip(1))  # it reads BGR
        levels = s3fd.build(theirs.state_dict()).eval()(rgb)
    for (loc, conf), their_conf, their_loc in zip(
        levels, expected[::2], expected[1::2], strict=True
    ):
        background = conf[:, :-1].amax(dim=1, keepdim=True)
        torch.testing.assert_close(loc, their_loc, atol=1e-4, rtol=1e-4)
        ours = torch.cat([background, conf[:, -1:]], dim=1)
        torch.testing.assert_close(ours, their_conf, atol=1e-4, rtol=1e-4)


def test_face_alignment_boxes(theirs: Any) -> None:
    """The package walks over the cells one by one; all boxes above 0.05, before any NMS."""
    detect = pytest.importorskip("face_alignment.detection.sfd.detect")
    image = fill.inputs("s3fd.boxes", (96, 130, 3), 0, 255).astype(np.uint8)
    expected = detect.detect(theirs, image, "cpu")[0]
    detector = s3fd.S3fd(s3fd.build(theirs.state_dict()))
    with torch.inference_mode():
        levels = detector.network(detector.prepare([image]))
        places, confidences = s3fd.flatten(levels)
        sizes = tuple(tuple(loc.shape[2:]) for loc, _ in levels)
        boxes = s3fd.decode(places[0], s3fd.make_priors(sizes))
    found = np.column_stack([boxes, confidences[0]])[confidences[0].numpy() > 0.05]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def spread() -> s3fd.S3fdNetwork:
    """Draw a network whose confidences and boxes spread as a trained one's do."""
    generator = torch.Generator().manual_seed(7)
    network = s3fd.S3fdNetwork().eval()
    images = torch.randn(1, 3, 96, 160, generator=generator) * 60
    with torch.inference_mode():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d) and module.bias is not None:
                deviation = (2 / module.weight[0].numel()) ** 0.5
                module.weight.normal_(0, deviation, generator=generator)
                torch.nn.init.zeros_(module.bias)
        for (loc, conf), place, kind in zip(
            network(images), network.loc, network.conf, strict=True
        ):
            assert isinstance(place, torch.nn.Conv2d) and isinstance(kind, torch.nn.Conv2d)
            place.weight.div_(2 * loc.std())
            kind.weight.mul_(3 / (conf[:, -1] - conf[:, :-1].amax(dim=1)).std())
    return network


def copy_of(network: s3fd.S3fdNetwork) -> s3fd.S3fdNetwork:
    copy = s3fd.S3fdNetwork().eval()
    copy.load_state_dict(network.state_dict())
    return copy


@pytest.fixture(scope="module")
def images() -> list[NDArray[np.uint8]]:
    return list(fill.inputs("s3fd.batch", (5, 96, 160, 3), 0, 255).astype(np.uint8))


def test_batches_in_fast_layout_give_the_plain_boxes(
    spread: s3fd.S3fdNetwork, images: list[NDArray[np.uint8]]
) -> None:
    plain = s3fd.S3fd(spread, pixels=1).detect(images)
    fast_network = s3fd.prepare_network(copy_of(spread), "cpu", "fp32")
    fast = s3fd.S3fd(fast_network, pixels=4 * 96 * 160).detect(images)
    assert sum(len(found) for found in plain) > 20
    for expected, found in zip(plain, fast, strict=True):
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.01)
        np.testing.assert_allclose(found.confidences, expected.confidences, atol=1e-4)


def test_bf16_moves_the_boxes_by_less_than_a_pixel(
    spread: s3fd.S3fdNetwork, images: list[NDArray[np.uint8]]
) -> None:
    low = s3fd.prepare_network(copy_of(spread), "cpu", "bf16")
    inputs = s3fd.S3fd(spread).prepare(images)
    with torch.inference_mode():
        expected, expected_confidences = s3fd.flatten(spread(inputs))
        levels = low(inputs.bfloat16())
        found, confidences = s3fd.flatten(levels)
        priors = s3fd.make_priors(tuple(tuple(loc.shape[2:]) for loc, _ in levels))
    sure = expected_confidences[0] > 0.9
    boxes = [s3fd.decode(places[0][sure], priors[sure]) for places in (expected, found)]
    sides = priors[sure, 2:]
    assert torch.all((boxes[0] - boxes[1]).abs() < 0.02 * sides)  # 0.3 pixels of a face of 16
    assert (confidences - expected_confidences).abs().quantile(0.99) < 0.05


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (31, 33)])
def test_small_images(spread: s3fd.S3fdNetwork, size: tuple[int, int]) -> None:
    found = s3fd.S3fd(spread).detect([np.full((*size, 3), 120, np.uint8)])
    assert len(found) == 1 and np.isfinite(found[0].boxes).all()


def test_no_images(spread: s3fd.S3fdNetwork) -> None:
    assert s3fd.S3fd(spread).detect([]) == []


def test_boxes_are_those_of_the_small_image_in_pixels_of_the_large_one(
    spread: s3fd.S3fdNetwork,
) -> None:
    large = fill.inputs("s3fd.large", (260, 400, 3), 0, 255).astype(np.uint8)
    found = s3fd.S3fd(spread, scale=0.5, confidence=0.6).detect([large])[0]
    small = cv2.resize(large, None, fx=0.5, fy=0.5)
    expected = s3fd.S3fd(spread, confidence=0.6).detect([small])[0]
    assert len(found) > 0
    np.testing.assert_allclose(found.boxes, 2 * expected.boxes, rtol=1e-5, atol=1e-3)
    assert s3fd.S3fd(spread, scale=0.25).image_size(1280, 720) == (1280, 720)


@pytest.mark.parametrize(
    ("dropped", "added", "message"),
    [
        ("", {"a.weight": torch.zeros(1)}, "expected S3FD weights"),
        ("vgg.31.bias", {}, r'Missing key.* "trunk.31.bias"'),
        ("", {"vgg.0.weight": torch.zeros(64, 1, 3, 3)}, "size mismatch for trunk.0.weight"),
        ("vgg.0.bias", {"vgg.0.biases": torch.zeros(64)}, r'Unexpected key.* "trunk.0.biases"'),
    ],
    ids=["another network", "missing key", "wrong shape", "unknown key"],
)
def test_wrong_weights(
    published_state: dict[str, Tensor], dropped: str, added: dict[str, Tensor], message: str
) -> None:
    state = {key: tensor for key, tensor in published_state.items() if key != dropped}
    state = added if "a.weight" in added else state | added
    with pytest.raises(ValueError, match=message) as failure:
        s3fd.build(state)
    assert "\n" not in str(failure.value)


def test_load_keeps_where_the_weights_came_from(
    published_state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "sfd_face.pth"
    torch.save(published_state, path)
    weights = find_file(path)
    assert (weights.file.name, weights.file.path) == ("sfd_face", path)
    assert weights.file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    detector = s3fd.load(weights, DetectorOptions("s3fd", facedet_scale=0.5), "cpu", "fp32")
    assert detector.weights == weights.file
    assert detector.prepare([np.zeros((50, 100, 3), np.uint8)]).shape == (1, 3, 25, 50)
