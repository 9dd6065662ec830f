"""Light-ASD: "A Light Weight Model for Active Speaker Detection" (Liao et al., CVPR 2023)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

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


class LightVisualBlock(VisualBlock):
    """Two branches, over 3 and over 5 pixels and frames, summed."""

    reaches = (2,)  # of the wider branch
    folds = (
        ("s_3", "bn_s_3"),
        ("t_3", "bn_t_3"),
        ("s_5", "bn_s_5"),
        ("t_5", "bn_t_5"),
        ("last", "bn_last"),
    )

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.s_3 = SpatialConv3d(channels_in, channels_out, 3, stride)
        self.bn_s_3 = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)
        self.t_3 = TemporalConv3d(channels_out, 3)
        self.bn_t_3 = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)
        self.s_5 = SpatialConv3d(channels_in, channels_out, 5, stride)
        self.bn_s_5 = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)
        self.t_5 = TemporalConv3d(channels_out, 5)
        self.bn_t_5 = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)
        self.last = SpatialConv3d(channels_out, channels_out, 1)
        self.bn_last = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)

    def forward(self, frames: Tensor, num_clips: int, pads: Sequence[tuple[int, int]]) -> Tensor:
        """Map (B T, in, H, W) to (B T', out, H', W')."""
        ((left, right),) = pads
        narrow = functional.relu(self.bn_s_3(self.s_3(frames)), inplace=True)
        narrow = self.t_3(narrow, num_clips, (left - 1, right - 1))  # its radius is one frame less
        narrow = functional.relu(self.bn_t_3(narrow), inplace=True)
        wide = functional.relu(self.bn_s_5(self.s_5(frames)), inplace=True)
        wide = functional.relu(self.bn_t_5(self.t_5(wide, num_clips, (left, right))), inplace=True)
        return functional.relu(self.bn_last(self.last(narrow + wide)), inplace=True)


class LightAudioBlock(Foldable):
    """Two branches, over 3 and over 5 cepstral coefficients and steps, summed."""

    folds = (
        ("m_3", "bn_m_3"),
        ("t_3", "bn_t_3"),
        ("m_5", "bn_m_5"),
        ("t_5", "bn_t_5"),
        ("last", "bn_last"),
    )

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.m_3 = nn.Conv2d(channels_in, channels_out, (3, 1), padding=(1, 0), bias=False)
        self.bn_m_3 = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)
        self.t_3 = nn.Conv2d(channels_out, channels_out, (1, 3), padding=(0, 1), bias=False)
        self.bn_t_3 = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)
        self.m_5 = nn.Conv2d(channels_in, channels_out, (5, 1), padding=(2, 0), bias=False)
        self.bn_m_5 = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)
        self.t_5 = nn.Conv2d(channels_out, channels_out, (1, 5), padding=(0, 2), bias=False)
        self.bn_t_5 = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)
        self.last = nn.Conv2d(channels_out, channels_out, 1, bias=False)
        self.bn_last = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, in, 13, L) to (B, out, 13, L)."""
        narrow = functional.relu(self.bn_m_3(self.m_3(image)), inplace=True)
        narrow = functional.relu(self.bn_t_3(self.t_3(narrow)), inplace=True)
        wide = functional.relu(self.bn_m_5(self.m_5(image)), inplace=True)
        wide = functional.relu(self.bn_t_5(self.t_5(wide)), inplace=True)
        return functional.relu(self.bn_last(self.last(narrow + wide)), inplace=True)


class SerialGRU(nn.Module):
    """A forward GRU, then a backward GRU over its output."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gru_forward = nn.GRU(channels, channels, batch_first=True)
        self.gru_backward = nn.GRU(channels, channels, batch_first=True)

    def forward(self, sequence: Tensor) -> Tensor:
        """Map (B, T, C) to the same shape."""
        sequence = functional.gelu(self.gru_forward(sequence)[0])
        return functional.gelu(self.gru_backward(sequence.flip(1))[0].flip(1))


class LightASD(Network):
    """Sums the embeddings of audio and face; two GRUs read the sum."""

    recipe = Recipe(
        lr=1e-3,
        max_epoch=30,
        batch_size=2000,
        loss_weights={"av": 1.0, "visual": 0.5},
        temperature=1.3,
        temperature_step=-0.02,
    )
    radius = 6
    windows = (1,)  # s: as accurate as the published six (docs/results.md)
    released_names: ClassVar[Mapping[str, str]] = {
        "model.visualEncoder.": "visual_encoder.",
        "model.audioEncoder.": "audio_encoder.",
        "model.GRU.": "recurrence.",
        "lossAV.FC.": "head_av.",
        "lossV.FC.": "head_visual.",
    }

    def __init__(self) -> None:
        super().__init__()
        self.visual_encoder = FactoredVisualEncoder(LightVisualBlock)
        self.audio_encoder = FactoredAudioEncoder(LightAudioBlock)
        self.recurrence = SerialGRU(128)
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
        joined = self.recurrence(audio + faces)
        return Logits(av=self.head_av(joined), visual=self.head_visual(faces))
