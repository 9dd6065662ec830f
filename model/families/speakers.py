"""Networks that read the sequences of several faces at the same time: LoCoNet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from model.contract import Network, Recipe
from model.families.base import BatchShapes, Forwarded, ScorerInputs
from model.families.entities import refuse_window_evaluation
from model.families.sequence import SequenceFamily, sequence_shapes
from model.ranks import Ranks
from model.scoring.scorers import Scorer
from model.scoring.speaker_scoring import SpeakerScorer

if TYPE_CHECKING:
    from model.evaluation.entity_scores import EntityScores, EvaluationOptions
    from utils.datasets.entities import DataSet
    from utils.datasets.loading.sequence_loader import SequenceLoaderOptions
    from utils.training_options import Options


class SpeakerFamily(SequenceFamily):
    """Networks that score a face through time beside the others of its shot."""

    def make_scorer(self, network: Network, inputs: ScorerInputs) -> Scorer:
        """Return a scorer of overlapping windows, each with the faces that are seen in it."""
        precision = "fp32" if inputs.precision == "auto" else inputs.precision
        return SpeakerScorer(network, inputs.hear, inputs.delay, inputs.windows, precision)

    def forward(self, network: Network, audio: Tensor, faces: Tensor) -> Forwarded:
        """Run a network on features (B, 4 T, F) and faces (B, S, T, H, W)."""
        encoded = network.encode_faces(faces.flatten(0, 1))
        embedded = network.encode_audio(audio), encoded.view(*faces.shape[:2], *encoded.shape[1:])
        return Forwarded(network.fuse(*embedded), embedded)

    def batch_shapes(self, network: Network, count: int, num_frames: int) -> BatchShapes:
        """Return the shapes of a batch of sequences of several faces."""
        audio, faces, labels, _ = sequence_shapes(network, count, num_frames)
        beside = (count, network.num_speakers)
        return BatchShapes(audio, (*beside, *faces[1:]), (*beside, *labels[1:]))

    def check_windows(self, options: Options) -> None:
        """Refuse --windows: entities are read whole."""
        refuse_window_evaluation(options)

    def score_entities(
        self, network: Network, dataset: DataSet, options: EvaluationOptions, ranks: Ranks
    ) -> Iterator[tuple[int, EntityScores]]:
        """Yield the scores of entities, each beside those that are seen with it."""
        from model.evaluation.speaker_evaluation import score_beside_others

        return score_beside_others(network, dataset, options.precision, ranks)

    def loader_options(
        self, network: Network, recipe: Recipe, options: Options
    ) -> SequenceLoaderOptions:
        """Return how batches of sequences of several faces are made."""
        from utils.datasets.loading.speaker_choice import SpeakerOptions

        how = super().loader_options(network, recipe, options)
        return replace(how, speakers=SpeakerOptions(network.num_speakers))


FAMILY = SpeakerFamily()
