"""The audio CRNN of TragicTalkers: detects speech and its position across the view.

After D. Berghi, P. J. B. Jackson, "Leveraging Visual Supervision for Array-Based Active Speaker
Detection and Localization", TASLP 2024, section III.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.contract import Localizer, Recipe
from model.layers.folding import Foldable
from utils.errors import UserError

Pooling = Literal["avg", "max"]


class ConvBlock(Foldable):
    """Two convolutions and a pooling that halves time and frequency."""

    folds: ClassVar[tuple[tuple[str, str], ...]] = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, channels_in: int, channels_out: int, pooling: Pooling) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.pooling: Pooling = pooling

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, in, L, F) to (B, out, L / 2, F / 2)."""
        image = functional.relu(self.bn1(self.conv1(image)), inplace=True)
        image = functional.relu(self.bn2(self.conv2(image)), inplace=True)
        if self.pooling == "max":
            return functional.max_pool2d(image, 2)
        return functional.avg_pool2d(image, 2)


class TragicCRNN(Localizer):
    """Four convolution blocks, a GRU over time, and two outputs per frame.

    Args:
        pooling: Pooling over time and frequency; "avg" as in the published weights, or "max".
        width: Channels of the first block; the others have 2, 4 and 8 times as many. 64 is
            the published network.
    """

    # Kept: the published learning rate schedule is `learning_rate` in model/arrays/objective.py.
    recipe = Recipe(lr=1e-4, lr_decay=1.0, max_epoch=50, batch_size=32)
    names: ClassVar[tuple[str, ...]] = (
        "conv_block1",
        "conv_block2",
        "conv_block3",
        "conv_block4",
        "gru_block",
        "fc1",
        "fc2",
    )
    released_names: ClassVar[Mapping[str, str]] = {f"{name}.": f"{name}." for name in names}

    def __init__(self, pooling: Pooling = "avg", width: int = 64) -> None:
        super().__init__()
        if pooling not in ("avg", "max"):
            raise UserError(f"expected a pooling of avg or max, got {pooling!r}")
        if width < 1:
            raise UserError(f"expected a width of at least 1, got {width}")
        self.pooling: Pooling = pooling
        self.conv_block1 = ConvBlock(self.num_microphones, width, pooling)
        self.conv_block2 = ConvBlock(width, 2 * width, pooling)
        self.conv_block3 = ConvBlock(2 * width, 4 * width, pooling)
        self.conv_block4 = ConvBlock(4 * width, 8 * width, pooling)
        self.gru_block = nn.GRU(
            8 * width, 4 * width, num_layers=2, batch_first=True, bidirectional=True
        )
        self.fc1 = nn.Linear(8 * width, 32)
        self.fc2 = nn.Linear(32 + self.num_cameras, 2)

    @classmethod
    def variant_of(cls, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the width of a checkpoint; its pooling is not visible in the weights."""
        first = state_dict.get("conv_block1.conv1.weight")
        return {} if first is None else {"width": first.shape[0]}

    def encode(self, features: Tensor) -> Tensor:
        """Map scaled features (B, M, 16 T, 64) to (B, T, 32)."""
        return self.fc1(self.gru_block(self.convolve(features))[0])  # type: ignore[no-any-return]

    def convolve(self, features: Tensor) -> Tensor:
        """Map scaled features (B, M, 16 T, 64) to the input of the GRU, (B, T, 8 width)."""
        image = features.contiguous(memory_format=torch.channels_last)
        for block in (self.conv_block1, self.conv_block2, self.conv_block3, self.conv_block4):
            image = block(image)  # at last (B, 8 width, T, 4)
        pooled = image.amax(3) if self.pooling == "max" else image.mean(3)
        return pooled.transpose(1, 2)

    def locate(self, encoded: Tensor, cameras: Tensor) -> Tensor:
        """Map (B, T, 32) and cameras (B,) to positions and confidences (B, T, 2)."""
        seen_by = functional.one_hot(cameras.long(), self.num_cameras).to(encoded.dtype)
        seen_by = seen_by[:, None].expand(-1, encoded.shape[1], -1)
        return torch.sigmoid(self.fc2(torch.cat((encoded, seen_by), dim=2)))
