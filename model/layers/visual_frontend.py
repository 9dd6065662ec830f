"""The visual front end of TalkNet and LoCoNet: a stem over 5 frames, then a residual trunk."""

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
    """Two residual halves, each normalised once more after its sum."""

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

    def forward(self, pictures: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H / stride, W / stride)."""
        middle = self.conv2a(functional.relu(self.bn1a(self.conv1a(pictures)), inplace=True))
        middle += pictures if self.downsample is None else self.downsample(pictures)
        out = functional.relu(self.outbna(middle), inplace=True)
        out = self.conv2b(functional.relu(self.bn1b(self.conv1b(out)), inplace=True))
        out += middle  # Kept: the second half's shortcut is the sum before its normalisation
        return functional.relu(self.outbnb(out), inplace=True)


class VisualFrontend(FaceEncoder, Foldable):
    """512 numbers for each frame, from it and the two frames on either side.

    Args:
        join_clips: Kept: the published code lets the stem run over all clips of a batch as if
            they were one, so that frames beside a joint see the neighbouring clip. That is how
            the released weights were trained, but for one clip at a time nothing changes, and
            by default clips are kept apart. True joins them, to the letter.
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
        stop = length if stop is None else stop
        if self.join_clips and num_clips > 1:
            joined = faces.reshape(1, -1, *faces.shape[2:])
            return self.forward(joined).view(num_clips, length, -1)[:, start:stop]
        trunk = self.stem(faces, start, stop)
        for unit in (self.layer1, self.layer2, self.layer3, self.layer4):
            trunk = unit(trunk)
        embeddings: Tensor = trunk.float().mean((2, 3))
        return embeddings.view(num_clips, stop - start, -1)

    def stem(self, faces: Tensor, start: int, stop: int) -> Tensor:
        """Map frames [start, stop) of faces (B, T, 112, 112) to pictures (B T, 64, 28, 28)."""
        first, last, pads = temporal_pads(faces.shape[1], start, stop, (self.radius,))
        faces = normalise_faces(faces[:, first:last], self.stem_conv.weight.dtype)
        frames = functional.relu(self.stem_norm(self.stem_conv(faces, pads[0])), inplace=True)
        return functional.max_pool2d(frames, 3, 2, 1)
