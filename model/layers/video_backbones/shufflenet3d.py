"""ShuffleNet (Zhang et al., 2018) and ShuffleNetV2 (Ma et al., 2018) in three dimensions."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers.folding import Foldable
from model.layers.video_backbones.volumes import (
    ConvNorm,
    VolumeConv3d,
    halve,
    initialise,
    pool_images,
    shuffle_channels,
)

NUM_CHANNELS = 512  # of the published last layer
STEM = 24  # channels of the first layer
NUM_UNITS = (4, 8, 4)  # of the three stages
WIDTHS = {  # ShuffleNet's groups: channels of the three stages
    1: (144, 288, 567),
    2: (200, 400, 800),
    3: (240, 480, 960),
    4: (272, 544, 1088),
    8: (384, 768, 1536),
}
WIDTHS_V2 = {  # ShuffleNetV2's width: channels of the three stages
    0.25: (32, 64, 128),
    0.5: (48, 96, 192),
    1.0: (116, 232, 464),
    1.5: (176, 352, 704),
    2.0: (224, 488, 976),
}


class ShuffleUnit(Foldable):
    """Grouped pointwise convolutions with a channel shuffle between them."""

    folds = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))

    def __init__(self, channels_in: int, channels_out: int, stride: int, groups: int) -> None:
        super().__init__()
        middle = channels_out // 4
        # Kept: ungrouped only after exactly 24 channels; a wider stem is grouped like the rest.
        groups_in = 1 if channels_in == STEM else groups
        added = channels_out - channels_in if stride == 2 else channels_out
        self.groups, self.stride = groups, stride
        self.conv1 = VolumeConv3d(channels_in, middle, 1, groups=groups_in)
        self.bn1 = nn.BatchNorm3d(middle)
        self.conv2 = VolumeConv3d(middle, middle, 3, stride, middle)
        self.bn2 = nn.BatchNorm3d(middle)
        self.conv3 = VolumeConv3d(middle, added, 1, groups=groups)
        self.bn3 = nn.BatchNorm3d(added)

    def forward(self, clips: Tensor) -> Tensor:
        """Map (B, in, T, H, W) to (B, out, T / s, H / s, W / s)."""
        out = functional.relu(self.bn1(self.conv1(clips)), inplace=True)
        out = self.bn2(self.conv2(shuffle_channels(out, self.groups)))
        out = self.bn3(self.conv3(out))
        if self.stride == 1:
            return functional.relu(out + clips, inplace=True)
        return functional.relu(torch.cat((out, halve(clips)), dim=1), inplace=True)


class ShuffleNet3D(nn.Module):
    """ShuffleNet; clips must have a multiple of 8 frames."""

    num_channels = NUM_CHANNELS
    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module

    def __init__(self, groups: int = 3, width: float = 2.0) -> None:
        super().__init__()
        channels = int(STEM * width)
        self.conv1 = ConvNorm(VolumeConv3d(3, channels, 3, (1, 2, 2)), nn.ReLU(inplace=True))
        for stage, num_units in enumerate(NUM_UNITS):
            channels_out = int(WIDTHS[groups][stage] * width)
            units = [ShuffleUnit(channels, channels_out, 2, groups)]
            units += [
                ShuffleUnit(channels_out, channels_out, 1, groups) for _ in range(num_units - 1)
            ]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*units))
            channels = channels_out
        self.final_conv_bn = ConvNorm(
            VolumeConv3d(channels, NUM_CHANNELS, 1), nn.ReLU(inplace=True)
        )
        initialise(self)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, 3, T, H, W) to (B, 512, T / 8, H / 32, W / 32)."""
        maps = pool_images(self.conv1(clips))
        for stage in (self.layer1, self.layer2, self.layer3):
            maps = stage(maps)
        return self.final_conv_bn(maps)  # type: ignore[no-any-return]


class SidePath(Foldable, nn.Sequential):
    """A depthwise convolution with stride 2 and a pointwise one."""

    folds = (("0", "1"), ("2", "3"))

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            VolumeConv3d(channels_in, channels_in, 3, 2, channels_in),
            nn.BatchNorm3d(channels_in),
            VolumeConv3d(channels_in, channels_out, 1),
            nn.BatchNorm3d(channels_out),
            nn.ReLU(inplace=True),
        )


class MainPath(Foldable, nn.Sequential):
    """A depthwise convolution between two pointwise ones."""

    folds = (("0", "1"), ("3", "4"), ("5", "6"))

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__(
            VolumeConv3d(channels_in, channels_out, 1),
            nn.BatchNorm3d(channels_out),
            nn.ReLU(inplace=True),
            VolumeConv3d(channels_out, channels_out, 3, stride, channels_out),
            nn.BatchNorm3d(channels_out),
            VolumeConv3d(channels_out, channels_out, 1),
            nn.BatchNorm3d(channels_out),
            nn.ReLU(inplace=True),
        )


class SplitUnit(nn.Module):
    """Convolves half of the channels; with stride 2, all of them on two paths."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        half = channels_out // 2
        # Kept: the misspelt names of the published checkpoints.
        self.banch1 = SidePath(channels_in, half) if stride == 2 else None
        self.banch2 = MainPath(channels_in if stride == 2 else half, half, stride)

    def forward(self, clips: Tensor) -> Tensor:
        """Map (B, in, T, H, W) to (B, out, T / s, H / s, W / s)."""
        if self.banch1 is None:
            side, main = clips.chunk(2, dim=1)
        else:
            side, main = self.banch1(clips), clips
        return shuffle_channels(torch.cat((side, self.banch2(main)), dim=1), 2)


class ShuffleNetV23D(nn.Module):
    """ShuffleNetV2."""

    num_channels = NUM_CHANNELS

    def __init__(self, width: float = 2.0) -> None:
        super().__init__()
        self.conv1 = ConvNorm(VolumeConv3d(3, STEM, 3, (1, 2, 2)), nn.ReLU(inplace=True))
        channels, units = STEM, []
        for channels_out, num_units in zip(WIDTHS_V2[width], NUM_UNITS, strict=True):
            for index in range(num_units):
                units.append(SplitUnit(channels, channels_out, 1 if index else 2))
                channels = channels_out
        self.features = nn.Sequential(*units)
        self.conv_last = ConvNorm(VolumeConv3d(channels, NUM_CHANNELS, 1), nn.ReLU(inplace=True))
        initialise(self)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, 3, T, H, W) to (B, 512, T / 8, H / 32, W / 32)."""
        return self.conv_last(self.features(pool_images(self.conv1(clips))))  # type: ignore[no-any-return]
