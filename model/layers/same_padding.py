"""Convolutions and pooling that keep the size of their input as Keras' 'same' padding does.

Frames of clips are folded into the batch, (B T, C, H, W), in channels_last memory.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def odd_one_after(sizes: tuple[int, ...]) -> list[int]:
    """Return Keras' 'same' padding as functional.pad wants it: last dimension first."""
    return [pad for size in reversed(sizes) for pad in ((size - 1) // 2, size // 2)]


def same_pool(images: Tensor) -> Tensor:
    """Take the maximum over 3 x 3, each pixel once: (N, C, H, W) to (N, C, H / 3, W / 3), ceiled.

    Where one pixel is left over, Keras pads before and after; where two are, after only.
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


class SamePictureConv3d(nn.Conv3d):
    """A convolution over the picture: weights (out, in, 1, k, k)."""

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
    """A convolution over time and the picture: weights (out, C, t, k, k).

    It reads neighbouring frames as channels of one picture, which is the same sum.
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
