"""Convolutions and pooling pad as Keras' 'same' does: the odd one goes after."""

import math

import pytest
import torch
from torch.nn import functional

from model.layers.same_padding import (
    SameConv2d,
    SamePictureConv3d,
    SameStemConv3d,
    odd_one_after,
    same_pool,
)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 7, 13, 20, 100])
def test_pooling_covers_every_pixel_once(width: int) -> None:
    images = torch.rand(2, 3, 4, width) - 1
    count = math.ceil(width / 3)
    missing = 3 * count - width
    padded = functional.pad(images, (missing // 2, missing - missing // 2), value=-math.inf)
    wanted = padded.unfold(3, 3, 3).amax(4)
    found = same_pool(images)
    assert found.shape == (2, 3, 2, count)
    rows = functional.pad(wanted, (0, 0, 1, 1), value=-math.inf).unfold(2, 3, 3).amax(4)
    torch.testing.assert_close(found, rows)


def test_odd_one_after() -> None:
    assert odd_one_after((5, 4)) == [1, 2, 2, 2]
    assert odd_one_after((6, 1)) == [0, 0, 2, 3]


@pytest.mark.parametrize("size", [(3, 3), (5, 4), (2, 6)])
def test_convolution_of_an_image(size: tuple[int, int]) -> None:
    conv = SameConv2d(2, 3, size)
    images = torch.rand(2, 2, 7, 9)
    padded = functional.pad(images, odd_one_after(size))
    found = conv(images)
    torch.testing.assert_close(found, functional.conv2d(padded, conv.weight, conv.bias))
    assert found.shape == (2, 3, 7, 9)


@pytest.mark.parametrize("size", [3, 6])
def test_convolution_of_pictures(size: int) -> None:
    conv = SamePictureConv3d(2, 3, size)
    clips = torch.rand(2, 2, 4, 8, 8)  # (B, C, T, H, W)
    padded = functional.pad(clips, odd_one_after((1, size, size)))
    wanted = functional.conv3d(padded, conv.weight, conv.bias)
    found = conv(clips.transpose(1, 2).flatten(0, 1))
    torch.testing.assert_close(found.unflatten(0, (2, 4)).transpose(1, 2), wanted)


@pytest.mark.parametrize("channels", [1, 3])
def test_convolution_over_time(channels: int) -> None:
    conv = SameStemConv3d(channels, 4, length=5, size=7)
    clips = torch.rand(2, 6, 9, 9, channels)
    wanted = functional.conv3d(clips.permute(0, 4, 1, 2, 3), conv.weight, conv.bias, padding="same")
    torch.testing.assert_close(conv(clips).unflatten(0, (2, 6)).transpose(1, 2), wanted)
