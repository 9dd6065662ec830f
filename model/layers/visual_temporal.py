"""What TalkNet and LoCoNet let follow the visual front end: 512 numbers a frame become 128."""

import torch
from torch import Tensor, nn


class GlobalLayerNorm(nn.Module):
    """Normalise over channels and time of a clip together (Conv-TasNet, Luo and Mesgarani, 2019).

    Every frame thus depends on the whole clip.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, channels, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, clips: Tensor) -> Tensor:
        """Map (B, C, T) to the same shape."""
        variance, mean = torch.var_mean(clips, dim=(1, 2), keepdim=True, correction=0)
        return self.gamma * (clips - mean) * torch.rsqrt(variance + 1e-8) + self.beta


class TemporalBlock(nn.Module):
    """A residual block of a convolution over 3 frames, channel by channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.ReLU(),
            nn.BatchNorm1d(channels),
            nn.Conv1d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.PReLU(),
            GlobalLayerNorm(channels),
            nn.Conv1d(channels, channels, 1, bias=False),
        )

    def forward(self, clips: Tensor) -> Tensor:
        """Map (B, C, T) to the same shape."""
        return clips + self.net(clips)  # type: ignore[no-any-return]


class TemporalConvNet(nn.Module):
    """Five residual blocks over time (V-TCN)."""

    def __init__(self, channels: int = 512) -> None:
        super().__init__()
        self.net = nn.Sequential(*(TemporalBlock(channels) for _ in range(5)))

    def forward(self, clips: Tensor) -> Tensor:
        """Map (B, C, T) to the same shape."""
        return self.net(clips)  # type: ignore[no-any-return]


class VisualProjection(nn.Module):
    """Bring the channels of a clip down to the size of the audio embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(512, 256, 5, padding=2),
            nn.BatchNorm1d(256),
            nn.ReLU(),
            nn.Conv1d(256, 128, 1),
        )

    def forward(self, clips: Tensor) -> Tensor:
        """Map (B, 512, T) to (B, 128, T)."""
        return self.net(clips)  # type: ignore[no-any-return]
