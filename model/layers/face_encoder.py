"""The base class of visual encoders, which may run in lower precision, and their preprocessing."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

FACE_MEAN = 0.4161  # of the AVA face crops, for grey levels in [0, 1]
FACE_STD = 0.1688


class FaceEncoder(nn.Module, ABC):
    """The part of a network that maps face crops to one embedding per frame.

    It takes nearly all of the time, so it is the part that runs in bf16 on request: its
    convolutions may have another dtype than the rest of the network; its output is float32.
    """

    radius: ClassVar[int]  # frames on either side that an embedding depends on

    @abstractmethod
    def forward(self, faces: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Map grey faces (B, T, H, W) in [0, 255] to float32 embeddings (B, stop - start, C)."""


def normalise_faces(faces: Tensor, dtype: torch.dtype) -> Tensor:
    """Map grey levels in [0, 255], uint8 or float, to normalised values."""
    return faces.float().sub(255 * FACE_MEAN).div_(255 * FACE_STD).to(dtype)


def temporal_pads(
    length: int, start: int, stop: int | None, reaches: Sequence[int]
) -> tuple[int, int, list[tuple[int, int]]]:
    """Plan the padding of a chain of temporal convolutions that gives frames [start, stop).

    Args:
        length: Frames of the whole sequence.
        start: First frame of the output.
        stop: Frame after the last one; None for the whole sequence, which reads no length, so
            that the padding is the same for all lengths when a network is exported.
        reaches: Radius of each convolution in frames, first to last.

    Returns:
        First and stop frame of the input, and for each convolution the number of frames of zeros
        before and after: none where there are real frames.
    """
    pads = []
    after = 0 if stop is None else length - stop  # frames of the sequence after the output
    for reach in reversed(reaches):
        pads.append((max(0, reach - start), max(0, reach - after)))
        start, after = max(0, start - reach), max(0, after - reach)
    return start, length - after, pads[::-1]
