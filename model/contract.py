"""What a network and a face detector promise to the rest of the project."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from utils.structures import Detections


@dataclass(frozen=True)
class InputSpec:
    """What a network reads."""

    feature: str = "mfcc"  # module of utils/features
    num_features: int = 13  # F, per step
    size: int = 112  # H = W of a face crop
    colour: bool = False


@dataclass(frozen=True)
class Logits:
    """What a network says: (..., 2), index 1 is speaking; heads of one modality may be absent."""

    av: Tensor  # (B, T, 2)
    audio: Tensor | None = None  # (B, T, 2)
    visual: Tensor | None = None  # (B, T, 2)


@dataclass(frozen=True)
class Recipe:
    """How the authors train a network; what the common engine needs to know of it."""

    optimiser: str = "adam"  # adam | adamw | sgd
    lr: float = 1e-4
    lr_decay: float = 0.95  # the rate is multiplied by it after each epoch
    weight_decay: float = 0.0
    max_epoch: int = 25
    batch_size: int = 2500  # frames
    loss: str = "cross_entropy"  # or binary_cross_entropy, of softmax(logits / r)
    loss_weights: Mapping[str, float] = field(default_factory=dict)  # by field of Logits
    temperature: float = 1.0  # r of the first epoch
    temperature_step: float = 0.0  # added to r with each epoch


@dataclass(frozen=True)
class WeightsFile:
    """Where loaded weights came from."""

    name: str  # table of pretrain/weights.toml, or the file's stem
    path: Path
    sha256: str


class Network(nn.Module, ABC):
    """Scores faces: two encoders and what joins them.

    `forward` is `fuse(encode_audio(audio), encode_faces(faces))`. Scoring calls the three parts
    by themselves so that windows can share what they have in common.
    """

    inputs: ClassVar[InputSpec] = InputSpec()
    recipe: ClassVar[Recipe] = Recipe()
    windows: ClassVar[tuple[int, ...]] = (1, 2, 3, 4, 5, 6)  # s, the default for scoring
    radius: ClassVar[int]  # frames on either side that a frame's visual embedding depends on
    released_names: ClassVar[Mapping[str, str]]  # published key prefix -> our key prefix
    released_unused: ClassVar[frozenset[str]] = frozenset()  # published keys without any effect
    weights: WeightsFile | None = None

    @abstractmethod
    def encode_audio(self, audio: Tensor) -> Tensor:
        """Map features (B, 4 T, F) to embeddings (B, T, C)."""

    @abstractmethod
    def encode_faces(self, faces: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Map grey faces (B, T, H, W), values in [0, 255], to embeddings (B, stop - start, C).

        Gives frames [start, stop) of the sequence; those outside are read only as context, and
        what lies outside the sequence counts as zero padding. Each embedding depends on
        `radius` frames to either side and no more.
        """

    @abstractmethod
    def fuse(self, audio: Tensor, faces: Tensor) -> Logits:
        """Join (B, T, C) embeddings of both encoders, which see the whole sequence, into logits."""

    def forward(self, audio: Tensor, faces: Tensor) -> Logits:
        """Map features (B, 4 T, F) and grey faces (B, T, H, W) in [0, 255] to (B, T, 2) logits."""
        return self.fuse(self.encode_audio(audio), self.encode_faces(faces))


class FaceDetector(Protocol):
    """Finds faces in single pictures."""

    name: str
    weights: WeightsFile | None

    def picture_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the (width, height) at which pictures of a video of that size are wanted."""
        ...

    def detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Find the faces of RGB pictures (h, w, 3) of one size; boxes in their pixels."""
        ...
