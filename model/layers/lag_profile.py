"""Tell whether two sequences move together, by their correlation at every lag."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

CENTRED = 51  # frames, over which the mean is taken away: what hardly changes says nothing
FLOOR = 1e-3  # of the power, against division by nothing where nothing moves


class LagProfile(nn.Module):
    """Correlates voice and face around every frame, with the voice moved by -L .. L frames.

    True pairs have their peak at lag 0; other pairs have it anywhere or nowhere. Both are looked
    at through a few linear projections, which are all that is learned: what correlates is then
    the same for people who were never seen.

    Args:
        channels: Of either sequence.
        num_parts: Projections of each sequence.
        max_lag: L, frames.
        windows: Odd numbers of frames over which correlations are taken.
    """

    def __init__(self, channels: int, num_parts: int, max_lag: int, windows: Sequence[int]) -> None:
        super().__init__()
        self.max_lag, self.num_parts = max_lag, num_parts
        self.windows = tuple(windows)
        self.voice = nn.Conv1d(channels, num_parts, 1, bias=False)
        self.face = nn.Conv1d(channels, num_parts, 1, bias=False)

    @property
    def num_outputs(self) -> int:
        """Correlations for each frame."""
        return len(self.windows) * (2 * self.max_lag + 1)

    def forward(self, voice: Tensor, face: Tensor) -> Tensor:
        """Map two (B, C, T) to correlations (B, windows x lags, T), in [-1, 1]."""
        voice, face = centre(self.voice(voice)), centre(self.face(face))
        length = face.shape[2]
        padded = functional.pad(voice, (self.max_lag, self.max_lag))
        lags = range(2 * self.max_lag + 1)
        moved = torch.stack([padded[..., lag : lag + length] for lag in lags], 1)
        products = (moved * face.unsqueeze(1)).sum(2)  # (B, lags, T)
        voice_power = moved.square().sum(2)
        face_power = face.square().sum(1, keepdim=True)
        profiles = []
        for window in self.windows:
            power = _mean(voice_power, window) * _mean(face_power, window)
            profiles.append(_mean(products, window) / (power + FLOOR**2).sqrt())
        return torch.cat(profiles, 1)


def centre(rows: Tensor) -> Tensor:
    """Take away the mean of the neighbourhood from rows (B, C, T)."""
    mean = functional.avg_pool1d(rows, CENTRED, 1, CENTRED // 2, count_include_pad=False)
    return rows - mean


def _mean(rows: Tensor, window: int) -> Tensor:
    return functional.avg_pool1d(rows, window, 1, window // 2)
