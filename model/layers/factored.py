"""Encoders that Light-ASD and LR-ASD share: three blocks for faces, three for audio.

Their blocks split each convolution into one over the image (or the cepstrum) and one over time.
The plain blocks are LR-ASD's with their normalisations folded in.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers.convolutions import SpatialConv3d, TemporalConv3d
from model.layers.face_encoder import FaceEncoder, normalise_faces, temporal_pads
from model.layers.folding import Foldable


class VisualBlock(Foldable):
    """A block of convolutions over image and time, frames folded into the batch."""

    reaches: ClassVar[tuple[int, ...]]  # radius of each temporal convolution, frames

    @abstractmethod
    def forward(self, frames: Tensor, num_clips: int, pads: Sequence[tuple[int, int]]) -> Tensor:
        """Map (B T, in, H, W) to (B T', out, H', W'), one pair of pads for each of `reaches`."""


class FactoredVisualEncoder(FaceEncoder):
    """Three blocks, then the maximum over the image.

    Args:
        block: Makes a block of (channels in, channels out, stride).
    """

    def __init__(self, block: Callable[[int, int, int], VisualBlock]) -> None:
        super().__init__()
        self.block1 = block(1, 32, 2)
        self.block2 = block(32, 64, 1)
        self.block3 = block(64, 128, 1)

    def forward(self, faces: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Map grey faces (B, T, 112, 112) in [0, 255] to (B, stop - start, 128)."""
        num_clips, length = faces.shape[:2]
        count = len(self.block1.reaches)
        first, last, pads = temporal_pads(length, start, stop, self.block1.reaches * 3)
        stop = length if stop is None else stop
        dtype = next(self.parameters()).dtype
        faces = normalise_faces(faces[:, first:last], dtype).flatten(0, 1)
        frames = faces.unsqueeze(-1).permute(0, 3, 1, 2)  # (B T, 1, 112, 112), channels_last
        frames = self.block1(frames, num_clips, pads[:count])
        frames = functional.max_pool2d(frames, 3, 2, 1)  # (B T, 32, 28, 28)
        frames = self.block2(frames, num_clips, pads[count : 2 * count])
        frames = functional.max_pool2d(frames, 3, 2, 1)  # (B T, 64, 14, 14)
        frames = self.block3(frames, num_clips, pads[2 * count :])
        embeddings: Tensor = frames.amax((2, 3)).float()
        return embeddings.view(num_clips, stop - start, -1)


class FactoredAudioEncoder(nn.Module):
    """Three blocks with two halvings of time between them, then the mean over the cepstrum.

    Args:
        block: Makes a block of (channels in, channels out), which keeps the image's size.
    """

    def __init__(self, block: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.block1 = block(1, 32)
        self.block2 = block(32, 64)
        self.block3 = block(64, 128)

    def forward(self, audio: Tensor) -> Tensor:
        """Map features (B, 4 T, 13) to (B, T, 128)."""
        image = self.block1(audio.transpose(1, 2).unsqueeze(1))  # (B, 32, 13, 4 T)
        image = self.block2(functional.max_pool2d(image, (1, 3), (1, 2), (0, 1)))
        image = self.block3(functional.max_pool2d(image, (1, 3), (1, 2), (0, 1)))
        rows: Tensor = image.mean(2)  # (B, 128, 13, T)
        return rows.transpose(1, 2)


def initialise(network: nn.Module) -> None:
    """Initialise as the authors do: He et al. (2015) for all weights, zero for GRU biases."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.GRU):
            for name, parameter in module.named_parameters():
                if "weight" in name:
                    nn.init.kaiming_normal_(parameter)
                else:
                    nn.init.zeros_(parameter)


class PlainVisualBlock(VisualBlock):
    """Convolutions over 5 and 3 pixels, then over 5 and 3 frames."""

    reaches = (2, 1)

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.s_1 = SpatialConv3d(channels_in, channels_out // 2, 5, stride)
        self.s_2 = SpatialConv3d(channels_out // 2, channels_out, 3)
        self.t_1 = TemporalConv3d(channels_out, 5)
        self.t_2 = TemporalConv3d(channels_out, 3)
        for conv in (self.s_1, self.s_2, self.t_1, self.t_2):
            conv.bias = nn.Parameter(torch.zeros(conv.out_channels))

    def forward(self, frames: Tensor, num_clips: int, pads: Sequence[tuple[int, int]]) -> Tensor:
        """Map (B T, in, H, W) to (B T', out, H', W')."""
        frames = functional.relu(self.s_1(frames), inplace=True)
        frames = functional.relu(self.s_2(frames), inplace=True)
        inplace = not torch.is_grad_enabled()  # slow in training, since these are views
        frames = functional.relu(self.t_1(frames, num_clips, pads[0]), inplace=inplace)
        return functional.relu(self.t_2(frames, num_clips, pads[1]), inplace=inplace)


class PlainAudioBlock(nn.Module):
    """Convolutions over 5 and 3 cepstral coefficients, then over 5 and 3 steps."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        half = channels_out // 2
        self.m_1 = nn.Conv2d(channels_in, half, (5, 1), padding=(2, 0))
        self.m_2 = nn.Conv2d(half, channels_out, (3, 1), padding=(1, 0))
        self.t_1 = nn.Conv2d(channels_out, channels_out, (1, 5), padding=(0, 2))
        self.t_2 = nn.Conv2d(channels_out, channels_out, (1, 3), padding=(0, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, in, 13, L) to (B, out, 13, L)."""
        image = functional.relu(self.m_1(image), inplace=True)
        image = functional.relu(self.m_2(image), inplace=True)
        image = functional.relu(self.t_1(image), inplace=True)
        return functional.relu(self.t_2(image), inplace=True)


class PlainGate(nn.Module):
    """Weight every channel of every frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Conv1d(channels, channels, 1)

    def forward(self, rows: Tensor) -> Tensor:
        """Map (B, T, C) to the same shape."""
        weights = torch.sigmoid(self.attention(rows.transpose(1, 2)))
        return rows * weights.transpose(1, 2)
