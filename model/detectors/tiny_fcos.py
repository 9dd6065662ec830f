"""A small face detector without anchors, after FCOS (Tian et al., 2019), trained by this project.

Each cell of three grids (8, 16 and 32 pixels wide) predicts the confidence that it is at the centre
of a face, and the distances to the four sides of that face. docs/notes/tiny_fcos.md describes the
training.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model.checkpoints.files import load_bundled
from model.checkpoints.registry import RawWeights
from model.contract import WeightsFile
from model.layers.folding import Foldable, fold_norms
from model.layers.nms import suppress
from utils.boxes import iou
from utils.model_options import DetectorOptions
from utils.structures import Detections

STRIDES = (8, 16, 32)  # pixels of a cell, level by level
WIDTHS = (16, 32, 48, 64, 64)  # channels at strides 2, 4, 8, 16, 32
HEAD = 48  # channels of the head, at all levels
CONFIDENCE = 0.52
DOUBTFUL_FROM, DOUBTFUL_ABOVE = 0.67, 0.18  # of, and above, the confidence: mirror images decide
OVERLAP = 0.4  # IoU above which the weaker of two boxes is dropped
LARGE = 96.0  # pixels of a face's height from which on it also counts if half the size shows it
LONGER_SIDE = 480  # pixels
BATCH_PIXELS = 500_000  # per forward pass, so that activations stay in the cache
LOG_SIDES = (-4.0, 5.0)  # bounds of the log distances, in cells
RAREST = 0.01  # initial probability of a face in a cell


class ConvUnit(Foldable):
    """A 3 x 3 convolution, batch normalisation and, by default, a ReLU."""

    folds: ClassVar[tuple[tuple[str, str], ...]] = (("conv", "norm"),)

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, image: Tensor, active: bool = True) -> Tensor:
        """Map (B, in, H, W) to (B, out, H / stride, W / stride)."""
        image = self.norm(self.conv(image))
        return functional.relu(image, inplace=True) if active else image


class Residual(nn.Module):
    """A residual block of two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvUnit(channels, channels)
        self.second = ConvUnit(channels, channels)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return functional.relu(image + self.second(self.first(image), active=False), inplace=True)


class TinyFcosNetwork(nn.Module):
    """Maps images to confidences and distances for every cell of three grids."""

    def __init__(self) -> None:
        super().__init__()
        w2, w4, w8, w16, w32 = WIDTHS
        self.stem = ConvUnit(3, w2, 2)
        self.stage4 = nn.Sequential(ConvUnit(w2, w4, 2), Residual(w4))
        self.stage8 = nn.Sequential(ConvUnit(w4, w8, 2), Residual(w8), Residual(w8))
        self.stage16 = nn.Sequential(ConvUnit(w8, w16, 2), Residual(w16))
        self.stage32 = nn.Sequential(ConvUnit(w16, w32, 2), Residual(w32))
        self.lateral = nn.ModuleList([nn.Conv2d(width, HEAD, 1) for width in (w8, w16, w32)])
        self.smooth = ConvUnit(HEAD, HEAD)
        # The statistics of the levels differ: a shared normalisation works in training and fails in
        # evaluation.
        self.towers = nn.ModuleList([ConvUnit(HEAD, HEAD) for _ in STRIDES])
        self.score = nn.Conv2d(HEAD, 1, 1)
        self.distances = nn.Conv2d(HEAD, 4, 1)
        nn.init.constant_(self.score.bias, float(np.log(RAREST / (1 - RAREST))))  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, 3, H, W) in [0, 255], H and W multiples of 32, to logits and distances.

        Returns:
            Logits (B, N) and distances (B, N, 4) from a cell's centre to the left, top, right and
            bottom side of the face, in cells; cells level by level, row by row.
        """
        features = self.stage4(self.stem(images / 127.5 - 1))
        fine = self.stage8(features)
        middle = self.stage16(fine)
        coarse = self.stage32(middle)
        fine, middle, coarse = (
            lateral(level)
            for lateral, level in zip(self.lateral, (fine, middle, coarse), strict=True)
        )
        middle = middle + functional.interpolate(coarse, scale_factor=2.0)
        fine = self.smooth(fine + functional.interpolate(middle, scale_factor=2.0))
        logits, distances = [], []
        for tower, level in zip(self.towers, (fine, middle, coarse), strict=True):
            shared = tower(level)
            logits.append(self.score(shared).flatten(1))
            distances.append(self.distances(shared).flatten(2).transpose(1, 2))
        sides = torch.cat(distances, dim=1).float()  # half precision would round them
        return torch.cat(logits, dim=1).float(), sides.clamp(*LOG_SIDES).exp()


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # cached tensors may be used in training later
def cells(height: int, width: int) -> Tensor:
    """Return (N, 3) centre x, centre y and stride of the cells of an image, in pixels."""
    levels = []
    for stride in STRIDES:
        y, x = torch.meshgrid(
            torch.arange(height // stride), torch.arange(width // stride), indexing="ij"
        )
        centres = (torch.stack([x.flatten(), y.flatten()], dim=1) + 0.5) * stride
        levels.append(torch.cat([centres, torch.full((len(centres), 1), float(stride))], dim=1))
    return torch.cat(levels)


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def mirrored_cells(height: int, width: int) -> Tensor:
    """Return for each cell (N,) of an image the index of the corresponding cell when mirrored."""
    levels, start = [], 0
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        indices = torch.arange(start, start + rows * columns).view(rows, columns)
        levels.append(indices.flip(1).flatten())
        start += rows * columns
    return torch.cat(levels)


def mean_with_mirrored(
    network: nn.Module, inputs: Tensor, logits: Tensor, distances: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the means of a network's outputs for images and of those for their mirror images."""
    mirrored_logits, mirrored_distances = network(inputs.flip(3))
    cell = mirrored_cells(*inputs.shape[2:])
    swapped = mirrored_distances[:, cell][..., [2, 1, 0, 3]]  # left and right
    return (logits + mirrored_logits[:, cell]) / 2, (distances * swapped).sqrt()


def decode(distances: Tensor, places: Tensor) -> Tensor:
    """Convert distances (..., N, 4) in cells to corners in pixels, for cells (N, 3)."""
    reach = distances * places[:, 2:]
    return torch.cat([places[:, :2] - reach[..., :2], places[:, :2] + reach[..., 2:]], dim=-1)


class TinyFcos:
    """Finds faces with the bundled weights, on the CPU.

    Each image is also searched at half its size, where large faces are found that are missed in
    the whole: training showed few faces larger than its crops.
    """

    name = "tiny_fcos"

    def __init__(
        self,
        network: TinyFcosNetwork,
        weights: WeightsFile | None = None,
        confidence: float = CONFIDENCE,
        longer_side: int = LONGER_SIDE,
    ) -> None:
        """Take a network and fold its normalisations, in place."""
        self.weights = weights
        self._confidence, self._longer_side = confidence, longer_side
        fold_norms(network.eval())
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def image_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size with `longer_side` pixels on its longer side."""
        scale = self._longer_side / max(width, height)
        return max(round(width * scale), 1), max(round(height * scale), 1)

    @torch.inference_mode()
    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Find the faces in RGB images (h, w, 3) of one size; boxes are in their pixels."""
        found: list[Detections] = []
        if not images:
            return found
        batch = max(1, BATCH_PIXELS // images[0][..., 0].size)
        for start in range(0, len(images), batch):
            found += self._detect_batch(images[start : start + batch])
        return found

    def _detect_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        inputs = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
        halves = functional.avg_pool2d(inputs, 2, ceil_mode=True)  # stays channels_last in memory
        found = []
        for fine, half in zip(self._look(inputs), self._look(halves), strict=True):
            found.append(add_large(fine, Detections(2 * half.boxes, half.confidences)))
        return found

    def _look(self, images: Tensor) -> list[Detections]:
        """Find the faces of images (B, 3, h, w) at one scale.

        Where a face is doubtful, the mean over the image and its mirror image decides: this halves
        the false detections at the same recall.
        """
        inputs = pad(images)
        logits, distances = self._network(inputs)
        places = cells(*inputs.shape[2:])
        found = faces_of(logits, distances, places, DOUBTFUL_FROM * self._confidence)
        sure = self._confidence + DOUBTFUL_ABOVE
        doubtful = [n for n, one in enumerate(found) if (one.confidences < sure).any()]
        if doubtful:
            outputs = mean_with_mirrored(
                self._network, inputs[doubtful], logits[doubtful], distances[doubtful]
            )
            checked = faces_of(*outputs, places, self._confidence)
            for n, one in zip(doubtful, checked, strict=True):
                found[n] = one
        return found


def faces_of(
    logits: Tensor, distances: Tensor, places: Tensor, confidence: float
) -> list[Detections]:
    """Return the faces of images, given the network's outputs for them.

    Args:
        logits: (B, N), of all cells.
        distances: (B, N, 4).
        places: (N, 3), from `cells`.
        confidence: The lowest of a face.
    """
    found = []
    for one, reach in zip(torch.sigmoid(logits), distances, strict=True):
        strong = torch.nonzero(one >= confidence).squeeze(1)
        boxes = decode(reach[strong], places[strong])
        found.append(strongest(Detections(boxes.numpy(), one[strong].numpy())))
    return found


def strongest(found: Detections) -> Detections:
    """Return detections from the strongest to the weakest, one for each face."""
    order = np.argsort(-found.confidences, kind="stable")
    kept = order[suppress(found.boxes[order], np.arange(len(order)), OVERLAP)]
    return Detections(found.boxes[kept], found.confidences[kept])


def add_large(fine: Detections, coarse: Detections) -> Detections:
    """Return detections with the large faces that are found at half the size alone.

    Args:
        fine: Found in the image.
        coarse: Found in the image at half the size, in pixels of the whole one.
    """
    is_large = coarse.boxes[:, 3] - coarse.boxes[:, 1] >= LARGE
    overlap = iou(coarse.boxes[:, None], fine.boxes[None]).max(axis=1, initial=0)
    added = is_large & (overlap <= OVERLAP)
    boxes = np.concatenate([fine.boxes, coarse.boxes[added]])
    return strongest(
        Detections(boxes, np.concatenate([fine.confidences, coarse.confidences[added]]))
    )


def pad(images: Tensor) -> Tensor:
    """Return images (B, 3, h, w) as (B, 3, H, W), grey added below and right."""
    height, width = images.shape[2:]
    below, right = -height % STRIDES[-1], -width % STRIDES[-1]
    return functional.pad(images, (0, right, 0, below), value=127.5)


def load(weights: RawWeights, options: DetectorOptions, device: str, precision: str) -> TinyFcos:  # noqa: ARG001
    """Return the detector; it always runs on the CPU in fp32.

    Raises:
        UserError: The weights are not those of this network; the message names the file.
    """
    network = TinyFcosNetwork()
    load_bundled(network, weights, TinyFcos.name)
    confidence = CONFIDENCE if options.confidence is None else options.confidence
    return TinyFcos(network, weights.file, confidence)
