"""face-reidentification-retail-0095 of the Open Model Zoo (Intel): a face to 256 numbers.

A MobileNetV2 (Sandler et al., 2018) with squeezes (Hu et al., 2018) and, instead of a mean over
the last map, one learned weight for each of its places.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.checkpoints.openvino import read_constants
from model.checkpoints.registry import RawWeights
from model.contract import WeightsFile
from model.devices import send
from utils.errors import UserError

# input channels, output channels, stride of each block; a block's inner width is twice the larger
# of its input's and, where it shrinks the map, of its output's.
BLOCKS = (
    (64, 128, 64, 2),
    *[(64, 128, 64, 1)] * 4,
    (64, 256, 128, 2),
    *[(128, 256, 128, 1)] * 6,
    (128, 512, 128, 2),
    *[(128, 256, 128, 1)] * 2,
)
SQUEEZE = 8  # channels for each of a squeeze's
HEAD, EMBEDDING = 512, 256  # channels of the last map; C
# Mean cosine distance of tracks above which groups are two people, see docs/results.md.
THRESHOLD = 0.62
AT_ONCE = 6  # crops


class ConvPReLU(nn.Sequential):
    """A convolution with a bias and a PReLU of one slope."""

    def __init__(
        self, channels_in: int, channels_out: int, size: int, stride: int = 1, groups: int = 1
    ) -> None:
        conv = nn.Conv2d(channels_in, channels_out, size, stride, size // 2, groups=groups)
        super().__init__(conv, nn.PReLU())


class Squeeze(nn.Module):
    """Weighs each channel by what the whole map holds."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = ConvPReLU(channels, channels // SQUEEZE, 1)
        self.restore = nn.Conv2d(channels // SQUEEZE, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Weigh (B, C, H, W)."""
        means = maps.mean(dim=(2, 3), keepdim=True)
        return maps * torch.sigmoid(self.restore(self.reduce(means)))


class Block(nn.Module):
    """An inverted residual with a squeeze."""

    def __init__(self, channels_in: int, inner: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.expand = ConvPReLU(channels_in, inner, 1)
        self.depthwise = ConvPReLU(inner, inner, 3, stride, inner)
        self.project = nn.Conv2d(inner, channels_out, 1)
        self.squeeze = Squeeze(channels_out)
        self.is_residual = stride == 1 and channels_in == channels_out

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, in, H, W) to (B, out, H / stride, W / stride)."""
        found: Tensor = self.squeeze(self.project(self.depthwise(self.expand(maps))))
        return maps + found if self.is_residual else found


class FaceReidNetwork(nn.Module):
    """Maps BGR faces to embeddings of any length.

    Its parameters are declared in the order in which the released graph uses its constants.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3, 1, 1))
        self.shift = nn.Parameter(torch.zeros(3, 1, 1))
        self.stem = nn.Sequential(ConvPReLU(3, 64, 3, 2), ConvPReLU(64, 64, 3, groups=64))
        self.blocks = nn.Sequential(*(Block(*sizes) for sizes in BLOCKS))
        self.widen = ConvPReLU(BLOCKS[-1][2], HEAD, 1)
        self.gather = nn.Conv2d(HEAD, HEAD, 8, groups=HEAD)
        self.embed = nn.Conv2d(HEAD, EMBEDDING, 1, bias=False)

    def forward(self, faces: Tensor) -> Tensor:
        """Map (B, 3, 128, 128) BGR, values in [0, 255], to (B, C)."""
        maps = self.blocks(self.stem(faces * self.scale + self.shift))
        found: Tensor = self.embed(self.gather(self.widen(maps)))
        return found.flatten(1)


class FaceReid:
    """Embeds faces with the released weights.

    Args:
        network: With weights.
        weights: The file that they were read from.
        device: Where it runs.
    """

    name = "face_reid"
    threshold = THRESHOLD

    def __init__(
        self, network: FaceReidNetwork, weights: WeightsFile | None = None, device: str = "cpu"
    ) -> None:
        self.weights = weights
        self._device = device
        network = network.eval().requires_grad_(False).to(device)
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map aligned RGB crops (N, 128, 128, 3) to unit vectors (N, 256)."""
        found = [torch.zeros(0, EMBEDDING)]
        for start in range(0, len(crops), AT_ONCE):
            images = send(crops[start : start + AT_ONCE], torch.device(self._device))
            bgr = images.flip(3).permute(0, 3, 1, 2).float()  # stays channels_last in memory
            found.append(nn.functional.normalize(self._network(bgr)).cpu())
        return np.asarray(torch.cat(found).numpy(), np.float32)


def build(raw: RawWeights) -> FaceReidNetwork:
    """Return the network with the constants of the released files.

    Raises:
        UserError: The files are damaged or another network's.
    """
    network = FaceReidNetwork()
    constants = read_constants(raw)
    own = network.state_dict()
    if len(constants) != len(own):
        raise UserError(
            f"expected a graph of {len(own)} constants for {FaceReid.name}, {raw.file.path} has "
            f"{len(constants)}; download both files again"
        )
    state = {}
    for (name, parameter), constant in zip(own.items(), constants, strict=True):
        kind = _reader_of(network, name)
        squeezed = [side for side in constant.values.shape if side != 1]
        if constant.reader != kind or squeezed != [side for side in parameter.shape if side != 1]:
            raise UserError(
                f"expected {kind} with {tuple(parameter.shape)} for {name} of {FaceReid.name}, "
                f"{raw.file.path} has {constant.reader} with {tuple(constant.values.shape)}; "
                "download both files again"
            )
        state[name] = constant.values.reshape(parameter.shape)
    network.load_state_dict(state)
    return network


def _reader_of(network: FaceReidNetwork, name: str) -> str:
    """Return the type of layer that reads a parameter in the released graph."""
    owner, _, part = name.rpartition(".")
    module = network.get_submodule(owner)
    if isinstance(module, nn.PReLU):
        return "PReLU"
    if part == "scale":
        return "Multiply"
    if part in ("bias", "shift"):
        return "Add"
    assert isinstance(module, nn.Conv2d)
    return "Convolution" if module.groups == 1 else "GroupConvolution"


def load(weights: RawWeights, device: str) -> FaceReid:
    """Return the embedder."""
    return FaceReid(build(weights), weights.file, device)
