"""What a face detector without anchors should say, and how far it is from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from model.detectors.tiny_fcos import STRIDES, decode
from utils.datasets.face_pictures.images import AnnotatedImage

# Sizes of the faces that each level finds, square root of the area in pixels. They overlap, so
# that a face between two levels is found by either.
SIZES = ((0.0, 48.0), (32.0, 112.0), (80.0, 1e6))
MIDDLE = 0.2  # a cell finds a face if it lies so near to its middle, as a share of its sides,
NEAREST = 0.75  # or so many cells
BOX_WEIGHT = 2.0


@dataclass(frozen=True, eq=False)
class Targets:
    """What every cell of a batch should say."""

    boxes: Tensor  # (B, N, 4) the face to find; anything where there is none
    positive: Tensor  # (B, N) bool, a face is to be found
    counted: Tensor  # (B, N) bool, it matters what is said here


def stack(annotated: Sequence[AnnotatedImage]) -> tuple[Tensor, Tensor, Tensor]:
    """Return images (B, 3, H, W) uint8, boxes (B, M, 4), and (B, M) which are clear.

    Boxes are filled up with empty ones far away.
    """
    images = torch.from_numpy(np.stack([one.image for one in annotated])).permute(0, 3, 1, 2)
    most = max(1, *(len(one.boxes) for one in annotated))
    boxes = torch.full((len(annotated), most, 4), -1e6)
    clear = torch.zeros((len(annotated), most), dtype=torch.bool)
    for row, one in enumerate(annotated):
        boxes[row, : len(one.boxes)] = torch.from_numpy(one.boxes)
        clear[row, : len(one.boxes)] = torch.from_numpy(one.clear)
    return images, boxes, clear


def assign(places: Tensor, boxes: Tensor, clear: Tensor) -> Targets:
    """Share the faces out among cells (N, 3): to those of their size around their middle.

    Cells at the middle of a face of another level's size, or anywhere in one that may or may not
    be found, do not count. Of two faces a cell finds the smaller one.
    """
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2  # (B, M, 2)
    sides = boxes[..., 2:] - boxes[..., :2]
    size = sides.prod(dim=-1).clamp(min=0).sqrt()[:, None]  # (B, 1, M)
    stride = places[None, :, 2, None]  # (1, N, 1)
    offset = (places[None, :, None, :2] - centres[:, None]).abs()  # (B, N, M, 2)
    reach = torch.maximum(MIDDLE * sides[:, None], NEAREST * stride[..., None])
    near = (offset <= reach).all(dim=-1)
    inside = (offset <= torch.maximum(sides[:, None] / 2, stride[..., None] / 2)).all(dim=-1)
    sizes = {float(stride): limits for stride, limits in zip(STRIDES, SIZES, strict=True)}
    limits = torch.tensor([sizes[value] for value in places[:, 2].tolist()])  # (N, 2)
    fits = (size >= limits[None, :, :1]) & (size < limits[None, :, 1:])
    wanted = clear[:, None]
    found = near & fits & wanted
    ignored = (near & wanted & ~fits) | (inside & ~wanted)
    positive = found.any(dim=-1)
    nearest = torch.where(found, size, torch.inf).argmin(dim=-1)  # (B, N)
    chosen = boxes.gather(1, nearest[..., None].expand(-1, -1, 4))
    return Targets(chosen, positive, positive | ~ignored.any(dim=-1))


def detection_loss(
    logits: Tensor, distances: Tensor, places: Tensor, targets: Targets
) -> tuple[Tensor, Tensor]:
    """Return what is wrong with the certainties and with the boxes, for each face to be found.

    A cell's certainty should be (1 + IoU of its box) / 2, after the quality focal loss of
    Li et al. (2020), so that of many boxes the best one is the strongest.
    """
    positive = targets.positive
    number = positive.sum().clamp(min=1)
    boxes = decode(distances, places)[positive]
    overlap, generalised = box_overlaps(boxes, targets.boxes[positive])
    wanted = torch.zeros_like(logits)
    wanted[positive] = (1 + overlap.detach()) / 2
    distance = (torch.sigmoid(logits) - wanted).square()
    wrong = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    score_loss = (wrong * distance)[targets.counted].sum() / number
    return score_loss, BOX_WEIGHT * (1 - generalised).sum() / number


def box_overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return IoU and generalised IoU (Rezatofighi et al., 2019) of boxes (N, 4), pair by pair."""
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    areas = (a[:, 2:] - a[:, :2]).prod(dim=1) + (b[:, 2:] - b[:, :2]).prod(dim=1)
    union = areas - shared.prod(dim=1)
    overlap = shared.prod(dim=1) / union
    return overlap, overlap - 1 + union / hull.prod(dim=1)
