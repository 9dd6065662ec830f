"""3D convolutions over clips (B, C, T, H, W), run according to the memory layout of their input.

Planar clips, the default layout, are convolved as published. In channels_last_3d, the frames of a
clip are also images (B T, C, H, W) in channels_last without any copy, on which a CPU runs
depthwise, grouped and pointwise convolutions up to several times faster.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers.folding import Foldable

Size3 = tuple[int, int, int]  # time, rows, columns


class VolumeConv3d(nn.Conv3d):
    """A convolution stored as published, (out, in / groups, t, h, w), padded to keep the size."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        size: int | Size3,
        stride: int | Size3 = 1,
        groups: int = 1,
    ) -> None:
        sizes = (size,) * 3 if isinstance(size, int) else size
        padding = (sizes[0] // 2, sizes[1] // 2, sizes[2] // 2)
        super().__init__(
            channels_in, channels_out, sizes, stride, padding, groups=groups, bias=False
        )

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, in, T, H, W) to (B, out, T', H', W')."""
        if is_planar(input):
            return super().forward(input)
        if self.kernel_size != (1, 1, 1):
            return super().forward(input.contiguous(memory_format=torch.channels_last_3d))
        frames = as_images(input[:, :, :: self.stride[0]])
        frames = frames.contiguous(memory_format=torch.channels_last)
        weight, stride = self.weight[:, :, 0], self.stride[1:]
        frames = functional.conv2d(frames, weight, self.bias, stride, groups=self.groups)
        return as_clips(frames, len(input))


class ConvNorm(Foldable, nn.Sequential):
    """A convolution, its normalisation, and an optional activation."""

    folds: ClassVar[tuple[tuple[str, str], ...]] = (("0", "1"),)

    def __init__(self, conv: VolumeConv3d, activation: nn.Module | None = None) -> None:
        layers = [conv, nn.BatchNorm3d(conv.out_channels)]
        super().__init__(*layers, *([activation] if activation else []))


def is_planar(clips: Tensor) -> bool:
    """Return whether clips (B, C, T, H, W) are in another layout than channels_last_3d."""
    return clips.stride(1) != 1


def as_images(clips: Tensor) -> Tensor:
    """Map clips (B, C, T, H, W) to their frames (B T, C, H, W)."""
    return clips.transpose(1, 2).flatten(0, 1)


def as_clips(frames: Tensor, num_clips: int) -> Tensor:
    """Map the frames (B T, C, H, W) of B clips to them, (B, C, T, H, W)."""
    return frames.view(num_clips, -1, *frames.shape[1:]).transpose(1, 2)


def pool_images(clips: Tensor, time_stride: int = 1) -> Tensor:
    """Max pooling over 3 x 3 pixels of each frame with stride 2."""
    clips = clips[:, :, ::time_stride]
    if is_planar(clips):
        return functional.max_pool3d(clips, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    return as_clips(functional.max_pool2d(as_images(clips), 3, 2, 1), len(clips))


def halve(clips: Tensor) -> Tensor:
    """Average pooling over 2 frames and 3 x 3 pixels with stride 2, padding included."""
    if is_planar(clips):
        return functional.avg_pool3d(clips, (2, 3, 3), 2, (0, 1, 1))
    pairs = as_images((clips[:, :, ::2] + clips[:, :, 1::2]) / 2)
    return as_clips(functional.avg_pool2d(pairs, 3, 2, 1), len(clips))


def shuffle_channels(clips: Tensor, groups: int) -> Tensor:
    """Interleave the channels of all groups (Zhang et al., ShuffleNet, 2018, section 3.1)."""
    if is_planar(clips):
        return clips.reshape(len(clips), groups, -1, *clips.shape[2:]).transpose(1, 2).flatten(1, 2)
    last = clips.movedim(1, -1)
    shuffled = last.reshape(*last.shape[:-1], groups, -1).transpose(-1, -2)
    return shuffled.flatten(-2).movedim(-1, 1)


def initialise(network: nn.Module) -> None:
    """Initialise convolutions by He et al. (2015), fan-out mode."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
