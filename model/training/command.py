"""What the training command does: train, go on, evaluate, store what a clip network makes."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from model.contract import ClipNetwork, ContextNetwork, Model, Network
from model.evaluation import measure as evaluation
from model.evaluation.entity_scores import EntityScores, EvaluationOptions
from model.evaluation.split_scoring import FEW_FRAMES, score_split
from model.evaluation.stored_features import (
    FEATURES,
    check_alike,
    check_trained_on,
    open_features,
    score_store,
    store_features,
)
from model.ranks import Ranks
from model.training.initial_weights import load_or_begin
from model.training.network_trainer import describe_settings, make_trainer
from model.training.prepare_data import stages
from model.training.recipes import resolve
from model.training.run import Run, released_weights, train_at_terminal
from model.training.trainer import BatchLoader
from utils.datasets.ava.dataset import AvaFolder
from utils.datasets.loading.clip_augmentation import ClipAugmentation
from utils.datasets.loading.clip_loader import ClipLoader, ClipLoaderOptions
from utils.datasets.loading.context_loader import ContextLoader, ContextLoaderOptions
from utils.datasets.loading.sequence_loader import SequenceLoader, SequenceLoaderOptions
from utils.datasets.loading.speaker_choice import SpeakerOptions
from utils.datasets.splits import Split, describe_data, open_split, prepare_split
from utils.datasets.storage.feature_store import FeatureStore
from utils.errors import UserError
from utils.metrics.smoothed_logits import smooth_logits
from utils.progress import bar
from utils.training_options import Options

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Source:
    """A split as a network reads it: faces and sound, or stored embeddings of them."""

    name: str
    content: Split | FeatureStore
    table: Path | None  # the official labels, if there are any

    @property
    def num_frames(self) -> int:
        """Frames of all entities."""
        if isinstance(self.content, FeatureStore):
            return sum(self.content.num_rows)
        return self.content.num_frames


def open_source(options: Options, name: str, network: Model, ranks: Ranks) -> Source:
    """Open a split; the first process prepares it if need be, the others wait for it."""
    data = options.data
    if isinstance(network, ContextNetwork):
        store = open_features(options.network.features, name, network)
        table = AvaFolder(data.data_path).labels(name) if data.data == "ava" else None
        logger.info(
            "%s: embeddings of %d faces in %d videos", name, sum(store.num_rows), len(store)
        )
        return Source(name, store, table if table is not None and table.is_file() else None)

    def prepare() -> None:
        with stages("videos") as tell:
            prepare_split(data, options.own, name, partial(tell, f"preparing {name}"))

    ranks.after_first(prepare)
    split = open_split(data.data, data.data_path, name)
    logger.info("%s: %d entities, %d frames", name, len(split.dataset.entities), split.num_frames)
    return Source(name, split, split.table)


def open_labelled(options: Options, network: Model, ranks: Ranks) -> Source:
    """Open the split that is evaluated; refuses what cannot be done before any other work."""
    if options.network.windows and not (isinstance(network, Network) and network.num_speakers == 1):
        raise UserError(
            f"--windows is of networks that read the sequence of one face, {options.network.model} "
            "is evaluated as published; leave it out"
        )
    source = open_source(options, options.data.eval_data_type, network, ranks)
    if isinstance(source.content, Split):
        evaluation.check_labels(source.content.dataset, f"{options.data.data_path}, {source.name}")
    return source


def evaluate_only(options: Options, ranks: Ranks) -> str:
    """Evaluate weights on a split; return what came out."""
    default = None
    if options.network.pretrain_model is None:
        default = released_weights(options.network.model, options.data.data)
    network, _ = load_or_begin(options.network, options.training.seed, ranks, default)
    source = open_labelled(options, network, ranks)
    if isinstance(source.content, FeatureStore):
        assert isinstance(network, ContextNetwork)
        check_trained_on(network, source.content)
    return f"mAP {evaluate(network, source, options, ranks):.2%}"


def evaluate(network: Model, source: Source, options: Options, ranks: Ranks) -> float:
    """Score a split, write the predictions, return the average precision in [0, 1]."""
    scored = score(network, source, options, ranks)
    if options.network.smooth > 1:
        scored = [
            replace(entity, logits=smooth_logits(entity.logits, options.network.smooth))
            for entity in scored
        ]
    target = options.run.save_path / f"{source.name}_res.csv"
    if source.table is not None:
        return evaluation.measure_table(source.table, scored, target if ranks.first else None)
    if ranks.first:
        evaluation.write_predictions(scored, target)
    return evaluation.measure(scored)


def score(network: Model, source: Source, options: Options, ranks: Ranks) -> list[EntityScores]:
    """Return the scores of every entity of a split."""
    if isinstance(network, ContextNetwork):
        assert isinstance(source.content, FeatureStore)
        return score_store(network, source.content, ranks)
    assert isinstance(source.content, Split) and isinstance(network, Network | ClipNetwork)
    cuda = ranks.device.type == "cuda"
    how = EvaluationOptions(
        options.network.window_lengths,
        "bf16" if options.training.precision == "bf16" and cuda else "fp32",
        options.data.n_data_loader_thread if source.num_frames > FEW_FRAMES else 0,
    )
    with shown(f"evaluating {source.name}", source.num_frames, ranks) as advance:
        return score_split(network, source.content.dataset, how, ranks, advance)


@contextmanager
def shown(what: str, num_frames: int, ranks: Ranks) -> Iterator[Callable[[int], None] | None]:
    """Show how far the first process is with its share."""
    share = num_frames / ranks.size
    with bar(what, share, "frames") if ranks.first else nullcontext() as advance:
        yield advance


def forward(options: Options, ranks: Ranks) -> None:
    """Store what a clip network makes of train and val."""
    folder = options.network.features
    assert folder is not None
    default = None
    if options.network.pretrain_model is None:
        default = released_weights(options.network.model, options.data.data)
    network, _ = load_or_begin(options.network, options.training.seed, ranks, default)
    if not isinstance(network, ClipNetwork):
        raise UserError(
            f"--forward is for clip networks such as asc_encoder, found {options.network.model}"
        )
    for name in ("train", "val"):
        source = open_source(options, name, network, ranks)
        assert isinstance(source.content, Split)
        dataset, num_workers = source.content.dataset, options.data.n_data_loader_thread
        with shown(f"storing {name}", source.num_frames, ranks) as advance:
            store_features(network, dataset, folder / name, ranks, num_workers, advance)


def train(options: Options, ranks: Ranks) -> str | None:
    """Train or go on training; return what came out, None if it was stopped before the end."""
    network, start = load_or_begin(options.network, options.training.seed, ranks, None)
    source = open_source(options, "train", network, ranks)
    judged = open_labelled(options, network, ranks)
    trainer = make_trainer(network, options.training, ranks)
    data = describe_data(options.data, source.num_frames)
    if isinstance(source.content, FeatureStore):
        assert isinstance(judged.content, FeatureStore)
        check_alike(source.content, judged.content)
        data[FEATURES] = source.content.form.describe()
    run = Run(trainer, options.run, describe_settings(trainer, options.training, start, data))
    run.resume()
    loader = choose_loader(options, source, network, ranks)
    return train_at_terminal(run, loader, lambda: evaluate(network, judged, options, ranks))


def choose_loader(options: Options, source: Source, network: Model, ranks: Ranks) -> BatchLoader:
    """Return what gives the batches that a network learns from."""
    recipe = resolve(network.recipe, options.training)
    data, seed, batch_size = options.data, options.training.seed, recipe.batch_size
    share, num_workers = (ranks.rank, ranks.size), data.n_data_loader_thread
    if isinstance(network, ContextNetwork):
        assert isinstance(source.content, FeatureStore)
        contexts = ContextLoaderOptions(batch_size, num_workers, seed, draw=True)
        return ContextLoader(source.content, network.context, contexts, share)
    assert isinstance(source.content, Split)
    dataset = source.content.dataset
    if isinstance(network, ClipNetwork):
        changes = ClipAugmentation(recipe.jitter, data.published_crop)
        clips = ClipLoaderOptions(batch_size, num_workers, seed, not data.no_augment, changes)
        return ClipLoader(dataset, network.inputs, network.clip, clips, share)
    assert isinstance(network, Network)
    beside = SpeakerOptions(network.num_speakers) if network.num_speakers > 1 else None
    how = SequenceLoaderOptions(
        batch_size=batch_size,
        max_clip=data.max_clip or recipe.max_clip,
        n_data_loader_thread=num_workers,
        seed=seed,
        augment=not data.no_augment,
        shifted_share=data.desync / 2,
        foreign_share=data.desync / 2,
        speakers=beside,
        published_batches=data.published_batches,
    )
    return SequenceLoader(dataset, network.inputs, how, *share)
