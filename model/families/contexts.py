"""Networks that score one frame from stored embeddings of several faces: ASC and ASDNet."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from torch import Tensor

from model.contract import Cascade, ContextNetwork, Recipe
from model.families.base import BatchShapes, Family, Forwarded, ScorerInputs, Source, refuse_windows
from model.families.entities import refuse_window_evaluation
from model.ranks import Ranks
from model.scoring.clip_scoring import ClipEncoder
from model.scoring.context_scoring import ContextScorer
from model.scoring.scorers import Scorer

if TYPE_CHECKING:
    from model.checkpoints.training import Settings
    from utils.datasets.loading.training_batch import TrainingLoader
    from utils.datasets.storage.feature_store import FeatureStore
    from utils.training_options import Options

logger = logging.getLogger(__name__)


class ContextFamily(Family[ContextNetwork, "FeatureStore"]):
    """Networks that read what a clip network made of a face and of those beside it."""

    def make_scorer(self, network: ContextNetwork | Cascade, inputs: ScorerInputs) -> Scorer:
        """Return a scorer that embeds each face once a frame and scores it beside the others."""
        refuse_windows(inputs.windows)
        if not isinstance(network, Cascade):
            raise ValueError(
                "a context network scores nothing by itself; load it with the clip network that "
                "it builds on, as talkNet.load_network does"
            )
        encoder = ClipEncoder(network.encoder, inputs.hear, inputs.whole)
        return ContextScorer(encoder, network.network, inputs.delay)

    def forward(self, network: ContextNetwork, audio: Tensor, faces: Tensor) -> Forwarded:  # noqa: ARG002
        """Run a network on embeddings (B, S, L, C); there is no audio."""
        return Forwarded(network(faces))

    def batch_shapes(self, network: ContextNetwork, count: int, num_frames: int) -> BatchShapes:  # noqa: ARG002
        """Return the shapes of a batch of embeddings; there is no audio."""
        context = network.context
        embeddings = (count, context.num_speakers, context.length, network.num_embedding)
        return BatchShapes((count, 0), embeddings, (count, 1), are_embeddings=True)

    def open_source(
        self,
        network: ContextNetwork,
        options: Options,
        name: str,
        ranks: Ranks,  # noqa: ARG002
    ) -> Source[FeatureStore]:
        """Open the stored embeddings of a split."""
        from model.evaluation.stored_features import open_features
        from utils.datasets.ava.dataset import AvaFolder

        data = options.data
        store = open_features(options.network.features, name, network)
        table = AvaFolder(data.data_path).labels(name) if data.data == "ava" else None
        logger.info(
            "%s: embeddings of %d faces in %d videos", name, sum(store.num_rows), len(store)
        )
        return Source(name, store, table if table is not None and table.is_file() else None)

    def open_labelled(
        self, network: ContextNetwork, options: Options, ranks: Ranks
    ) -> Source[FeatureStore]:
        """Open the split that is evaluated."""
        refuse_window_evaluation(options)
        return super().open_labelled(network, options, ranks)

    def check_pair(self, train: Source[FeatureStore], validation: Source[FeatureStore]) -> None:
        """Raise UserError unless both splits were stored by the same weights."""
        from model.evaluation.stored_features import check_alike

        check_alike(train.content, validation.content)

    def check_weights(self, network: ContextNetwork, source: Source[FeatureStore]) -> None:
        """Raise UserError if the network was trained on embeddings of other weights."""
        from model.evaluation.stored_features import check_trained_on

        check_trained_on(network, source.content)

    def make_loader(
        self,
        network: ContextNetwork,
        source: Source[FeatureStore],
        recipe: Recipe,
        options: Options,
        ranks: Ranks,
    ) -> TrainingLoader:
        """Return the loader of the contexts of all rows, other faces drawn at random."""
        from utils.datasets.loading.context_loader import ContextLoader, ContextLoaderOptions

        num_workers, seed = options.data.n_data_loader_thread, options.training.seed
        how = ContextLoaderOptions(recipe.batch_size, num_workers, seed, draw=True)
        return ContextLoader(source.content, network.context, how, (ranks.rank, ranks.size))

    def describe(
        self,
        network: ContextNetwork,  # noqa: ARG002
        source: Source[FeatureStore],
        options: Options,
    ) -> Settings:
        """Return what must stay the same of the data when training is resumed, by flag."""
        from model.evaluation.stored_features import FEATURES
        from utils.datasets.splits import describe_data

        store = source.content
        described = describe_data(options.data, sum(store.num_rows))
        return described | {FEATURES: store.form.describe()}

    def measure(
        self,
        network: ContextNetwork,
        source: Source[FeatureStore],
        options: Options,
        ranks: Ranks,
        epoch: int = 0,  # noqa: ARG002
    ) -> tuple[float, None]:
        """Score a split, write the predictions, return the average precision in [0, 1]."""
        from model.evaluation.measure import measure_split
        from model.evaluation.stored_features import score_store

        scored = score_store(network, source.content, ranks)
        target = options.run.save_path / f"{source.name}_res.csv" if ranks.first else None
        return measure_split(scored, source.table, target, options.network.smooth), None


FAMILY = ContextFamily()
