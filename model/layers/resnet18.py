"""ResNet-18 without its classifier (He et al., 2016), for any number of input channels."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers.folding import Foldable
from utils.errors import UserError, WeightsUnavailableError

NUM_EMBEDDING = 512  # C


class Shortcut(Foldable, nn.Sequential):
    """A shortcut that changes size and channels."""

    folds = (("0", "1"),)

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
            nn.BatchNorm2d(channels_out),
        )


class BasicBlock(Foldable):
    """Two convolutions with a residual connection."""

    folds = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample = Shortcut(channels_in, channels_out, stride) if stride > 1 else None

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, in, H, W) to (B, out, H / stride, W / stride)."""
        out = functional.relu(self.bn1(self.conv1(images)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += images if self.downsample is None else self.downsample(images)
        return functional.relu(out, inplace=True)


class ResNet18(Foldable):
    """Maps an image of any number of channels to 512 features."""

    folds = (("conv1", "bn1"),)

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, channels_in, H, W) to (B, 512)."""
        out = functional.relu(self.bn1(self.conv1(images)), inplace=True)
        out = functional.max_pool2d(out, 3, 2, 1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            out = layer(out)
        return out.mean((2, 3))

    def start_from(self, weights: Mapping[str, Tensor], stem: Tensor) -> None:
        """Initialise from trained weights.

        Args:
            weights: torchvision's state dict of a ResNet-18; its stem and classifier are ignored.
            stem: The stem's weights instead, (64, channels_in, 7, 7).

        Raises:
            UserError: The weights are not those of a ResNet-18.
        """
        own = {name: weights[name] for name in self.state_dict() if name in weights}
        try:
            self.load_state_dict({**own, "conv1.weight": stem})
        except RuntimeError as error:  # a missing key or another shape
            reason = " ".join(str(error).split())
            raise UserError(f"these are not ResNet-18 weights: {reason}") from error


def imagenet_weights() -> dict[str, Tensor]:
    """Return torchvision's ResNet-18 weights trained on ImageNet, downloaded if necessary.

    Raises:
        WeightsUnavailableError: torchvision cannot be imported, or the download failed.
    """
    try:
        from torchvision.models import ResNet18_Weights
    except (ImportError, RuntimeError) as error:  # RuntimeError: it was built for another torch
        raise _unavailable(error) from error
    try:
        return dict(ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:  # RuntimeError: wrong hash or a damaged file
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> WeightsUnavailableError:
    return WeightsUnavailableError(
        f"ImageNet weights of ResNet-18 are not available through torchvision ({error}); install "
        "the torchvision that belongs to this torch, or put resnet18-f37072fd.pth into "
        f"{torch.hub.get_dir()}/checkpoints, or train from scratch"
    )
