"""Convolutions run in two dimensions give what they give in three."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers.convolutions import (
    SameConv2d,
    SameImageConv3d,
    SameStemConv3d,
    SpatialConv3d,
    StackedConv3d,
    TemporalConv3d,
    odd_one_after,
    same_pool,
)
from tests.parity.fill import fill, inputs


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def clips(*shape: int) -> Tensor:
    return torch.from_numpy(inputs("clips", shape, -1, 1))


def plain(conv: nn.Conv3d, volumes: Tensor) -> Tensor:
    """Run the convolution on (B, C, T, H, W), as its weights are stored."""
    stride, padding = conv.stride, conv.padding
    assert isinstance(padding, tuple)
    return functional.conv3d(volumes, conv.weight, conv.bias, stride, padding)


def folded(volumes: Tensor) -> Tensor:
    """Fold frames into the batch, in channels_last memory."""
    frames = volumes.transpose(1, 2).flatten(0, 1)
    return frames.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 1), (5, 2)])
def test_spatial(size: int, stride: int) -> None:
    conv = SpatialConv3d(4, 6, size, stride)
    fill(conv)
    volumes = clips(2, 4, 5, 8, 8)
    assert_close(conv(folded(volumes)), folded(plain(conv, volumes)))


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("num_frames", [1, 2, 9])
def test_temporal(size: int, num_frames: int) -> None:
    conv = TemporalConv3d(4, size)
    fill(conv)
    volumes = clips(2, 4, num_frames, 6, 6)
    found = conv(folded(volumes), 2)
    assert_close(found, folded(plain(conv, volumes)))
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("pads", [(0, 0), (2, 0), (0, 1), (-1, 2), (2, 2)], ids=str)
def test_temporal_with_pads(pads: tuple[int, int]) -> None:
    conv = TemporalConv3d(4, 5)
    fill(conv)
    volumes = clips(2, 4, 9, 6, 6)
    padded = functional.pad(volumes, (0, 0, 0, 0, *pads))
    expected = plain(conv, padded)[:, :, 2:-2]
    assert_close(conv(folded(volumes), 2, pads), folded(expected))


@pytest.mark.parametrize("num_clips", [1, 2])
def test_stacked(num_clips: int) -> None:
    conv = StackedConv3d(6, length=5, size=7, stride=2)
    fill(conv)
    volumes = clips(num_clips, 1, 9, 16, 16)
    expected = plain(conv, volumes)
    assert_close(conv(volumes[:, 0]), folded(expected))
    inner = conv(volumes[:, 0], (0, 2))
    assert_close(inner, folded(expected[:, :, 2:]))


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
    conv = SameImageConv3d(2, 3, size)
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
