"""The interfaces of networks, face detectors and face embedders.

There are three kinds of networks, which differ in what they read to score a face:

- `Network`: the whole sequence of a face, and of other faces if `num_speakers` is above 1.
- `ClipNetwork`: a clip of a few frames around the scored one.
- `ContextNetwork`: a clip network's embeddings of the face and of other faces of the shot.

A `Localizer` reads the audio of a microphone array and no faces: it finds where someone speaks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from utils.errors import UserError
from utils.structures import ClipSpec, ContextSpec, Detections, InputSpec


@dataclass(frozen=True)
class Logits:
    """A network's output: (..., 2), index 1 is speaking; heads of one modality may be absent."""

    av: Tensor  # (B, T, 2)
    audio: Tensor | None = None  # (B, T, 2)
    visual: Tensor | None = None  # (B, T, 2)
    embedding: Tensor | None = None  # (B, T, C), read by a context network
    match: Tensor | None = None  # (B, T), log-odds that the audio is this face's, up to a constant


@dataclass(frozen=True)
class Recipe:
    """How the authors train a network."""

    optimiser: str = "adam"  # adam | adamw | sgd
    lr: float = 1e-4
    lr_decay: float = 0.95  # factor of the learning rate after every `decay_every` epochs
    weight_decay: float = 0.0
    max_epoch: int = 25
    batch_size: int = 2500  # frames; clips or contexts for networks that read these
    loss_weights: Mapping[str, float] = field(default_factory=dict)  # by field of Logits
    temperature: float = 1.0  # r in the first epoch; logits are divided by it
    temperature_step: float = 0.0  # added to r with each epoch
    decay_every: int = 1  # epochs
    update_decay: float = 0.0  # the learning rate of update u is also divided by 1 + u times this
    nesterov: bool = False  # of sgd, whose momentum is 0.9
    max_clip: int = 0  # at most as many frames in a clip; 0 is batch_size
    jitter: Literal["clip", "frame"] = "clip"  # one draw of colour jitter per clip or per frame


@dataclass(frozen=True)
class WeightsFile:
    """The file that weights were read from."""

    name: str  # table in pretrain/weights.toml, or the file's stem
    path: Path
    sha256: str


class Model(nn.Module, ABC):
    """The base class of all kinds of networks."""

    recipe: Recipe = Recipe()
    released_names: ClassVar[Mapping[str, str]]  # published key prefix -> our key prefix
    released_unused: ClassVar[frozenset[str]] = frozenset()  # published keys that have no effect
    encoder_name: ClassVar[str] = ""  # the network whose embeddings it reads; most read none
    initial: ClassVar[str] = ""  # table in weights.toml; the authors start training from it
    num_speakers: int = 1  # S, faces that are compared; the scored one is the first
    family: str  # module in model/families that scores, trains and evaluates such networks
    weights: WeightsFile | None = None
    variant: Mapping[str, Any] = MappingProxyType({})  # arguments of its constructor

    @property
    def members(self) -> tuple[Model, ...]:
        """The networks that score together, the one that is asked for first."""
        return (self,)

    def begin_from(self, state_dict: Mapping[str, Tensor]) -> None:  # noqa: ARG002
        """Initialise the network, or a part of it, from weights such as `initial` names.

        Raises:
            UserError: They do not fit; says why.
        """
        raise UserError(
            f"{type(self).__name__} begins at random; weights of its own are for --pretrainModel"
        )

    def penalty(self) -> Tensor | None:
        """Return a term that is added to the loss of every frame, if the recipe has one."""
        return None

    @classmethod
    def variant_of(cls, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:  # noqa: ARG003
        """Return the constructor's arguments that fit a checkpoint, as far as its weights show.

        Args:
            state_dict: Weights under published names or the network's own.
        """
        return {}


class Network(Model):
    """Scores the sequence of a face: two encoders and a fusion of their embeddings.

    `forward` is `fuse(encode_audio(audio), encode_faces(faces))`. Scoring calls the three parts
    separately so that overlapping windows share embeddings.
    """

    family = "sequence"
    inputs: ClassVar[InputSpec] = InputSpec()
    windows: ClassVar[tuple[int, ...]] = (1, 2, 3, 4, 5, 6)  # s, default for scoring
    radius: ClassVar[int]  # frames to either side that a visual embedding depends on
    compares: ClassVar[bool] = False  # whether `compete` changes the logits of faces of one shot

    @abstractmethod
    def encode_audio(self, audio: Tensor) -> Tensor:
        """Map features (B, 4 T, F) to embeddings (B, T, C)."""

    @abstractmethod
    def encode_faces(self, faces: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Map grey faces (B, T, H, W), values in [0, 255], to embeddings (B, stop - start, C).

        Returns frames [start, stop) of the sequence; frames outside are read as context only, and
        the sequence is padded with zeros. Each embedding depends on `radius` frames to either
        side.
        """

    @abstractmethod
    def fuse(self, audio: Tensor, faces: Tensor) -> Logits:
        """Map the embeddings of both encoders for a whole sequence to logits.

        Args:
            audio: (B, T, C).
            faces: (B, T, C), or (B, S, T, C) for a network that compares S speakers; its logits
                are (B, S, T, 2).
        """

    def compete(self, logits: Tensor, match: Tensor, visible: Tensor) -> Tensor:  # noqa: ARG002
        """Return the logits of faces that are seen under the same audio, (S, T, 2).

        Args:
            logits: Of each face by itself (S, T, 2).
            match: From `fuse` (S, T).
            visible: Whether a face is seen in a frame (S, T).
        """
        return logits

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
    """Scores one frame of a face from a clip around it; embeds it for a context network."""

    family = "clips"
    inputs: InputSpec
    clip: ClipSpec
    num_embedding: int  # C of `Logits.embedding`
    at_once: ClassVar[int] = 16  # fastest number of clips in a batch on a CPU

    @abstractmethod
    def forward(self, audio: Tensor, faces: Tensor) -> Logits:
        """Map the audio and faces of B clips to the logits (B, 1, 2) of their scored frames.

        Args:
            audio: The feature `inputs.feature`, a module of utils/features, of each clip: (B, ...).
            faces: (B, T, H, W), or (B, T, H, W, 3) if `inputs.colour`, values in [0, 255].
        """


class ContextNetwork(Model):
    """Scores one frame of a face from embeddings of it and of other faces by a clip network."""

    family = "contexts"
    encoder_name: ClassVar[str]
    context: ContextSpec
    num_embedding: int  # C

    @abstractmethod
    def forward(self, embeddings: Tensor) -> Logits:
        """Map embeddings (B, S, L, C), the scored face first, to its logits (B, 1, 2)."""


class Localizer(Model):
    """Localises speech, heard by a microphone array, in each frame of a camera's view.

    `forward` is `locate(encode(features), cameras)`. The output of `encode` is shared by all
    cameras of an array.
    """

    num_microphones: int = 16  # M
    num_cameras: int = 11

    @abstractmethod
    def encode(self, features: Tensor) -> Tensor:
        """Map scaled features (B, M, 16 T, 64) to embeddings (B, T, C)."""

    @abstractmethod
    def locate(self, encoded: Tensor, cameras: Tensor) -> Tensor:
        """Map embeddings (B, T, C) and camera indices (B,) to (B, T, 2), both in [0, 1].

        The first is the position as a fraction of the view's width, the second the confidence.
        """

    def forward(self, features: Tensor, cameras: Tensor) -> Tensor:
        """Map scaled features (B, M, 16 T, 64) and cameras (B,) to (B, T, 2)."""
        return self.locate(self.encode(features), cameras)


@dataclass(frozen=True, eq=False)
class Cascade:
    """A context network and the clip network whose embeddings it reads."""

    family: ClassVar[str] = "contexts"
    encoder: ClipNetwork
    network: ContextNetwork

    @classmethod
    def of(cls, network: Model, encoder: Model) -> Cascade:
        """Join a context network to the clip network that it names in `encoder_name`.

        Raises:
            UserError: The embeddings that one gives are not those that the other reads.
        """
        cascade = cls(cast(ClipNetwork, encoder), cast(ContextNetwork, network))
        given, read = cascade.encoder.num_embedding, cascade.network.num_embedding
        if given != read:
            raise UserError(
                f"{type(network).__name__} reads {read} numbers a face, "
                f"{network.encoder_name} gives {given}; load weights that were trained together"
            )
        return cascade

    @property
    def members(self) -> tuple[Model, ...]:
        """The networks that score together, the one that is asked for first."""
        return (self.network, self.encoder)


class FaceDetector(Protocol):
    """Finds faces in images."""

    name: str
    weights: WeightsFile | None

    def image_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the (width, height) at which `detect` reads images of a video of that size."""
        ...

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Find the faces in RGB images (h, w, 3) of one size; boxes are in their pixels.

        Called by one thread, but not the one that loaded the detector.
        """
        ...


class FaceEmbedder(Protocol):
    """Turns faces into vectors whose cosines say whether they are of one person."""

    name: str
    weights: WeightsFile | None
    threshold: float  # cosine distance above which two tracks are not taken for one person

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map aligned RGB crops (N, 128, 128, 3) to vectors of unit length (N, C).

        They are aligned by utils/tracking/face_alignment.py.
        """
        ...
