"""What a family, one kind of network, provides; `family_of` finds that of a network.

Each family is one module with a constant `FAMILY`. A network names its module in `family`. Scoring
needs no data sets, so a family imports what reads them only in the methods that do.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from model.checkpoints.build import load_single
from model.contract import Cascade, ClipNetwork, Logits, Model, Recipe
from model.ranks import Ranks
from model.scoring.prepared import Precision
from model.scoring.scorers import Hear, Scorer, WholeSound
from utils.errors import UserError
from utils.features import feature_function
from utils.structures import SAMPLE_RATE, InputSpec

if TYPE_CHECKING:
    from model.checkpoints.training import Settings
    from utils.datasets.loading.training_batch import TrainingLoader
    from utils.training_options import NetworkOptions, Options

logger = logging.getLogger(__name__)

AnyNetwork = TypeVar("AnyNetwork", bound=Model)
Content = TypeVar("Content")


@dataclass(frozen=True)
class ScorerInputs:
    """What a scorer works with besides its network."""

    hear: Hear  # reads the audio
    delay: int  # frames after which a piece comes at most, once it is full or its track has ended
    windows: Sequence[int] | None = None  # s, scored separately; only for sequences of one face
    precision: Precision | Literal["auto"] = "fp32"  # of the face encoder, for sequences
    whole: WholeSound | None = None  # reads all audio, for networks that need its statistics


class Forwarded(NamedTuple):
    """What a forward pass returns for training."""

    logits: Logits
    embeddings: tuple[Tensor, Tensor] | None = (
        None  # audio (B, T, C), faces (B, T, C) or (B, S, ..)
    )


class BatchShapes(NamedTuple):
    """The shapes of a batch that a network is trained on."""

    audio: tuple[int, ...]
    faces: tuple[int, ...]  # (B, ...) of images, or (B, S, L, C) of embeddings
    labels: tuple[int, ...]
    are_embeddings: bool = False  # a context network reads no images


@dataclass(frozen=True, eq=False)
class Source(Generic[Content]):
    """A split as a family of networks reads it."""

    name: str
    content: Content
    table: Path | None = None  # the official labels, if there are any


class Family(ABC, Generic[AnyNetwork, Content]):
    """One kind of network."""

    measured: ClassVar[str] = ""  # what the average precision between epochs is of, unless frames

    @abstractmethod
    def make_scorer(self, network: AnyNetwork, inputs: ScorerInputs) -> Scorer:
        """Return what scores the face tracks of a video.

        Raises:
            UserError: The network cannot be used that way.
        """

    @abstractmethod
    def forward(self, network: AnyNetwork, audio: Tensor, faces: Tensor) -> Forwarded:
        """Run a network on the audio and faces of a `TrainingBatch`."""

    @abstractmethod
    def batch_shapes(self, network: AnyNetwork, count: int, num_frames: int) -> BatchShapes:
        """Return the shapes of a batch.

        Args:
            network: Determines them.
            count: Sequences, clips or contexts.
            num_frames: Frames of a sequence; clips and contexts have a length of their own.
        """

    def score_zeros(self, network: AnyNetwork, count: int = 1) -> int:
        """Run a network as it scores one face, on zeros; return the number of frames it scores.

        Args:
            network: Runs on the current default device.
            count: Sequences, clips or contexts.
        """
        shapes = self.batch_shapes(network, count, 1)
        self.forward(network, torch.zeros(shapes.audio), torch.zeros(shapes.faces))
        return count

    def embedding_widths(self, network: AnyNetwork) -> tuple[int, int]:  # noqa: ARG002
        """Return the number of channels of audio and face embeddings, for the contrastive loss.

        Raises:
            UserError: There are no sequences of embeddings.
        """
        raise UserError(
            "--talkNCE compares the frames of a sequence; this network reads single ones"
        )

    def num_frames(self, faces: Tensor, labels: Tensor) -> int:  # noqa: ARG002
        """Return the number of images or embeddings that one sample of a batch has."""
        return faces.shape[1]

    def check_options(self, options: Options) -> None:
        """Refuse options that do not go with this family, before any work.

        Raises:
            UserError: Names the option.
        """
        if options.instead.legacy:
            raise UserError("--legacy is for --evaluation of ava_asd; leave it out")
        if options.training.early_stopping:
            raise UserError("--earlyStopping is for training ava_asd; leave it out")

    @abstractmethod
    def open_source(
        self, network: AnyNetwork, options: Options, name: str, ranks: Ranks
    ) -> Source[Content]:
        """Open a split; the first process prepares it if necessary, the others wait for it."""

    def open_labelled(self, network: AnyNetwork, options: Options, ranks: Ranks) -> Source[Content]:
        """Open the split that is evaluated; refuse what cannot be evaluated, before any work."""
        return self.open_source(network, options, options.data.eval_data_type, ranks)

    def check_pair(self, train: Source[Content], validation: Source[Content]) -> None:
        """Raise UserError unless two splits can be used in one training run."""

    def check_weights(self, network: AnyNetwork, source: Source[Content]) -> None:
        """Raise UserError if a split cannot be evaluated with the network's weights."""

    @abstractmethod
    def make_loader(
        self,
        network: AnyNetwork,
        source: Source[Content],
        recipe: Recipe,
        options: Options,
        ranks: Ranks,
    ) -> TrainingLoader:
        """Return the loader of the batches that a network is trained on."""

    @abstractmethod
    def describe(self, network: AnyNetwork, source: Source[Content], options: Options) -> Settings:
        """Return what must stay the same of the data when training is resumed, by flag."""

    @abstractmethod
    def measure(
        self,
        network: AnyNetwork,
        source: Source[Content],
        options: Options,
        ranks: Ranks,
        epoch: int = 0,
    ) -> tuple[float, float | None]:
        """Return the average precision on a split, in [0, 1], and the loss if it is measured.

        Args:
            network: Evaluated on its own device; unchanged.
            source: The split.
            options: Say how it is evaluated, and where predictions are written.
            ranks: The processes that share the work.
            epoch: After which training is interrupted for this.
        """

    def evaluate(self, weights: str | Path, options: Options, ranks: Ranks) -> str:
        """Evaluate weights on a split; return the result as text."""
        network: AnyNetwork = load_weights(options.network, weights, ranks)
        source = self.open_labelled(network, options, ranks)
        self.check_weights(network, source)
        ap, _ = self.measure(network, source, options, ranks)
        return f"mAP {ap:.2%}"

    def store(self, weights: str | Path, options: Options, ranks: Ranks) -> None:  # noqa: ARG002
        """Store the network's embeddings of the training and validation splits.

        Raises:
            UserError: The family has none to store.
        """
        raise UserError(
            f"--forward is for clip networks such as asc_encoder, found {options.network.model}"
        )


def clip_shapes(network: ClipNetwork, count: int) -> BatchShapes:
    """Return the shapes of a batch of clips."""
    inputs, clip = network.inputs, network.clip
    times = 1 + np.arange(clip.length) / clip.fps  # s; features may also read earlier samples
    waveform = np.zeros(int(SAMPLE_RATE * (1 + times[-1])), np.int16)
    with torch.device("cpu"):
        audio = feature_function(inputs.feature)(
            waveform, times, np.arange(clip.length)[None]
        ).shape
    return BatchShapes((count, *audio[1:]), (count, clip.length, *image_shape(inputs)), (count, 1))


def image_shape(inputs: InputSpec) -> tuple[int, ...]:
    """Return the shape of an image: (H, W) or (H, W, 3)."""
    return inputs.size, inputs.size, *((3,) if inputs.colour else ())


def family_of(network: Model | Cascade) -> Family[Any, Any]:
    """Return the family of a network."""
    return find_family(network.family)


def find_family(name: str) -> Family[Any, Any]:
    """Return the family in the module of that name."""
    found: Family[Any, Any] = import_module(f"model.families.{name}").FAMILY
    return found


def refuse_windows(windows: Sequence[int] | None) -> None:
    """Raise UserError if windows are given to a network that does not read sequences."""
    if windows is not None:
        raise UserError("--windows is of networks that read sequences; this one reads clips")


def load_weights(options: NetworkOptions, weights: str | Path, ranks: Ranks) -> Any:  # noqa: ANN401
    """Return the network with weights, of whatever family.

    Args:
        options: Name the network.
        weights: A file, or a name in pretrain/weights.toml.
        ranks: The first process downloads the weights if necessary, the others wait for it.
    """
    if options.variant:
        raise UserError("--variant is for a network that begins anew; weights bring theirs")
    if not ranks.first:
        ranks.wait_for_all()
    network = load_single(options.model, weights, str(ranks.device))
    assert network.weights is not None
    logger.info("network: %s (%s)", options.model, network.weights.path)
    if ranks.first:
        ranks.wait_for_all()
    return network
