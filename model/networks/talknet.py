"""TalkNet: "Is Someone Speaking? Exploring Long-term Temporal Features" (Tao et al., MM 2021)."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.contract import Logits, Network, Recipe
from model.layers.folding import Foldable
from model.layers.talknet_parts import (
    TALKNET_NAMES,
    AttentionLayer,
    TemporalConvNet,
    VisualFrontend,
    VisualProjection,
)


class SqueezeExcite(nn.Module):
    """Weight the channels of an image by its mean over all pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // 8),
            nn.ReLU(),
            nn.Linear(channels // 8, channels),
            nn.Sigmoid(),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return image * self.fc(image.mean((2, 3)))[:, :, None, None]  # type: ignore[no-any-return]


class AudioBlock(Foldable):
    """A residual block with squeeze and excitation (Hu et al., 2018)."""

    folds = (("conv2", "bn2"),)

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.se = SqueezeExcite(channels_out)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )
            if channels_in != channels_out
            else None
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, in, H, W) to (B, out, H / stride, W / stride)."""
        out = self.bn1(functional.relu(self.conv1(image)))  # Kept: ReLU before normalisation
        out = self.se(self.bn2(self.conv2(out)))
        return functional.relu(out + (image if self.downsample is None else self.downsample(image)))


def _stage(num_blocks: int, channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    first = AudioBlock(channels_in, channels_out, stride)
    return nn.Sequential(
        first, *(AudioBlock(channels_out, channels_out, 1) for _ in range(num_blocks - 1))
    )


class AudioEncoder(Foldable):
    """A residual network of 34 layers over the cepstrogram."""

    folds = (("conv1", "bn1"),)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 7, (2, 1), 3, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(3, 16, 16, 1)
        self.layer2 = _stage(4, 16, 32, 2)
        self.layer3 = _stage(6, 32, 64, 2)
        self.layer4 = _stage(3, 64, 128, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, audio: Tensor) -> Tensor:
        """Map features (B, 4 T, 13) to (B, T, 128)."""
        image = functional.relu(self.bn1(self.conv1(audio.transpose(1, 2).unsqueeze(1))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            image = stage(image)
        return image.mean(2).transpose(1, 2)


class TalkNet(Network):
    """Joins audio and face by cross-attention, then by self-attention over the whole window.

    Args:
        join_clips: Run the stem over all clips of a batch as if they were one, as published: see
            `VisualFrontend`.
    """

    recipe = Recipe(loss_weights={"av": 1.0, "audio": 0.4, "visual": 0.4})
    radius = VisualFrontend.radius
    released_names: ClassVar[Mapping[str, str]] = {
        **TALKNET_NAMES,
        "model.selfAV.": "self_attention.",
    }
    released_unused = frozenset({"model.visualFrontend.resnet.layer1.downsample.weight"})

    def __init__(self, join_clips: bool = False) -> None:
        super().__init__()
        self.visual_frontend = VisualFrontend(join_clips)
        self.visual_temporal = TemporalConvNet()
        self.visual_projection = VisualProjection()
        self.audio_encoder = AudioEncoder()
        self.cross_audio = AttentionLayer(128)
        self.cross_visual = AttentionLayer(128)
        self.self_attention = AttentionLayer(256)
        self.head_av = nn.Linear(256, 2)
        self.head_audio = nn.Linear(128, 2)
        self.head_visual = nn.Linear(128, 2)

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Map features (B, 4 T, 13) to (B, T, 128)."""
        return self.audio_encoder(audio)  # type: ignore[no-any-return]

    def encode_faces(self, faces: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Map grey faces (B, T, 112, 112) in [0, 255] to (B, stop - start, 512)."""
        return self.visual_frontend(faces, start, stop)  # type: ignore[no-any-return]

    def fuse(self, audio: Tensor, faces: Tensor) -> Logits:
        """Join audio (B, T, 128) and visual (B, T, 512) embeddings."""
        visual = self.visual_projection(self.visual_temporal(faces.transpose(1, 2)))
        visual = visual.transpose(1, 2)  # (B, T, 128)
        cross_audio = self.cross_audio(audio, visual)
        cross_visual = self.cross_visual(visual, audio)
        joined = torch.cat((cross_audio, cross_visual), dim=2)
        return Logits(
            av=self.head_av(self.self_attention(joined, joined)),
            audio=self.head_audio(cross_audio),
            visual=self.head_visual(cross_visual),
        )
