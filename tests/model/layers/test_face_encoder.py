"""Chains of temporal convolutions are planned so that they give exactly the frames wanted."""

import pytest
import torch

from model.layers.face_encoder import normalise_faces, temporal_pads


@pytest.mark.parametrize(
    ("length", "start", "stop", "reaches", "plan"),
    [
        (10, 0, 10, (2, 1), (0, 10, [(2, 2), (1, 1)])),
        (100, 40, 50, (2, 1), (37, 53, [(0, 0), (0, 0)])),
        (100, 0, 10, (2, 1), (0, 13, [(2, 0), (1, 0)])),
        (100, 2, 10, (2, 1), (0, 13, [(1, 0), (0, 0)])),
        (100, 98, 100, (2, 1), (95, 100, [(0, 2), (0, 1)])),
        (1, 0, 1, (2, 2), (0, 1, [(2, 2), (2, 2)])),
    ],
    ids=["all of it", "inside", "at the start", "near the start", "at the end", "one frame"],
)
def test_temporal_pads(
    length: int,
    start: int,
    stop: int,
    reaches: tuple[int, ...],
    plan: tuple[int, int, list[tuple[int, int]]],
) -> None:
    assert temporal_pads(length, start, stop, reaches) == plan


def test_normalise_faces() -> None:
    levels = torch.tensor([0, 100, 255], dtype=torch.uint8)
    expected = (levels.double() / 255 - 0.4161) / 0.1688
    found = normalise_faces(levels, torch.float32)
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-6)
    assert normalise_faces(levels, torch.bfloat16).dtype == torch.bfloat16
    assert levels.tolist() == [0, 100, 255]
