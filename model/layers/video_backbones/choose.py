"""ASDNet's video backbones: built by name, recognised by their weights."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from model.layers.video_backbones.mobilenet3d import MobileNet3D, MobileNetV23D
from model.layers.video_backbones.resnet3d import RESNETS, RESNEXTS, ResNet3D, ResNeXt3D
from model.layers.video_backbones.shufflenet3d import (
    WIDTHS,
    WIDTHS_V2,
    ShuffleNet3D,
    ShuffleNetV23D,
)
from utils.errors import UserError

Shapes = Mapping[str, tuple[int, ...]]

NUM_CHANNELS = 512  # of the backbone's output
PUBLISHED_WIDTHS = {"mobilenet": 2.0, "mobilenetv2": 1.0, "shufflenet": 2.0, "shufflenetv2": 2.0}
NAMES = (
    *(f"resnext{depth}" for depth in RESNEXTS),
    *(f"resnet{depth}" for depth in RESNETS),
    *PUBLISHED_WIDTHS,
)


class VideoBackbone(nn.Module):
    """Maps each clip of a face to 512 features.

    Args:
        name: One of `NAMES`.
        width: Scales the number of channels of the light ones; 0 is the published width.
        groups: Groups of ShuffleNet's pointwise convolutions.

    Raises:
        UserError: There is no such backbone, or it does not end in 512 channels.
    """

    def __init__(self, name: str, width: float = 0.0, groups: int = 3) -> None:
        super().__init__()
        self.base = make_backbone(name, width, groups)
        channels = self.base.num_channels
        if channels != NUM_CHANNELS:
            raise UserError(
                f"expected a video backbone of {NUM_CHANNELS} channels, {name}"
                f"{f' of width {width:g}' if width else ''} gives {channels}; {_fitting(name)}"
            )

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, 3, T, H, W) to (B, 512), float32 for weights of any dtype.

        On a CPU, channels_last is faster, except for training networks without groups. Other
        devices get the default layout.
        """
        planar = clips.device.type != "cpu" or (self.training and isinstance(self.base, ResNet3D))
        layout = torch.contiguous_format if planar else torch.channels_last_3d
        clips = clips.to(next(self.parameters()).dtype, memory_format=layout)
        maps: Tensor = self.base(clips)
        return maps.float().mean((2, 3, 4))

    def load_kinetics(self, state_dict: Mapping[str, Tensor]) -> list[str]:
        """Initialise from weights trained on Kinetics, as far as they fit.

        Kept: unknown keys and weights of another shape are skipped, and missing ones keep their
        initial values, so the last layer always starts at random.

        Args:
            state_dict: Of the backbone alone; a leading "module." is dropped.

        Returns:
            One line for the log per skipped weight.

        Raises:
            UserError: Fewer than half of the convolutions fit: it is another backbone's file.
        """
        own = self.base.state_dict()
        taken, skipped = {}, []
        for key, value in state_dict.items():
            name = key.removeprefix("module.")
            if name not in own:
                skipped.append(f"{name}: unknown")
            elif own[name].shape != value.shape:
                found, expected = tuple(value.shape), tuple(own[name].shape)
                skipped.append(f"{name}: has shape {found}, expected {expected}")
            else:
                taken[name] = value
        fitting = sum(own[name].ndim == 5 for name in taken)
        total = sum(value.ndim == 5 for value in own.values())
        if 2 * fitting < total:
            raise UserError(
                f"expected weights of this video backbone, found {fitting} of its {total} "
                "convolutions in the file; give the file of the same backbone and width"
            )
        skipped += [f"{name}: not in the file" for name in own if name not in taken]
        self.base.load_state_dict(taken, strict=False)
        return [line for line in skipped if "num_batches_tracked" not in line]


def make_backbone(name: str, width: float = 0.0, groups: int = 3) -> nn.Module:
    """Return a backbone with fresh weights; it maps (B, 3, T, H, W) to (B, C, T', H', W').

    Its attribute `num_channels` is C. The arguments are those of `VideoBackbone`.
    """
    if name not in NAMES:
        raise UserError(f"expected a video backbone named one of {', '.join(NAMES)}; got {name!r}")
    if name not in PUBLISHED_WIDTHS:
        if width:
            light = ", ".join(PUBLISHED_WIDTHS)
            raise UserError(f"{name} has one width only; leave out width={width:g} or use {light}")
        deep = name.startswith("resnext")
        depth = int(name.removeprefix("resnext" if deep else "resnet"))
        return ResNeXt3D(depth) if deep else ResNet3D(depth)
    width = width or PUBLISHED_WIDTHS[name]
    if width < 1 / 16:  # fewer than one channel in the narrowest layer
        raise UserError(f"expected a width of {name} of at least {1 / 16}; got {width:g}")
    if name == "shufflenet":
        return _make_shufflenet(groups, width)
    if name == "shufflenetv2":
        if width not in WIDTHS_V2:
            widths = ", ".join(f"{one:g}" for one in WIDTHS_V2)
            raise UserError(f"expected shufflenetv2's width to be one of {widths}; got {width:g}")
        return ShuffleNetV23D(width)
    return MobileNet3D(width) if name == "mobilenet" else MobileNetV23D(width)


def _make_shufflenet(groups: int, width: float) -> nn.Module:
    if groups not in WIDTHS:
        choices = ", ".join(map(str, WIDTHS))
        raise UserError(f"expected shufflenet's groups to be one of {choices}; got {groups}")
    try:
        return ShuffleNet3D(groups, width)
    except ValueError as error:  # raised by nn.Conv3d
        raise UserError(
            f"expected a width at which all channels of shufflenet divide into {groups} groups, "
            f"got {width:g} ({error}); 1 and 2 do"
        ) from error


def recognise_backbone(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the arguments of the `VideoBackbone` that weights belong to, as far as known.

    Default widths and groups are omitted; the result is empty for weights of no backbone.

    Args:
        state_dict: Of the backbone alone.
    """
    shapes = {key: tuple(value.shape) for key, value in state_dict.items()}
    for key, recognise in _RECOGNISED.items():
        if key in shapes:
            return recognise(shapes)
    return {}


def _recognise_residual(shapes: Shapes) -> dict[str, Any]:
    """Determine the depth of a ResNet or ResNeXt from the number of its blocks."""
    counts = tuple(
        sum(key.startswith(f"layer{stage}.") and key.endswith(".conv1.weight") for key in shapes)
        for stage in (1, 2, 3, 4)
    )
    if "final_conv_bn.0.weight" in shapes:
        depths = [depth for depth, blocks in RESNEXTS.items() if blocks == counts]
        return {"video_backbone": f"resnext{depths[0]}"} if depths else {}
    deep = "layer1.0.conv3.weight" in shapes
    depths = [
        depth for depth, blocks in RESNETS.items() if blocks == counts and deep == (depth >= 50)
    ]
    return {"video_backbone": f"resnet{depths[0]}"} if depths else {}


def _recognise_shufflenet(shapes: Shapes) -> dict[str, Any]:
    channels, of_group = shapes["layer3.3.conv3.weight"][:2]
    groups = channels // 4 // of_group
    if groups not in WIDTHS:
        return {}
    found = _light("shufflenet", _scale(channels, WIDTHS[groups][-1]))
    return found if groups == 3 else {**found, "groups": groups}


def _recognise_shufflenetv2(shapes: Shapes) -> dict[str, Any]:
    widths = {stages[-1]: width for width, stages in WIDTHS_V2.items()}
    return _light("shufflenetv2", widths.get(shapes["conv_last.0.weight"][1], 0.0))


def _recognise_mobilenet(shapes: Shapes) -> dict[str, Any]:
    return _light("mobilenet", _scale(shapes["features.13.conv2.weight"][0], 1024))


def _recognise_mobilenetv2(shapes: Shapes) -> dict[str, Any]:
    return _light("mobilenetv2", _scale(shapes["features.17.conv.6.weight"][0], 320))


_RECOGNISED: Mapping[str, Callable[[Shapes], dict[str, Any]]] = {  # by a key unique to the kind
    "conv1.weight": _recognise_residual,
    "layer3.3.conv3.weight": _recognise_shufflenet,
    "conv_last.0.weight": _recognise_shufflenetv2,
    "features.13.conv2.weight": _recognise_mobilenet,
    "features.17.conv.6.weight": _recognise_mobilenetv2,
}


def _scale(channels: int, unscaled: int) -> float:
    """Return the width with the fewest digits that scales `unscaled` to `channels`."""
    for digits in range(6):
        width = round(channels / unscaled, digits)
        if int(unscaled * width) == channels:
            return width
    return channels / unscaled


def _light(name: str, width: float) -> dict[str, Any]:
    """Omit the width if it is the published one, or unknown."""
    found: dict[str, Any] = {"video_backbone": name}
    return found if width in (0.0, PUBLISHED_WIDTHS[name]) else {**found, "width": width}


def _fitting(name: str) -> str:
    """Return advice for a backbone with too many channels."""
    if name == "mobilenetv2":
        return "take a width of at most 1"
    return "take resnet34 or a smaller one, or one of the resnext"
