"""What looks at faces: common normalisation and the promise that lets it run in lower precision."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

FACE_MEAN = 0.4161  # of the AVA face crops, for grey levels in [0, 1]
FACE_STD = 0.1688


class FaceEncoder(nn.Module, ABC):
    """The part of a network that maps face crops to one embedding a frame.

    It holds nearly all of the cost, so it is what runs in bf16 when asked: its convolutions may
    have another dtype than the rest of the network; its output is float32 whatever they have.
    """

    radius: ClassVar[int]  # frames on either side that an embedding depends on

    @abstractmethod
    def forward(self, faces: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Map grey faces (B, T, H, W) in [0, 255] to float32 embeddings (B, stop - start, C)."""


def normalise_faces(faces: Tensor, dtype: torch.dtype) -> Tensor:
    """Map grey levels in [0, 255], uint8 or float, to the units that the networks read."""
    return faces.float().sub(255 * FACE_MEAN).div_(255 * FACE_STD).to(dtype)


def temporal_pads(
    length: int, start: int, stop: int, reaches: Sequence[int]
) -> tuple[int, int, list[tuple[int, int]]]:
    """Plan a chain of temporal convolutions that gives frames [start, stop) and nothing more.

    Args:
        length: Frames of the whole sequence.
        start: First frame wanted.
        stop: Frame after the last one wanted.
        reaches: Frames that each convolution reads to either side, first to last.

    Returns:
        The range of frames to begin with, and for each convolution how many frames of zeros to
        put before and after: none where real frames are there to read.
    """
    pads = []
    for reach in reversed(reaches):
        pads.append((max(0, reach - start), max(0, stop + reach - length)))
        start, stop = max(0, start - reach), min(length, stop + reach)
    return start, stop, pads[::-1]
