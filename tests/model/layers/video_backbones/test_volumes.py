"""Convolutions over clips give the same in either layout, forward and back."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from model.layers.folding import fold_norms
from model.layers.video_backbones.volumes import (
    ConvNorm,
    VolumeConv3d,
    halve,
    is_planar,
    pool_images,
    shuffle_channels,
)
from tests.parity.fill import fill, inputs

LAST = torch.channels_last_3d


def made_clips(channels: int) -> Tensor:
    return torch.from_numpy(inputs("clips", (2, channels, 4, 6, 10), -1, 1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: VolumeConv3d(8, 6, 1),
        lambda: VolumeConv3d(8, 6, 1, 2),
        lambda: VolumeConv3d(8, 6, 1, (1, 2, 2)),
        lambda: VolumeConv3d(8, 6, 1, groups=2),
        lambda: VolumeConv3d(8, 6, 3, (1, 2, 2)),
        lambda: VolumeConv3d(8, 8, 3, 2, groups=8),
        lambda: VolumeConv3d(8, 8, (3, 1, 5), groups=4),
    ],
    ids=["point", "point, stride", "point, no time", "grouped", "dense", "each", "groups"],
)
def test_layouts_agree(make: Callable[[], VolumeConv3d]) -> None:
    conv = make()
    fill(conv)
    results = []
    for layout in (torch.contiguous_format, LAST):
        clips = made_clips(8).contiguous(memory_format=layout).requires_grad_()
        found = conv(clips)
        found.square().sum().backward()
        assert clips.grad is not None and conv.weight.grad is not None
        results.append((found.detach(), clips.grad, conv.weight.grad.clone()))
        conv.weight.grad = None
        expected = nn.Conv3d.forward(conv, made_clips(8)).detach()
        torch.testing.assert_close(results[-1][0], expected, atol=1e-5, rtol=1e-5)
    for planar, last in zip(*results, strict=True):
        torch.testing.assert_close(planar, last, atol=1e-4, rtol=1e-4)


def test_half_of_the_channels() -> None:
    conv = VolumeConv3d(4, 4, 3, groups=4)
    fill(conv)
    whole = made_clips(8)
    taken = whole.contiguous(memory_format=LAST)[:, 4:]
    torch.testing.assert_close(conv(taken), conv(whole[:, 4:]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "function",
    [pool_images, lambda clips: pool_images(clips, 2), halve],
    ids=["pool", "pool time", "halve"],
)
def test_pooling_agrees(function: Callable[[Tensor], Tensor]) -> None:
    planar = made_clips(8)
    last = planar.contiguous(memory_format=LAST)
    assert is_planar(planar) and not is_planar(last) and not is_planar(function(last))
    torch.testing.assert_close(function(last), function(planar))


def test_shuffle() -> None:
    clips = torch.arange(6.0).view(1, 6, 1, 1, 1).expand(1, 6, 2, 3, 4).contiguous()
    for layout in (torch.contiguous_format, LAST):
        shuffled = shuffle_channels(clips.contiguous(memory_format=layout), 3)
        assert shuffled[0, :, 1, 2, 3].tolist() == [0, 2, 4, 1, 3, 5]
        assert is_planar(shuffled) == (layout != LAST)


@pytest.mark.parametrize("size", [1, 3])
def test_norms_fold(size: int) -> None:
    layer = ConvNorm(VolumeConv3d(8, 6, size, 2), nn.ReLU()).eval()
    fill(layer)
    clips = made_clips(8).contiguous(memory_format=LAST)
    before = layer(clips)
    fold_norms(layer)
    assert isinstance(layer[1], nn.Identity)
    torch.testing.assert_close(layer(clips), before, atol=1e-5, rtol=1e-5)
