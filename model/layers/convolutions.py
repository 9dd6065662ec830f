"""3D convolutions of released weights, run as 2D convolutions.

Frames are folded into the batch, (B T, C, H, W), in channels_last memory. There a clip is also an
image of T rows and H W columns without any copy, and a convolution over time is one over its rows.
Classes whose names begin with `Same` pad as Keras does.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class SpatialConv3d(nn.Conv3d):
    """A convolution over the image: weights (out, in, 1, k, k)."""

    def __init__(self, channels_in: int, channels_out: int, size: int, stride: int = 1) -> None:
        super().__init__(
            channels_in,
            channels_out,
            (1, size, size),
            (1, stride, stride),
            (0, size // 2, size // 2),
            bias=False,
        )

    def forward(self, input: Tensor) -> Tensor:
        """Map (B T, in, H, W) to (B T, out, H', W')."""
        stride, padding = int(self.stride[1]), int(self.padding[1])
        return functional.conv2d(input, self.weight[:, :, 0], self.bias, stride, padding)


class TemporalConv3d(nn.Conv3d):
    """A convolution over time: weights (out, in, k, 1, 1)."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__(channels, channels, (size, 1, 1), 1, (size // 2, 0, 0), bias=False)

    def forward(
        self, input: Tensor, num_clips: int = 1, pads: tuple[int, int] | None = None
    ) -> Tensor:
        """Map (B T, in, H, W) to (B T', out, H, W).

        Args:
            input: Frames of all clips, clip after clip.
            num_clips: B.
            pads: Frames of zeros before and after each clip, negative to drop frames; by default
                as many as give T' = T.
        """
        left, right = pads or (self.kernel_size[0] // 2, self.kernel_size[0] // 2)
        _, channels, height, width = input.shape
        rows = input.permute(0, 2, 3, 1).reshape(num_clips, -1, height * width, channels)
        rows = rows.permute(0, 3, 1, 2)  # (B, C, T, H W)
        if left != right or left < 0:
            rows = functional.pad(rows, (0, 0, left, right))
            left = 0
        rows = functional.conv2d(rows, self.weight[..., 0], self.bias, 1, (left, 0))
        rows = rows.permute(0, 2, 3, 1).reshape(-1, height, width, self.out_channels)
        return rows.permute(0, 3, 1, 2)


class StackedConv3d(nn.Conv3d):
    """A convolution over time and a grey image: weights (out, 1, t, k, k).

    It reads neighbouring frames as channels of one image, which gives the same sum.
    """

    def __init__(self, channels_out: int, length: int, size: int, stride: int) -> None:
        super().__init__(
            1,
            channels_out,
            (length, size, size),
            (1, stride, stride),
            (length // 2, size // 2, size // 2),
            bias=False,
        )

    def forward(self, input: Tensor, pads: tuple[int, int] | None = None) -> Tensor:
        """Map grey clips (B, T, H, W) to (B T', out, H', W'), T' = T + pads - (t - 1).

        Args:
            input: The clips.
            pads: Frames of zeros before and after each clip; by default as many as give T' = T.
        """
        length = self.kernel_size[0]
        left, right = pads or (length // 2, length // 2)
        frames = functional.pad(input, (0, 0, 0, 0, left, right)).unfold(1, length, 1).flatten(0, 1)
        stride, padding = int(self.stride[1]), int(self.padding[1])
        channels = frames.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        return functional.conv2d(channels, self.weight[:, 0], self.bias, stride, padding)


def odd_one_after(sizes: tuple[int, ...]) -> list[int]:
    """Return Keras' 'same' padding in the order of functional.pad: last dimension first."""
    return [pad for size in reversed(sizes) for pad in ((size - 1) // 2, size // 2)]


def same_pool(images: Tensor) -> Tensor:
    """Max pooling over 3 x 3 without overlap: (N, C, H, W) to (N, C, H / 3, W / 3), rounded up.

    If one pixel is left over, Keras pads before and after; if two are, only after.
    """
    padding = (int(images.shape[2] % 3 == 1), int(images.shape[3] % 3 == 1))
    return functional.max_pool2d(images, 3, 3, padding, ceil_mode=True)


class SameConv2d(nn.Conv2d):
    """A convolution over an image."""

    def __init__(self, channels_in: int, channels_out: int, size: tuple[int, int] = (3, 3)) -> None:
        super().__init__(channels_in, channels_out, size)

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, in, H, W) to (B, out, H, W)."""
        padded = functional.pad(input, odd_one_after(self.weight.shape[2:]))
        return functional.conv2d(padded, self.weight, self.bias)


class SameImageConv3d(nn.Conv3d):
    """A convolution over the image: weights (out, in, 1, k, k)."""

    def __init__(self, channels_in: int, channels_out: int, size: int) -> None:
        super().__init__(channels_in, channels_out, (1, size, size))

    def forward(self, input: Tensor) -> Tensor:
        """Map (B T, in, H, W) to (B T, out, H, W)."""
        size = self.kernel_size[2]
        padding = size // 2
        if size % 2 == 0:
            input, padding = functional.pad(input, odd_one_after((size, size))), 0
        return functional.conv2d(input, self.weight[:, :, 0], self.bias, 1, padding)


class SameStemConv3d(nn.Conv3d):
    """A convolution over time and the image: weights (out, C, t, k, k).

    It reads neighbouring frames as channels of one image, which gives the same sum.
    """

    def __init__(self, channels_in: int, channels_out: int, length: int, size: int) -> None:
        super().__init__(channels_in, channels_out, (length, size, size))

    def forward(self, input: Tensor) -> Tensor:
        """Map clips (B, T, H, W, C) to (B T, out, H, W)."""
        length, size = self.kernel_size[0], self.kernel_size[2]
        padded = functional.pad(input, (0, 0, 0, 0, 0, 0, (length - 1) // 2, length // 2))
        frames = padded.unfold(1, length, 1).flatten(0, 1).flatten(3)  # (B T, H, W, C t)
        frames = frames.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        return functional.conv2d(frames, self.weight.flatten(1, 2), self.bias, 1, size // 2)
