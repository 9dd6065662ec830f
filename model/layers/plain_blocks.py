"""LR-ASD's blocks without normalisations, for weights that begin as another network's, folded."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers.convolutions import SpatialConv3d, TemporalConv3d
from model.layers.factored import VisualBlock


class PlainVisualBlock(VisualBlock):
    """Over 5 and 3 pixels, then over 5 and 3 frames."""

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
        here = not torch.is_grad_enabled()  # views: changed in place, they are slow to train
        frames = functional.relu(self.t_1(frames, num_clips, pads[0]), inplace=here)
        return functional.relu(self.t_2(frames, num_clips, pads[1]), inplace=here)


class PlainAudioBlock(nn.Module):
    """Over 5 and 3 cepstral coefficients, then over 5 and 3 steps."""

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
    """Weigh every channel of every frame by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Conv1d(channels, channels, 1)

    def forward(self, rows: Tensor) -> Tensor:
        """Map (B, T, C) to the same shape."""
        weights = torch.sigmoid(self.attention(rows.transpose(1, 2)))
        return rows * weights.transpose(1, 2)
