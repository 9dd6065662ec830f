"""What networks and a face detector promise to the rest of the project.

A network is one of three kinds, by what it reads to score a face:

- `Network`: the face's whole sequence. `num_speakers` above 1: beside other faces of the shot.
- `ClipNetwork`: a clip of a few frames around the scored one.
- `ContextNetwork`: what a clip network made of the face and of the others beside it.

A `Localizer` sees no faces at all: it hears with an array of microphones where somebody speaks.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from utils.errors import UserError
from utils.structures import ClipSpec, ContextSpec, Detections, InputSpec


@dataclass(frozen=True)
class Logits:
    """What a network says: (..., 2), index 1 is speaking; heads of one modality may be absent."""

    av: Tensor  # (B, T, 2)
    audio: Tensor | None = None  # (B, T, 2)
    visual: Tensor | None = None  # (B, T, 2)
    embedding: Tensor | None = None  # (B, T, C), what a context network reads


@dataclass(frozen=True)
class Recipe:
    """How the authors train a network; what the common engine needs to know of it."""

    optimiser: str = "adam"  # adam | adamw | sgd
    lr: float = 1e-4
    lr_decay: float = 0.95  # the rate is multiplied by it after every `decay_every` epochs
    weight_decay: float = 0.0
    max_epoch: int = 25
    batch_size: int = 2500  # frames; clips or contexts for networks that read those
    loss_weights: Mapping[str, float] = field(default_factory=dict)  # by field of Logits
    temperature: float = 1.0  # r of the first epoch; logits are divided by it
    temperature_step: float = 0.0  # added to r with each epoch
    decay_every: int = 1  # epochs
    update_decay: float = 0.0  # the rate of update u is also divided by 1 + u times this
    nesterov: bool = False  # of sgd, whose momentum is 0.9
    max_clip: int = 0  # frames of a clip at most; 0 is those of a batch
    jitter: Literal["clip", "frame"] = "clip"  # colours of clips change as a whole or by frames


@dataclass(frozen=True)
class WeightsFile:
    """Where loaded weights came from."""

    name: str  # table of pretrain/weights.toml, or the file's stem
    path: Path
    sha256: str


class Model(nn.Module, ABC):
    """What all kinds of networks have in common."""

    recipe: Recipe = Recipe()
    released_names: ClassVar[Mapping[str, str]]  # published key prefix -> our key prefix
    released_unused: ClassVar[frozenset[str]] = frozenset()  # published keys without any effect
    initial: ClassVar[str] = ""  # weights.toml's table of what its authors' training begins from
    family: str  # module in model/families that scores, trains and evaluates such networks
    weights: WeightsFile | None = None
    variant: Mapping[str, Any] = MappingProxyType({})  # what its constructor was given

    def begin_from(self, state_dict: Mapping[str, Tensor]) -> None:  # noqa: ARG002
        """Put the weights that `initial` names, or others of that kind, where they belong.

        Raises:
            UserError: They do not fit; names what.
        """
        raise UserError(
            f"{type(self).__name__} begins at random; weights of its own are for --pretrainModel"
        )

    def penalty(self) -> Tensor | None:
        """Return what the recipe adds to the loss of every frame, if anything."""
        return None

    @classmethod
    def variant_of(cls, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:  # noqa: ARG003
        """Return the constructor's arguments for which a checkpoint fits, as far as it shows.

        Args:
            state_dict: Weights under published names or the network's own.
        """
        return {}


class Network(Model):
    """Scores faces through time: two encoders and what joins them.

    `forward` is `fuse(encode_audio(audio), encode_faces(faces))`. Scoring calls the three parts
    by themselves so that windows can share what they have in common.
    """

    family = "sequence"
    inputs: ClassVar[InputSpec] = InputSpec()
    windows: ClassVar[tuple[int, ...]] = (1, 2, 3, 4, 5, 6)  # s, the default for scoring
    radius: ClassVar[int]  # frames on either side that a frame's visual embedding depends on
    num_speakers: int = 1  # S, faces that are compared, the scored one first

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
        """Join embeddings of both encoders, which see the whole sequence, into logits.

        Args:
            audio: (B, T, C).
            faces: (B, T, C), or (B, S, T, C) for a network that compares S speakers; the logits
                then are (B, S, T, 2).
        """

    def forward(self, audio: Tensor, faces: Tensor) -> Logits:
        """Map features (B, 4 T, F) and grey faces in [0, 255] to logits.

        Faces (B, T, H, W) give logits (B, T, 2), those of S speakers (B, S, T, H, W) give
        (B, S, T, 2).
        """
        if faces.ndim == 4:
            return self.fuse(self.encode_audio(audio), self.encode_faces(faces))
        embedded = self.encode_faces(faces.flatten(0, 1))
        embedded = embedded.view(*faces.shape[:2], *embedded.shape[1:])
        return self.fuse(self.encode_audio(audio), embedded)


class ClipNetwork(Model):
    """Scores one frame of a face by a clip around it, and describes it for a context network."""

    family = "clips"
    inputs: InputSpec
    clip: ClipSpec
    num_embedding: int  # C of `Logits.embedding`
    at_once: ClassVar[int] = 16  # clips that best pass it together on a CPU

    @abstractmethod
    def forward(self, audio: Tensor, faces: Tensor) -> Logits:
        """Map the sound and faces of B clips to the logits (B, 1, 2) of their scored frames.

        Args:
            audio: What the module `inputs.feature` of utils/features makes of each clip: (B, ...).
            faces: (B, T, H, W), or (B, T, H, W, 3) if `inputs.colour`, values in [0, 255].
        """


class ContextNetwork(Model):
    """Scores one frame of a face from what a clip network made of it and the faces beside it."""

    family = "contexts"
    encoder_name: ClassVar[str]  # the clip network in model/networks whose embeddings it reads
    context: ContextSpec
    num_embedding: int  # C that it reads

    @abstractmethod
    def forward(self, embeddings: Tensor) -> Logits:
        """Map embeddings (B, S, L, C), the scored face first, to its logits (B, 1, 2)."""


class Localizer(Model):
    """Says for each frame of a camera's view whether an array hears somebody speak, and where.

    `forward` is `locate(encode(features), cameras)`. What `encode` gives is the same for all
    cameras beside an array, so it is worked out once for all of them.
    """

    num_microphones: int = 16  # M, channels of the feature
    num_cameras: int = 11

    @abstractmethod
    def encode(self, features: Tensor) -> Tensor:
        """Map scaled features (B, M, 16 T, 64) to embeddings (B, T, C)."""

    @abstractmethod
    def locate(self, encoded: Tensor, cameras: Tensor) -> Tensor:
        """Map embeddings (B, T, C) and cameras (B,), from 0, to positions and confidences.

        They are (B, T, 2), both in [0, 1]: the position is a fraction of the view's width.
        """

    def forward(self, features: Tensor, cameras: Tensor) -> Tensor:
        """Map scaled features (B, M, 16 T, 64) and cameras (B,) to (B, T, 2)."""
        return self.locate(self.encode(features), cameras)


@dataclass(frozen=True, eq=False)
class Cascade:
    """A context network and the clip network that it builds on, as they score together."""

    family: ClassVar[str] = "contexts"
    encoder: ClipNetwork
    network: ContextNetwork


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
