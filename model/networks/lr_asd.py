"""LR-ASD: "Lightweight and Robust Network for Active Speaker Detection" (Liao et al., 2025)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.contract import Logits, Network, Recipe
from model.layers.convolutions import SpatialConv3d, TemporalConv3d
from model.layers.factored import (
    FactoredAudioEncoder,
    FactoredVisualEncoder,
    VisualBlock,
    initialise,
)
from model.layers.folding import Foldable


class ChainVisualBlock(VisualBlock):
    """Convolutions over 5 and 3 pixels, then over 5 and 3 frames."""

    reaches = (2, 1)
    folds = (("s_1", "s_norm_1"), ("s_2", "s_norm_2"), ("t_1", "t_norm_1"), ("t_2", "t_norm_2"))

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.s_1 = SpatialConv3d(channels_in, channels_out // 2, 5, stride)
        self.s_norm_1 = nn.BatchNorm2d(channels_out // 2, eps=1e-3, momentum=0.01)
        self.s_2 = SpatialConv3d(channels_out // 2, channels_out, 3)
        self.s_norm_2 = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)
        self.t_1 = TemporalConv3d(channels_out, 5)
        self.t_norm_1 = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)
        self.t_2 = TemporalConv3d(channels_out, 3)
        self.t_norm_2 = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)

    def forward(self, frames: Tensor, num_clips: int, pads: Sequence[tuple[int, int]]) -> Tensor:
        """Map (B T, in, H, W) to (B T', out, H', W')."""
        frames = functional.relu(self.s_norm_1(self.s_1(frames)), inplace=True)
        frames = functional.relu(self.s_norm_2(self.s_2(frames)), inplace=True)
        frames = functional.relu(self.t_norm_1(self.t_1(frames, num_clips, pads[0])), inplace=True)
        return functional.relu(self.t_norm_2(self.t_2(frames, num_clips, pads[1])), inplace=True)


class ChainAudioBlock(Foldable):
    """Convolutions over 5 and 3 cepstral coefficients, then over 5 and 3 steps."""

    folds = (("m_1", "m_norm_1"), ("m_2", "m_norm_2"), ("t_1", "t_norm_1"), ("t_2", "t_norm_2"))

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        half = channels_out // 2
        self.m_1 = nn.Conv2d(channels_in, half, (5, 1), padding=(2, 0), bias=False)
        self.m_norm_1 = nn.BatchNorm2d(half, eps=1e-3, momentum=0.01)
        self.m_2 = nn.Conv2d(half, channels_out, (3, 1), padding=(1, 0), bias=False)
        self.m_norm_2 = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)
        self.t_1 = nn.Conv2d(channels_out, channels_out, (1, 5), padding=(0, 2), bias=False)
        self.t_norm_1 = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)
        self.t_2 = nn.Conv2d(channels_out, channels_out, (1, 3), padding=(0, 1), bias=False)
        self.t_norm_2 = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, in, 13, L) to (B, out, 13, L)."""
        image = functional.relu(self.m_norm_1(self.m_1(image)), inplace=True)
        image = functional.relu(self.m_norm_2(self.m_2(image)), inplace=True)
        image = functional.relu(self.t_norm_1(self.t_1(image)), inplace=True)
        return functional.relu(self.t_norm_2(self.t_2(image)), inplace=True)


class Gate(Foldable):
    """Concatenate two sequences and weight every channel of every frame."""

    folds = (("attention", "bn"),)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Conv1d(channels, channels, 1, bias=False)
        self.bn = nn.BatchNorm1d(channels, eps=1e-3, momentum=0.01)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Map two (B, T, C / 2) sequences to one (B, T, C)."""
        joined = torch.cat((first, second), dim=2)
        gate = self.bn(self.attention(joined.transpose(1, 2))).transpose(1, 2)
        return joined * torch.sigmoid(gate)


class GatedGRU(nn.Module):
    """A forward and a backward GRU, joined by a gate."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.gru_forward = nn.GRU(channels_in, channels, batch_first=True)
        self.gru_backward = nn.GRU(channels_in, channels, batch_first=True)
        self.attention = Gate(2 * channels)
        self.dropout = nn.Dropout(0.5)  # a separate draw for each direction

    def forward(self, sequence: Tensor) -> Tensor:
        """Map (B, T, in) to (B, T, 2 C)."""
        ahead = self.gru_forward(self.dropout(sequence))[0]
        back = self.gru_backward(self.dropout(sequence).flip(1))[0].flip(1)
        return self.attention(ahead, back)  # type: ignore[no-any-return]


class LRASD(Network):
    """Joins the embeddings of audio and face by a gate; two GRUs read them."""

    recipe = Recipe(
        optimiser="adamw",
        lr=1e-3,
        weight_decay=0.01,
        max_epoch=40,
        batch_size=2000,
        loss_weights={"av": 1.0, "visual": 0.5},
    )
    radius = 9
    windows = (1,)  # s: as accurate as the published six (docs/results.md)
    released_names: ClassVar[Mapping[str, str]] = {
        "model.visualEncoder.": "visual_encoder.",
        "model.audioEncoder.": "audio_encoder.",
        "model.fusion.": "fusion.",
        "model.detector.": "recurrence.",
        "lossAV.FC.": "head_av.",
        "lossV.FC.": "head_visual.",
    }

    def __init__(self) -> None:
        super().__init__()
        self.visual_encoder = FactoredVisualEncoder(ChainVisualBlock)
        self.audio_encoder = FactoredAudioEncoder(ChainAudioBlock)
        self.fusion = Gate(256)
        self.recurrence = GatedGRU(256, 64)
        self.head_av = nn.Linear(128, 2)
        self.head_visual = nn.Linear(128, 2)
        initialise(self)

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Map features (B, 4 T, 13) to (B, T, 128)."""
        return self.audio_encoder(audio)  # type: ignore[no-any-return]

    def encode_faces(self, faces: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Map grey faces (B, T, 112, 112) in [0, 255] to (B, stop - start, 128)."""
        return self.visual_encoder(faces, start, stop)  # type: ignore[no-any-return]

    def fuse(self, audio: Tensor, faces: Tensor) -> Logits:
        """Join two (B, T, 128) embeddings."""
        joined = self.recurrence(self.fusion(audio, faces))
        return Logits(av=self.head_av(joined), visual=self.head_visual(faces))
