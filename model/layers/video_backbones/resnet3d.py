"""3D ResNet and ResNeXt (Hara et al., 2018; Kopuklu et al., 2021)."""

from torch import Tensor, nn
from torch.nn import functional

from model.layers.folding import Foldable
from model.layers.video_backbones.volumes import (
    ConvNorm,
    VolumeConv3d,
    initialise,
    is_planar,
    pool_images,
)

RESNETS = {  # depth: blocks of the four stages
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
RESNEXTS = {depth: RESNETS[depth] for depth in (50, 101, 152)}
_BARE_SHORTCUTS = (10, 34)  # depths


class BareShortcut(nn.Module):
    """Subsample every axis by the stride and pad the channels with zeros.

    Kept: no gradient flows through it.
    """

    def __init__(self, channels_out: int, stride: int) -> None:
        super().__init__()
        self.channels_out, self.stride = channels_out, stride

    def forward(self, clips: Tensor) -> Tensor:
        """Map (B, in, T, H, W) to (B, out, T / s, H / s, W / s)."""
        step = self.stride
        sampled = clips.detach()[:, :, ::step, ::step, ::step]
        return functional.pad(sampled, (0,) * 7 + (self.channels_out - clips.shape[1],))


class BasicBlock3D(Foldable):
    """Two convolutions of 3 x 3 x 3."""

    folds = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, shortcut: nn.Module | None
    ) -> None:
        super().__init__()
        self.conv1 = VolumeConv3d(channels_in, channels_out, 3, stride)
        self.bn1 = nn.BatchNorm3d(channels_out)
        self.conv2 = VolumeConv3d(channels_out, channels_out, 3)
        self.bn2 = nn.BatchNorm3d(channels_out)
        self.downsample = shortcut

    def forward(self, clips: Tensor) -> Tensor:
        """Map (B, in, T, H, W) to (B, out, T / s, H / s, W / s)."""
        out = functional.relu(self.bn1(self.conv1(clips)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += clips if self.downsample is None else self.downsample(clips)
        return functional.relu(out, inplace=True)


class Bottleneck(Foldable):
    """A convolution of 3 x 3 x 3 between two of 1 x 1 x 1.

    Args:
        channels: Of input, middle and output.
        stride: Of the middle convolution.
        groups: Of the middle convolution.
        shortcut: Maps the input to the output's shape; None if they are equal.
    """

    folds = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))

    def __init__(
        self, channels: tuple[int, int, int], stride: int, groups: int, shortcut: nn.Module | None
    ) -> None:
        super().__init__()
        channels_in, middle, channels_out = channels
        self.conv1 = VolumeConv3d(channels_in, middle, 1)
        self.bn1 = nn.BatchNorm3d(middle)
        self.conv2 = VolumeConv3d(middle, middle, 3, stride, groups)
        self.bn2 = nn.BatchNorm3d(middle)
        self.conv3 = VolumeConv3d(middle, channels_out, 1)
        self.bn3 = nn.BatchNorm3d(channels_out)
        self.downsample = shortcut

    def forward(self, clips: Tensor) -> Tensor:
        """Map (B, in, T, H, W) to (B, out, T / s, H / s, W / s)."""
        out = functional.relu(self.bn1(self.conv1(clips)), inplace=True)
        out = functional.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        out += clips if self.downsample is None else self.downsample(clips)
        return functional.relu(out, inplace=True)


class _ResidualTrunk(Foldable):
    """Stem and forward pass of both families."""

    folds = (("conv1", "bn1"),)
    num_channels: int  # of the last stage
    pool_stride: int  # of the stem's pooling over time
    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module
    layer4: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = VolumeConv3d(3, 64, 7, (1, 2, 2))
        self.bn1 = nn.BatchNorm3d(64)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, 3, T, H, W) to (B, C, T', H / 32, W / 32)."""
        maps = self._stem(clips)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = stage(maps)
        return maps

    def _stem(self, clips: Tensor) -> Tensor:
        """Map (B, 3, T, H, W) to (B, 64, T', H / 4, W / 4).

        Frames that the pooling skips are needed only for batch statistics, so only in training.
        """
        skipped = 1 if self.training or is_planar(clips) else self.pool_stride
        conv, stride = self.conv1, (skipped, *self.conv1.stride[1:])
        frames = functional.conv3d(clips, conv.weight, conv.bias, stride, conv.padding)
        frames = functional.relu(self.bn1(frames), inplace=True)
        return pool_images(frames, self.pool_stride // skipped)


class ResNet3D(_ResidualTrunk):
    """ResNet of depth 10, 18 or 34 (512 channels), or 50, 101, 152 or 200 (2048 channels)."""

    pool_stride = 2

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.num_channels = 2048 if depth >= 50 else 512
        channels = 64
        for stage, num_blocks in enumerate(RESNETS[depth]):
            blocks = []
            for index in range(num_blocks):
                stride = 2 if stage and not index else 1
                blocks.append(self._block(channels, 64 << stage, stride))
                channels = (64 << stage) * (4 if depth >= 50 else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        initialise(self)

    def _block(self, channels_in: int, width: int, stride: int) -> nn.Module:
        deep = self.depth >= 50
        channels_out = 4 * width if deep else width
        shortcut: nn.Module | None = None
        if stride > 1 or channels_in != channels_out:
            if self.depth in _BARE_SHORTCUTS:
                shortcut = BareShortcut(channels_out, stride)
            else:
                shortcut = ConvNorm(VolumeConv3d(channels_in, channels_out, 1, stride))
        if deep:
            return Bottleneck((channels_in, width, channels_out), stride, 1, shortcut)
        return BasicBlock3D(channels_in, channels_out, stride, shortcut)


class ResNeXt3D(_ResidualTrunk):
    """ResNeXt of depth 50, 101 or 152 with 32 groups and 512 output channels."""

    pool_stride = 1
    num_channels = 512

    def __init__(self, depth: int) -> None:
        super().__init__()
        channels = 64
        for stage, num_blocks in enumerate(RESNEXTS[depth]):
            middle = 128 << stage
            blocks = []
            for index in range(num_blocks):
                stride = 2 if stage and not index else 1
                shortcut = None
                if index == 0:
                    shortcut = ConvNorm(VolumeConv3d(channels, 2 * middle, 1, stride))
                blocks.append(Bottleneck((channels, middle, 2 * middle), stride, 32, shortcut))
                channels = 2 * middle
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.final_conv_bn = ConvNorm(VolumeConv3d(channels, 512, 1), nn.ReLU(inplace=True))
        initialise(self)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, 3, T, H, W) to (B, 512, T / 8, H / 32, W / 32)."""
        return self.final_conv_bn(super().forward(clips))  # type: ignore[no-any-return]
