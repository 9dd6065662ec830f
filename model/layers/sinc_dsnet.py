"""SincDSNet: 160 features from the waveform of a clip (Kopuklu et al., ASDNet, 2021).

Its first layer is SincNet's (Ravanelli and Bengio, 2018): band-pass filters whose cut-off
frequencies are learned.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.devices import without_autocast
from model.layers.folding import Foldable
from utils.structures import SAMPLE_RATE

NUM_FILTERS = 80
_HALF = 125  # taps on either side of the centre
_MIN_LOW = 50.0  # Hz
_MIN_BAND = 50.0  # Hz
_NYQUIST = SAMPLE_RATE / 2


class SincConv(nn.Module):
    """80 band-pass filters of 251 taps, stride 8."""

    times: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        edges = _mel_edges()
        self.low_hz_ = nn.Parameter(edges[:-1, None].float())
        self.band_hz_ = nn.Parameter(edges.diff()[:, None].float())
        taps = torch.arange(-_HALF, 0, dtype=torch.float32)
        # Kept: 125 values from 0 to 124.5, so the window's steps are slightly larger than 1.
        steps = torch.linspace(0, _HALF - 0.5, _HALF)
        window = 0.54 - 0.46 * torch.cos(2 * math.pi * steps / (2 * _HALF + 1))
        self.register_buffer("times", 2 * math.pi * taps / SAMPLE_RATE, persistent=False)
        self.register_buffer("window", window, persistent=False)
        self._made: tuple[tuple[object, ...], Tensor] | None = None  # cache key and filters

    def forward(self, audio: Tensor) -> Tensor:
        """Map samples (B, N) to (B, 80, N / 8)."""
        waveform = audio.unsqueeze(1).to(self.low_hz_.dtype)
        with without_autocast(audio.device):  # bf16 is too coarse for samples
            return functional.conv1d(waveform, self.filters(), stride=8, padding=_HALF)

    def train(self, mode: bool = True) -> "SincConv":
        """Switch the mode and drop the cached filters."""
        self._made = None
        return super().train(mode)

    def filters(self) -> Tensor:
        """Return the filters (80, 1, 251); inference caches them until the weights change."""
        if self.training or torch.is_grad_enabled():
            return self._make()
        weights = (self.low_hz_, self.band_hz_)
        if any(weight.is_inference() for weight in weights):  # they have no version counter
            return self._make()
        key = tuple((weight._version, weight.data_ptr(), weight.dtype) for weight in weights)
        if self._made is None or self._made[0] != key:
            self._made = (key, self._make())
        return self._made[1]

    def _make(self) -> Tensor:
        low = _MIN_LOW + self.low_hz_.abs()
        high = (low + _MIN_BAND + self.band_hz_.abs()).clamp(_MIN_LOW, _NYQUIST)
        band = high - low
        left = ((high * self.times).sin() - (low * self.times).sin()) / (self.times / 2)
        left = left * self.window / (2 * band)  # (80, 125)
        # Kept: the centre tap is not windowed; after normalisation it is 1.
        return torch.cat((left, torch.ones_like(band), left.flip(1)), dim=1).unsqueeze(1)


def _mel_edges() -> Tensor:
    """Return 81 frequencies in Hz, equally spaced in mel."""
    low, high = (2595 * math.log10(1 + f / 700) for f in (30, _NYQUIST - _MIN_LOW - _MIN_BAND))
    mel = torch.linspace(low, high, NUM_FILTERS + 1, dtype=torch.float64)
    return 700 * (10 ** (mel / 2595) - 1)


class SeparableConv1d(Foldable):
    """A depthwise and a pointwise convolution, then pooling that halves the length.

    Kept: there is only a normalisation between the two convolutions.
    """

    folds = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, channels_in: int, channels_out: int, size: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(
            channels_in, channels_in, size, stride, size // 2, groups=channels_in, bias=False
        )
        self.bn1 = nn.BatchNorm1d(channels_in)
        self.conv2 = nn.Conv1d(channels_in, channels_out, 1, bias=False)
        self.bn2 = nn.BatchNorm1d(channels_out)

    def forward(self, rows: Tensor) -> Tensor:
        """Map (B, in, L) to (B, out, L / (2 s))."""
        rows = self.bn2(self.conv2(self.bn1(self.conv1(rows))))
        return functional.avg_pool1d(functional.leaky_relu(rows, 0.2, inplace=True), 3, 2, 1)


class SincDSNet(nn.Module):
    """Band-pass filters, the logarithm of their output, and five separable convolutions."""

    num_channels = 160

    def __init__(self) -> None:
        super().__init__()
        channels = self.num_channels
        self.sinc_conv = SincConv()
        self.bn1 = nn.BatchNorm1d(NUM_FILTERS)
        self.dsconv1 = SeparableConv1d(NUM_FILTERS, channels, 25, 2)
        self.dsconv2 = SeparableConv1d(channels, channels, 9, 1)
        self.dsconv3 = SeparableConv1d(channels, channels, 9, 1)
        self.dsconv4 = SeparableConv1d(channels, channels, 9, 1)
        self.dsconv5 = SeparableConv1d(channels, channels, 9, 1)

    def forward(self, audio: Tensor) -> Tensor:
        """Map samples (B, N) in the range of int16 to (B, 160)."""
        rows = self.bn1(torch.log1p(self.sinc_conv(audio).abs()))
        blocks = (self.dsconv1, self.dsconv2, self.dsconv3, self.dsconv4, self.dsconv5)
        for block in blocks:
            rows = block(rows)
        means: Tensor = rows.mean(2)
        return means
