"""A small face embedder, taught by face_reid; docs/notes/face_embedder.md has its training."""

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model.checkpoints.files import load_bundled
from model.checkpoints.registry import RawWeights
from model.contract import WeightsFile
from model.devices import send
from model.layers.folding import Foldable, fold_norms

SIDE = 64  # pixels; crops are reduced to it
WIDTHS = (32, 64, 128)  # channels at 16, 8 and 4 cells a side
EMBEDDING = 256  # C, as the teacher's
THRESHOLD = 0.35  # mean cosine distance of tracks above which groups are two people


class PreluUnit(Foldable):
    """A convolution, its normalisation and a PReLU."""

    folds: ClassVar[tuple[tuple[str, str], ...]] = (("conv", "norm"),)

    def __init__(self, channels_in: int, channels_out: int, size: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, size, stride, size // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)
        self.active = nn.PReLU(channels_out)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, in, H, W) to (B, out, H / stride, W / stride)."""
        found: Tensor = self.active(self.norm(self.conv(maps)))
        return found


class PreluResidual(nn.Module):
    """Two convolutions beside a way around them."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        size = 3 if inner == channels else 1
        middle = [] if inner == channels else [PreluUnit(inner, inner)]
        self.units = nn.Sequential(
            PreluUnit(channels, inner, size), *middle, PreluUnit(inner, channels, size)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        found: Tensor = self.units(maps)
        return maps + found


class BundledNetwork(nn.Module):
    """Maps RGB faces to embeddings of any length."""

    def __init__(self) -> None:
        super().__init__()
        first, second, last = WIDTHS
        self.trunk = nn.Sequential(
            PreluUnit(3, first, size=5, stride=4),
            PreluResidual(first, first // 2),
            PreluUnit(first, second, stride=2),
            PreluResidual(second, second),
            PreluUnit(second, last, stride=2),
            PreluResidual(last, last // 2),
        )
        self.gather = nn.Conv2d(last, last, 4, groups=last, bias=False)
        self.norm = nn.BatchNorm2d(last)
        self.embed = nn.Linear(last, EMBEDDING)

    def forward(self, faces: Tensor) -> Tensor:
        """Map (B, 3, 64, 64), values in [0, 255], to (B, C)."""
        maps = self.trunk(faces / 127.5 - 1)
        found: Tensor = self.embed(self.norm(self.gather(maps)).flatten(1))
        return found


class Bundled:
    """Embeds faces with weights of this project's own.

    Args:
        network: With weights; its normalisations are folded for good.
        weights: The file that they were read from.
        device: Where it runs.
    """

    name = "bundled"
    threshold = THRESHOLD

    def __init__(
        self, network: BundledNetwork, weights: WeightsFile | None = None, device: str = "cpu"
    ) -> None:
        self.weights = weights
        self._device = device
        fold_norms(network.eval().requires_grad_(False))
        self._network = network.to(device)

    @torch.inference_mode()
    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map aligned RGB crops (N, 128, 128, 3) to unit vectors (N, 256).

        Each is embedded as it is and mirrored, which makes up for some of the network's noise.
        """
        sent = send(crops, torch.device(self._device))
        images = reduce(sent.permute(0, 3, 1, 2).float())
        both = self._network(torch.cat((images, images.flip(3))))
        own, mirrored = functional.normalize(both).chunk(2)
        found = functional.normalize(own + mirrored)
        return np.asarray(found.cpu().numpy(), np.float32)


def reduce(images: Tensor) -> Tensor:
    """Reduce crops (B, 3, H, W), a multiple of it a side, to the size that the network reads."""
    return functional.avg_pool2d(images, images.shape[-1] // SIDE)


def load(weights: RawWeights, device: str) -> Bundled:
    """Return the embedder.

    Raises:
        UserError: The weights are not those of this network; says which file and what is wrong.
    """
    network = BundledNetwork()
    load_bundled(network, weights, Bundled.name)
    return Bundled(network, weights.file, device)
