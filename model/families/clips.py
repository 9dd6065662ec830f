"""Networks that score one frame by the clip around it: the encoders of ASC and ASDNet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from model.contract import ClipNetwork, Recipe
from model.families.base import (
    BatchShapes,
    Forwarded,
    ScorerInputs,
    Source,
    clip_shapes,
    load_weights,
    refuse_windows,
)
from model.families.entities import EntityFamily, shown
from model.ranks import Ranks
from model.scoring.clip_scoring import ClipScorer
from model.scoring.scorers import Scorer

if TYPE_CHECKING:
    from model.evaluation.entity_scores import EntityScores, EvaluationOptions
    from utils.datasets.entities import DataSet
    from utils.datasets.loading.training_batch import TrainingLoader
    from utils.datasets.splits import Split
    from utils.training_options import Options


class ClipFamily(EntityFamily[ClipNetwork]):
    """Networks that score a frame by a few frames, and embed it for a context network."""

    def make_scorer(self, network: ClipNetwork, inputs: ScorerInputs) -> Scorer:
        """Return a scorer of each frame by the clip around it."""
        refuse_windows(inputs.windows)
        return ClipScorer(network, inputs.hear, inputs.whole)

    def forward(self, network: ClipNetwork, audio: Tensor, faces: Tensor) -> Forwarded:
        """Run a network on the audio and faces (B, T, H, W) of clips."""
        return Forwarded(network(audio, faces))

    def batch_shapes(self, network: ClipNetwork, count: int, num_frames: int) -> BatchShapes:  # noqa: ARG002
        """Return the shapes of a batch of clips."""
        return clip_shapes(network, count)

    def score_entities(
        self, network: ClipNetwork, dataset: DataSet, options: EvaluationOptions, ranks: Ranks
    ) -> Iterator[tuple[int, EntityScores]]:
        """Yield the scores of entities, each frame by its clip."""
        from model.evaluation.clip_evaluation import score_clips

        return score_clips(network, dataset, options, ranks)

    def make_loader(
        self,
        network: ClipNetwork,
        source: Source[Split],
        recipe: Recipe,
        options: Options,
        ranks: Ranks,
    ) -> TrainingLoader:
        """Return the loader of one clip of each entity."""
        from utils.datasets.loading.clip_augmentation import ClipAugmentation
        from utils.datasets.loading.clip_loader import ClipLoader, ClipLoaderOptions

        data = options.data
        how = ClipLoaderOptions(
            recipe.batch_size,
            data.n_data_loader_thread,
            options.training.seed,
            not data.no_augment,
            ClipAugmentation(recipe.jitter, data.original),
        )
        share = (ranks.rank, ranks.size)
        return ClipLoader(source.content.dataset, network.inputs, network.clip, how, share)

    def store(self, weights: str | Path, options: Options, ranks: Ranks) -> None:
        """Store a network's embeddings of the training and validation splits in --features."""
        from model.evaluation.stored_features import store_features

        folder, num_workers = options.network.features, options.data.n_data_loader_thread
        assert folder is not None
        network: ClipNetwork = load_weights(options.network, weights, ranks)
        for name in ("train", "val"):
            split = self.open_source(network, options, name, ranks).content
            with shown(f"storing {name}", split.num_frames, ranks) as advance:
                store_features(network, split.dataset, folder / name, ranks, num_workers, advance)


FAMILY = ClipFamily()
