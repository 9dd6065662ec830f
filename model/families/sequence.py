"""Networks that read the sequence of one face: TalkNet, Light-ASD, LR-ASD and others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.contract import Network, Recipe
from model.families.base import BatchShapes, Forwarded, ScorerInputs, Source, image_shape
from model.families.entities import EntityFamily
from model.ranks import Ranks
from model.scoring.comparing import ComparingScorer
from model.scoring.scorers import Scorer, SequenceScorer
from utils.structures import FPS, STEPS_PER_FRAME

if TYPE_CHECKING:
    from model.evaluation.entity_scores import EntityScores, EvaluationOptions
    from utils.datasets.entities import DataSet
    from utils.datasets.loading.sequence_loader import SequenceLoaderOptions
    from utils.datasets.loading.training_batch import TrainingLoader
    from utils.datasets.splits import Split
    from utils.training_options import Options


class SequenceFamily(EntityFamily[Network]):
    """Networks that score a face through time, whole or in windows."""

    def make_scorer(self, network: Network, inputs: ScorerInputs) -> Scorer:
        """Return a scorer that scores each piece of a track separately, in windows."""
        scorer = SequenceScorer(network, inputs.hear, inputs.windows, inputs.precision)
        return ComparingScorer(network, scorer) if network.compares else scorer

    def forward(self, network: Network, audio: Tensor, faces: Tensor) -> Forwarded:
        """Run a network on features (B, 4 T, F) and faces (B, T, H, W)."""
        embedded = network.encode_audio(audio), network.encode_faces(faces)
        return Forwarded(network.fuse(*embedded), embedded)

    def batch_shapes(self, network: Network, count: int, num_frames: int) -> BatchShapes:
        """Return the shapes of a batch of sequences of one face."""
        return sequence_shapes(network, count, num_frames)

    def score_zeros(self, network: Network, count: int = 1) -> int:
        """Run a network on its longest window; other faces have the first one's embedding."""
        length = FPS * max(network.windows)
        shapes = sequence_shapes(network, count, length)
        heard = network.encode_audio(torch.zeros(shapes.audio))
        seen = network.encode_faces(torch.zeros(shapes.faces))
        if network.num_speakers > 1:
            seen = seen.unsqueeze(1).expand(-1, network.num_speakers, -1, -1)
        network.fuse(heard, seen)
        return count * length

    @torch.no_grad()
    def embedding_widths(self, network: Network) -> tuple[int, int]:
        """Return the number of channels of a network's audio and face embeddings."""
        inputs, training = network.inputs, network.training
        first = next(network.parameters())
        network.eval()
        audio = first.new_zeros(1, 2 * STEPS_PER_FRAME, inputs.num_features)
        colours = (3,) if inputs.colour else ()
        faces = first.new_zeros(1, 2, inputs.size, inputs.size, *colours)
        widths = network.encode_audio(audio).shape[2], network.encode_faces(faces).shape[2]
        network.train(training)
        return widths

    def num_frames(self, faces: Tensor, labels: Tensor) -> int:  # noqa: ARG002
        """Return the number of images of a sample, of all its faces."""
        return math.prod(labels.shape[1:])

    def check_windows(self, options: Options) -> None:
        """Accept --windows."""

    def score_entities(
        self, network: Network, dataset: DataSet, options: EvaluationOptions, ranks: Ranks
    ) -> Iterator[tuple[int, EntityScores]]:
        """Yield the scores of entities, each read whole or in windows."""
        from model.evaluation.sequence_evaluation import score_sequences

        return score_sequences(network, dataset, options, ranks)

    def make_loader(
        self,
        network: Network,
        source: Source[Split],
        recipe: Recipe,
        options: Options,
        ranks: Ranks,
    ) -> TrainingLoader:
        """Return the loader of sequences."""
        from utils.datasets.loading.sequence_loader import SequenceLoader

        how = self.loader_options(network, recipe, options)
        return SequenceLoader(source.content.dataset, network.inputs, how, ranks.rank, ranks.size)

    def loader_options(
        self,
        network: Network,  # noqa: ARG002
        recipe: Recipe,
        options: Options,
    ) -> SequenceLoaderOptions:
        """Return how batches of sequences are made."""
        from utils.datasets.loading.sequence_loader import SequenceLoaderOptions

        data = options.data
        return SequenceLoaderOptions(
            batch_size=recipe.batch_size,
            max_clip=data.max_clip or recipe.max_clip,
            n_data_loader_thread=data.n_data_loader_thread,
            seed=options.training.seed,
            augment=not data.no_augment,
            shifted_share=data.desync / 2,
            foreign_share=data.desync / 2,
            published_batches=data.original,
        )


def sequence_shapes(network: Network, count: int, num_frames: int) -> BatchShapes:
    """Return the shapes of a batch of sequences of one face."""
    audio = (count, STEPS_PER_FRAME * num_frames, network.inputs.num_features)
    labels = (count, num_frames)
    return BatchShapes(audio, (*labels, *image_shape(network.inputs)), labels)


FAMILY = SequenceFamily()
