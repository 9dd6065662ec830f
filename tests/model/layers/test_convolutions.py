"""Convolutions run in two dimensions give what they give in three."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers.convolutions import SpatialConv3d, StackedConv3d, TemporalConv3d
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
