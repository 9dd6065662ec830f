"""MobileNet (Howard et al., 2017) and MobileNetV2 (Sandler et al., 2018) in three dimensions."""

from torch import Tensor, nn
from torch.nn import functional

from model.layers.folding import Foldable
from model.layers.video_backbones.volumes import ConvNorm, Size3, VolumeConv3d, initialise

NUM_CHANNELS = 512  # of the published last layer


class SeparableBlock(Foldable):
    """A depthwise and a pointwise convolution."""

    folds = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = VolumeConv3d(channels_in, channels_in, 3, stride, channels_in)
        self.bn1 = nn.BatchNorm3d(channels_in)
        self.conv2 = VolumeConv3d(channels_in, channels_out, 1)
        self.bn2 = nn.BatchNorm3d(channels_out)

    def forward(self, clips: Tensor) -> Tensor:
        """Map (B, in, T, H, W) to (B, out, T / s, H / s, W / s)."""
        clips = functional.relu(self.bn1(self.conv1(clips)), inplace=True)
        return functional.relu(self.bn2(self.conv2(clips)), inplace=True)


class MobileNet3D(nn.Module):
    """MobileNet; `width` scales the number of channels of all layers but the last."""

    stages = ((64, 1, 2), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 1))
    num_channels = NUM_CHANNELS

    def __init__(self, width: float = 2.0) -> None:
        super().__init__()
        channels = int(32 * width)
        layers: list[nn.Module] = [
            ConvNorm(VolumeConv3d(3, channels, 3, (1, 2, 2)), nn.ReLU(inplace=True))
        ]
        for wide, num_blocks, stride in self.stages:  # channels, blocks, stride of the first
            for index in range(num_blocks):
                channels_out = int(wide * width)
                layers.append(SeparableBlock(channels, channels_out, 1 if index else stride))
                channels = channels_out
        self.features = nn.Sequential(*layers)
        self.final_conv_bn = ConvNorm(
            VolumeConv3d(channels, NUM_CHANNELS, 1), nn.ReLU(inplace=True)
        )
        initialise(self)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, 3, T, H, W) to (B, 512, T / 16, H / 32, W / 32)."""
        return self.final_conv_bn(self.features(clips))  # type: ignore[no-any-return]


class ThinPath(Foldable, nn.Sequential):
    """A depthwise and a pointwise convolution."""

    folds = (("0", "1"), ("3", "4"))

    def __init__(self, channels_in: int, channels_out: int, stride: Size3) -> None:
        super().__init__(
            VolumeConv3d(channels_in, channels_in, 3, stride, channels_in),
            nn.BatchNorm3d(channels_in),
            nn.ReLU6(inplace=True),
            VolumeConv3d(channels_in, channels_out, 1),
            nn.BatchNorm3d(channels_out),
        )


class WidePath(Foldable, nn.Sequential):
    """Pointwise expansion, depthwise convolution, pointwise projection."""

    folds = (("0", "1"), ("3", "4"), ("6", "7"))

    def __init__(self, channels: tuple[int, int, int], stride: Size3) -> None:
        channels_in, middle, channels_out = channels
        super().__init__(
            VolumeConv3d(channels_in, middle, 1),
            nn.BatchNorm3d(middle),
            nn.ReLU6(inplace=True),
            VolumeConv3d(middle, middle, 3, stride, middle),
            nn.BatchNorm3d(middle),
            nn.ReLU6(inplace=True),
            VolumeConv3d(middle, channels_out, 1),
            nn.BatchNorm3d(channels_out),
        )


class InvertedResidual(nn.Module):
    """A residual block with few channels at its ends and many in the middle.

    Args:
        channels_in: Input channels.
        channels_out: Output channels.
        expansion: The middle has this many times the input channels.
        stride: Stride of the depthwise convolution.
    """

    def __init__(self, channels_in: int, channels_out: int, expansion: int, stride: Size3) -> None:
        super().__init__()
        middle = channels_in * expansion
        self.residual = stride == (1, 1, 1) and channels_in == channels_out
        if expansion == 1:
            self.conv: nn.Module = ThinPath(channels_in, channels_out, stride)
        else:
            self.conv = WidePath((channels_in, middle, channels_out), stride)

    def forward(self, clips: Tensor) -> Tensor:
        """Map (B, in, T, H, W) to (B, out, T', H', W')."""
        out: Tensor = self.conv(clips)
        return clips + out if self.residual else out


class MobileNetV23D(nn.Module):
    """MobileNetV2; `width` scales the number of channels, of the last layer only if above 1."""

    stages = (  # expansion, channels, blocks, stride of the first
        (1, 16, 1, (1, 1, 1)),
        (6, 24, 2, (1, 2, 2)),
        (6, 32, 3, (2, 2, 2)),
        (6, 64, 4, (2, 2, 2)),
        (6, 96, 3, (1, 1, 1)),
        (6, 160, 3, (2, 2, 2)),
        (6, 320, 1, (1, 1, 1)),
    )

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        channels = int(32 * width)
        relu6 = nn.ReLU6(inplace=True)
        layers: list[nn.Module] = [ConvNorm(VolumeConv3d(3, channels, 3, (1, 2, 2)), relu6)]
        for expansion, wide, num_blocks, first in self.stages:
            for index in range(num_blocks):
                stride = (1, 1, 1) if index else first
                channels_out = int(wide * width)
                layers.append(InvertedResidual(channels, channels_out, expansion, stride))
                channels = channels_out
        self.num_channels = int(NUM_CHANNELS * width) if width > 1 else NUM_CHANNELS
        layers.append(ConvNorm(VolumeConv3d(channels, self.num_channels, 1), relu6))
        self.features = nn.Sequential(*layers)
        initialise(self)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, 3, T, H, W) to (B, C, T / 8, H / 32, W / 32)."""
        return self.features(clips)  # type: ignore[no-any-return]
