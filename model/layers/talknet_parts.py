"""The parts that TalkNet and LoCoNet share: visual front end, temporal network, attention."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers.convolutions import StackedConv3d
from model.layers.face_encoder import FaceEncoder, normalise_faces, temporal_pads
from model.layers.folding import Foldable


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _conv(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)


class ResidualUnit(Foldable):
    """Two residual halves, each normalised after its sum."""

    folds = (("conv1a", "bn1a"), ("conv1b", "bn1b"))

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1a = _conv(channels_in, channels_out, stride)
        self.bn1a = _norm(channels_out)
        self.conv2a = _conv(channels_out, channels_out)
        self.downsample = (
            nn.Conv2d(channels_in, channels_out, 1, stride, bias=False) if stride > 1 else None
        )
        self.outbna = _norm(channels_out)
        self.conv1b = _conv(channels_out, channels_out)
        self.bn1b = _norm(channels_out)
        self.conv2b = _conv(channels_out, channels_out)
        self.outbnb = _norm(channels_out)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H / stride, W / stride)."""
        middle = self.conv2a(functional.relu(self.bn1a(self.conv1a(images)), inplace=True))
        middle += images if self.downsample is None else self.downsample(images)
        out = functional.relu(self.outbna(middle), inplace=True)
        out = self.conv2b(functional.relu(self.bn1b(self.conv1b(out)), inplace=True))
        out += middle  # Kept: the second half's shortcut is the sum before its normalisation
        return functional.relu(self.outbnb(out), inplace=True)


class VisualFrontend(FaceEncoder, Foldable):
    """Maps each frame and its two neighbours on either side to 512 features.

    Args:
        join_clips: Kept: the published code runs the stem over all clips of a batch as if they
            were one, so that frames at the ends of a clip read the neighbouring clip. The
            released weights were trained this way; for a single clip both are the same. False,
            the default, keeps clips apart.
    """

    radius = 2
    folds = (("stem_conv", "stem_norm"),)

    def __init__(self, join_clips: bool = False) -> None:
        super().__init__()
        self.join_clips = join_clips
        self.stem_conv = StackedConv3d(64, length=5, size=7, stride=2)
        self.stem_norm = _norm(64)
        self.layer1 = ResidualUnit(64, 64, stride=1)
        self.layer2 = ResidualUnit(64, 128, stride=2)
        self.layer3 = ResidualUnit(128, 256, stride=2)
        self.layer4 = ResidualUnit(256, 512, stride=2)

    def forward(self, faces: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Map grey faces (B, T, 112, 112) in [0, 255] to (B, stop - start, 512)."""
        num_clips, length = faces.shape[:2]
        if self.join_clips and num_clips > 1:
            joined = faces.reshape(1, -1, *faces.shape[2:])
            return self.forward(joined).view(num_clips, length, -1)[:, start:stop]
        trunk = self.stem(faces, start, stop)
        stop = length if stop is None else stop
        for unit in (self.layer1, self.layer2, self.layer3, self.layer4):
            trunk = unit(trunk)
        embeddings: Tensor = trunk.float().mean((2, 3))
        return embeddings.view(num_clips, stop - start, -1)

    def stem(self, faces: Tensor, start: int, stop: int | None) -> Tensor:
        """Map frames [start, stop) of faces (B, T, 112, 112) to images (B T, 64, 28, 28)."""
        first, last, pads = temporal_pads(faces.shape[1], start, stop, (self.radius,))
        faces = normalise_faces(faces[:, first:last], self.stem_conv.weight.dtype)
        frames = functional.relu(self.stem_norm(self.stem_conv(faces, pads[0])), inplace=True)
        return functional.max_pool2d(frames, 3, 2, 1)


class GlobalLayerNorm(nn.Module):
    """Normalise over channels and time of a clip (Conv-TasNet, Luo and Mesgarani, 2019).

    Every frame depends on the whole clip.
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
    """A residual block with a depthwise convolution over 3 frames."""

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
    """Reduce the channels of a clip to those of the audio embedding."""

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


class AttentionLayer(nn.Module):
    """Attention between two sequences.

    Kept: the queries come from `other` but the residual from `own`, the reverse of a decoder
    block; the released weights were trained this way.
    """

    def __init__(self, dim: int, num_heads: int = 8, dropout: float = 0.1) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, num_heads, dropout, batch_first=True)
        self.linear1 = nn.Linear(dim, 4 * dim)
        self.linear2 = nn.Linear(4 * dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """Map two (B, T, dim) sequences to one (B, T, dim)."""
        attended, _ = self.self_attn(query=other, key=own, value=own, need_weights=False)
        own = self.norm1(own + self.dropout(attended))
        hidden = self.dropout(functional.relu(self.linear1(own)))
        return self.norm2(own + self.dropout(self.linear2(hidden)))  # type: ignore[no-any-return]


# Prefix of published names: prefix in this project.
TALKNET_NAMES = {
    "model.visualFrontend.frontend3D.0.": "visual_frontend.stem_conv.",
    "model.visualFrontend.frontend3D.1.": "visual_frontend.stem_norm.",
    "model.visualFrontend.resnet.": "visual_frontend.",
    "model.visualTCN.": "visual_temporal.",
    "model.visualConv1D.": "visual_projection.",
    "model.audioEncoder.": "audio_encoder.",
    "model.crossA2V.": "cross_audio.",
    "model.crossV2A.": "cross_visual.",
    "lossAV.FC.": "head_av.",
    "lossA.FC.": "head_audio.",
    "lossV.FC.": "head_visual.",
}
