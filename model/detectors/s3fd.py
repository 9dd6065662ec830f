"""S3FD, after "S3FD: Single Shot Scale-invariant Face Detector" (Zhang et al., ICCV 2017).

Reads both common weights files: TalkNet's `sfd_face.pth` and that of the package face-alignment.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model.checkpoints.files import read_weights
from model.checkpoints.registry import RawWeights
from model.contract import WeightsFile
from model.devices import send
from model.layers.nms import suppress
from utils.errors import UserError
from utils.model_options import DetectorOptions
from utils.structures import Detections

MEAN = (123.0, 117.0, 104.0)  # RGB, subtracted from the images
STEPS = (4, 8, 16, 32, 64, 128)  # pixels between the cells of each level
SMALLEST_IMAGE = 32  # pixels; below it the deepest maps would be empty
CONFIDENCE = 0.9  # published setting
CPU_PIXELS, GPU_PIXELS = 120_000, 4_000_000  # per forward pass; fits a CPU's cache, fills a GPU
WEAKEST = 0.05  # confidence below which a box is ignored
MOST_CANDIDATES, MOST_FACES = 5000, 750
OVERLAP, FINAL_OVERLAP = 0.3, 0.1  # IoU above which the weaker of two boxes is dropped

# Published module name -> ours, for each of the two files; TalkNet's first.
TALKNET_NAMES = {
    **{"vgg": "trunk", "extras": "extras", "loc": "loc", "conf": "conf"},
    **{f"L2Norm{i + 3}_3": f"norms.{i}" for i in range(3)},
}
FACE_ALIGNMENT_NAMES = {
    **{
        f"conv{block}_{i}": f"trunk.{first + 2 * (i - 1)}"
        for block, (first, repeats) in enumerate(((0, 2), (5, 2), (10, 3), (17, 3), (24, 3)), 1)
        for i in range(1, repeats + 1)
    },
    **{"fc6": "trunk.31", "fc7": "trunk.33"},
    **{"conv6_1": "extras.0", "conv6_2": "extras.1", "conv7_1": "extras.2", "conv7_2": "extras.3"},
    **{f"conv{i + 3}_3_norm": f"norms.{i}" for i in range(3)},
    **{
        f"{level if level == 'fc7' else 'conv' + level}_mbox_{kind}": f"{kind}.{i}"
        for i, level in enumerate(("3_3_norm", "4_3_norm", "5_3_norm", "fc7", "6_2", "7_2"))
        for kind in ("loc", "conf")
    },
}


class ChannelNorm(nn.Module):
    """Normalise the channels at each position to length 1, then scale by a learned weight."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        length: Tensor = torch.linalg.vector_norm(maps, dim=1, keepdim=True) + 1e-10
        return maps / length * self.weight.view(1, -1, 1, 1)


class S3fdNetwork(nn.Module):
    """VGG16 with six heads, at 4 to 128 pixels per cell.

    Args:
        published: The layout of TalkNet's file; else that of face-alignment's, which rounds the
            third pooling down and widens the map of the fourth head by two cells on each side.
    """

    def __init__(self, published: bool = True) -> None:
        super().__init__()
        self.published = published
        self.trunk = nn.ModuleList()
        for out, inner, repeats in ((64, 3, 2), (128, 64, 2), (256, 128, 3), (512, 256, 3)):
            self._add_block(out, inner, repeats, ceil=published and out == 256)
        self._add_block(512, 512, 3)
        padding, dilation = (6, 6) if published else (3, 1)
        widened = nn.Conv2d(512, 1024, 3, padding=padding, dilation=dilation)
        self.trunk.extend([widened, nn.ReLU(inplace=True)])
        self.trunk.extend([nn.Conv2d(1024, 1024, 1), nn.ReLU(inplace=True)])
        self.norms = nn.ModuleList(ChannelNorm(channels) for channels in (256, 512, 512))
        self.extras = nn.ModuleList(
            [
                nn.Conv2d(1024, 256, 1),
                nn.Conv2d(256, 512, 3, stride=2, padding=1),
                nn.Conv2d(512, 128, 1),
                nn.Conv2d(128, 256, 3, stride=2, padding=1),
            ]
        )
        channels = (256, 512, 512, 1024, 512, 256)
        self.loc = nn.ModuleList(nn.Conv2d(c, 4, 3, padding=1) for c in channels)
        self.conf = nn.ModuleList(
            nn.Conv2d(c, 2 if level else 4, 3, padding=1) for level, c in enumerate(channels)
        )

    def _add_block(self, out: int, inner: int, repeats: int, ceil: bool = False) -> None:
        for index in range(repeats):
            self.trunk.append(nn.Conv2d(out if index else inner, out, 3, padding=1))
            self.trunk.append(nn.ReLU(inplace=True))
        self.trunk.append(nn.MaxPool2d(2, ceil_mode=ceil))

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Map (B, 3, H, W) to each level's raw (B, 4, h, w) places and (B, 2 or 4, h, w) logits.

        The trunk may have lower precision than the heads; its maps are then converted.
        """
        features = images
        precision = self.norms[0].weight.dtype
        assert isinstance(precision, torch.dtype)
        maps: list[Tensor] = []
        for index, layer in enumerate(self.trunk):
            features = layer(features)
            if index in (15, 22, 29):
                maps.append(self.norms[len(maps)](features.to(precision)))
        maps.append(features.to(precision))
        for index, layer in enumerate(self.extras):
            features = functional.relu(layer(features), inplace=True)
            if index in (1, 3):
                maps.append(features.to(precision))
        return [
            (loc(level), conf(level))
            for loc, conf, level in zip(self.loc, self.conf, maps, strict=True)
        ]


def build(state: Mapping[str, Tensor]) -> S3fdNetwork:
    """Return the network of a weights file, recognised by its keys, with these weights.

    It always reads RGB: the channels of face-alignment's first filters, trained on BGR, are
    reversed.
    """
    published = "vgg.0.weight" in state
    if not published and "conv1_1.weight" not in state:
        raise UserError(
            "expected S3FD weights (keys like 'vgg.0.weight' or 'conv1_1.weight'), "
            f"found keys like {next(iter(state), None)!r}; is this another network's file?"
        )
    network = S3fdNetwork(published)
    names = TALKNET_NAMES if published else FACE_ALIGNMENT_NAMES
    ours: dict[str, Tensor] = {}
    for key, tensor in state.items():
        module, _, rest = key.partition(".")
        ours[f"{names.get(module, module)}.{rest}"] = tensor
    if not published:
        ours["trunk.0.weight"] = ours["trunk.0.weight"].flip(1)
    try:
        network.load_state_dict(ours)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"these are not complete S3FD weights: {reason}") from error
    return network


@lru_cache(maxsize=16)
def make_priors(sizes: tuple[tuple[int, int], ...]) -> Tensor:
    """Return the (N, 3) centre x, y and side of every cell's square, in pixels, row by row.

    Args:
        sizes: (h, w) of the six maps. The result is cached and must not be changed.
    """
    levels = []
    for step, (height, width) in zip(STEPS, sizes, strict=True):
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        centres = (torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5) * step
        levels.append(torch.cat([centres, torch.full((len(centres), 1), 4.0 * step)], dim=1))
    return torch.cat(levels)


def flatten(levels: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Join the levels: places (B, N, 4) and confidences (B, N), cells row by row."""
    places, confidences = [], []
    for loc, conf in levels:
        places.append(loc.permute(0, 2, 3, 1).flatten(1, 2))
        background = conf[:, :-1].amax(dim=1)  # level 0 has three kinds; the most likely counts
        confidences.append(torch.sigmoid((conf[:, -1] - background).float()).flatten(1))
    return torch.cat(places, dim=1), torch.cat(confidences, dim=1)


def decode(places: Tensor, priors: Tensor) -> Tensor:
    """Convert (N, 4) places, relative to their priors, to (N, 4) corners in pixels."""
    side = priors[:, 2:]
    centres = priors[:, :2] + places[:, :2] * 0.1 * side
    halves = side * torch.exp(places[:, 2:] * 0.2) / 2
    return torch.cat([centres - halves, centres + halves], dim=1)


def choose(places: Tensor, confidences: Tensor, priors: Tensor, threshold: float) -> Detections:
    """Return an image's boxes above a confidence, strongest first, after the network's own NMS.

    The published code decodes and suppresses all boxes above 0.05, then applies the threshold. A
    weak box never removes a stronger one, so starting at the threshold gives the same boxes.

    Args:
        places: (N, 4) relative to the priors, on the CPU.
        confidences: (N,).
        priors: (N, 3) from `make_priors`.
        threshold: Boxes at or below it, or below 0.05, are dropped.
    """
    found = torch.nonzero(confidences > max(threshold, WEAKEST)).squeeze(1)
    strengths, order = confidences[found].sort(descending=True, stable=True)
    found, strengths = found[order[:MOST_CANDIDATES]], strengths[:MOST_CANDIDATES]
    boxes = decode(places[found], priors[found]).float().numpy()
    kept = suppress(boxes, np.arange(len(boxes)), OVERLAP, MOST_FACES)
    return Detections(boxes[kept], strengths.float().numpy()[kept])


class S3fd:
    """Finds faces with S3FD at a fraction of the video's size."""

    name = "s3fd"

    def __init__(
        self,
        network: S3fdNetwork,
        weights: WeightsFile | None = None,
        scale: float = 1.0,
        confidence: float = CONFIDENCE,
        pixels: int = CPU_PIXELS,
    ) -> None:
        """Take a network; a forward pass has at most `pixels` pixels, but at least one image."""
        self.network = network.eval()
        self.weights = weights
        self._scale, self._confidence, self._pixels = scale, confidence, pixels

    def image_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the video's own size: `prepare` does the published bilinear scaling."""
        return width, height

    def prepare(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Scale RGB images of one size, subtract the mean and stack them: (B, 3, H, W)."""
        device = next(self.network.parameters()).device
        scale = max(self._scale, 0.51 / min(images[0].shape[:2]))  # at least one pixel
        small = [cv2.resize(image, None, fx=scale, fy=scale) for image in images]
        stacked = send(np.stack(small), device)
        centred = stacked.float() - torch.tensor(MEAN, device=device)
        return centred.permute(0, 3, 1, 2)

    @torch.inference_mode()
    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Find the faces in RGB images (h, w, 3) of one size; boxes are in their pixels."""
        found: list[Detections] = []
        num_pixels = images[0][..., 0].size * self._scale**2 if images else 1
        batch = max(int(self._pixels / num_pixels), 1)
        for start in range(0, len(images), batch):
            inputs = self.prepare(images[start : start + batch])
            height, width = inputs.shape[2:]
            sides = np.divide(images[0].shape[1::-1], (width, height))
            to_image = np.tile(sides, 2).astype(np.float32)
            padding = [0, max(SMALLEST_IMAGE - width, 0), 0, max(SMALLEST_IMAGE - height, 0)]
            inputs = functional.pad(inputs, padding)
            levels = self.network(inputs.to(next(self.network.trunk.parameters()).dtype))
            priors = make_priors(tuple(loc.shape[2:] for loc, _ in levels))
            # Chosen on the CPU: on a GPU, each image would wait three times for the device.
            places, confidences = (found_in.cpu() for found_in in flatten(levels))
            for image_places, image_confidences in zip(places, confidences, strict=True):
                chosen = choose(image_places, image_confidences, priors, self._confidence)
                kept = suppress(chosen.boxes, np.arange(len(chosen)), FINAL_OVERLAP)
                found.append(Detections(chosen.boxes[kept] * to_image, chosen.confidences[kept]))
        return found


def load(weights: RawWeights, options: DetectorOptions, device: str, precision: str) -> S3fd:
    """Return the detector; with bf16, NMS may keep another of two equally confident boxes."""
    network = prepare_network(build(read_weights(weights).state), device, precision)
    confidence = CONFIDENCE if options.confidence is None else options.confidence
    pixels = CPU_PIXELS if device == "cpu" else GPU_PIXELS
    return S3fd(network, weights.file, options.facedet_scale, confidence, pixels)


def prepare_network(network: S3fdNetwork, device: str, precision: str) -> S3fdNetwork:
    """Move a network to a device, and set its memory layout and precision (fp32 or bf16)."""
    network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if precision == "bf16":
        network.trunk.bfloat16()
        network.extras.bfloat16()
    return network
