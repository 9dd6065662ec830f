"""Faces go to the cells of their size at their middle; the loss falls as the answers get right."""

import numpy as np
import pytest
import torch

from model.detectors.tiny_fcos import cells
from model.shipped.tiny_fcos_losses import assign, box_overlaps, detection_loss, stack
from utils.datasets.face_pictures.images import AnnotatedImage

SIDE = 128
PLACES = cells(SIDE, SIDE)


def marked(*boxes: tuple[float, float, float, float], clear: bool = True) -> AnnotatedImage:
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    return AnnotatedImage(
        image, np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), clear)
    )


def strides_of(chosen: torch.Tensor) -> set[int]:
    return {int(value) for value in PLACES[chosen, 2]}


@pytest.mark.parametrize(
    ("side", "strides"),
    [(8, {8}), (30, {8}), (40, {8, 16}), (60, {16}), (90, {16, 32}), (120, {32})],
)
def test_sizes_go_to_levels(side: int, strides: set[int]) -> None:
    half = side / 2
    _, boxes, clear = stack([marked((64 - half, 64 - half, 64 + half, 64 + half))])
    targets = assign(PLACES, boxes, clear)
    assert strides_of(targets.positive[0]) == strides
    offsets = (PLACES[targets.positive[0], :2] - 64).abs().amax(dim=1)
    assert (offsets <= max(0.2 * side, 24)).all()
    expected = [64 - half, 64 - half, 64 + half, 64 + half]
    assert torch.unique(targets.boxes[0][targets.positive[0]], dim=0).tolist() == [expected]


def test_cells_of_other_levels_do_not_count() -> None:
    _, boxes, clear = stack([marked((44, 44, 84, 84))])
    targets = assign(PLACES, boxes, clear)
    at_middle = (PLACES[:, :2] - 64).abs().amax(dim=1) <= 16
    coarse = (PLACES[:, 2] == 32) & at_middle
    assert coarse.any()
    assert not targets.counted[0][coarse].any()
    corner = (PLACES[:, :2] < 40).all(dim=1)
    assert targets.counted[0][corner].all()


def test_doubtful_faces_do_not_count() -> None:
    _, boxes, clear = stack([marked((32, 32, 96, 96), clear=False), marked()])
    targets = assign(PLACES, boxes, clear)
    assert not targets.positive.any()
    inside = ((PLACES[:, :2] > 32) & (PLACES[:, :2] < 96)).all(dim=1)
    assert not targets.counted[0][inside].any()
    assert targets.counted[0][PLACES[:, 0] < 16].all()
    assert targets.counted[1].all()


def test_the_smaller_of_two_faces_is_found() -> None:
    _, boxes, clear = stack([marked((40, 40, 86, 86), (52, 52, 76, 76))])
    targets = assign(PLACES, boxes, clear)
    middle = int(((PLACES[:, :2] - 60).abs().sum(dim=1) + (PLACES[:, 2] != 8) * 1000).argmin())
    assert targets.positive[0, middle]
    assert targets.boxes[0, middle].tolist() == [52, 52, 76, 76]


def test_right_answers_cost_nothing() -> None:
    _, boxes, clear = stack([marked((50, 46, 74, 78))])
    targets = assign(PLACES, boxes, clear)
    wanted = targets.boxes[0]
    distances = torch.cat([PLACES[:, :2] - wanted[:, :2], wanted[:, 2:] - PLACES[:, :2]], dim=1)
    distances = torch.where(targets.positive[0][:, None], distances / PLACES[:, 2:], 1.0)[None]
    logits = torch.where(targets.positive, 30.0, -30.0)
    score_loss, box_loss = detection_loss(logits, distances, PLACES, targets)
    assert score_loss.item() == pytest.approx(0, abs=1e-4)
    assert box_loss.item() == pytest.approx(0, abs=1e-4)
    wrong_score, same = detection_loss(-logits, distances, PLACES, targets)
    _, wrong_box = detection_loss(logits, distances * 1.5, PLACES, targets)
    assert wrong_score.item() > 10
    assert same.item() == pytest.approx(0, abs=1e-4)
    assert wrong_box.item() > 0.3


def test_box_overlaps() -> None:
    a = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    b = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10]])
    overlap, generalised = box_overlaps(a, b)
    assert overlap.tolist() == pytest.approx([1, 1 / 3, 0])
    assert generalised.tolist() == pytest.approx([1, 1 / 3, -1 / 3])
