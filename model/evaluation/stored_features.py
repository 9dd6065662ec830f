"""The two stages of ASC and ASDNet: store embeddings of a clip network, then score contexts."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from model.checkpoints import training as checkpoints
from model.checkpoints.build import network_name
from model.contract import ClipNetwork, ContextNetwork
from model.evaluation.clip_evaluation import Selection, run_clips
from model.evaluation.entity_scores import EntityScores
from model.ranks import Ranks
from model.scoring.prepared import inference_copy
from utils.datasets.entities import DataSet
from utils.datasets.loading.context_loader import ContextLoader, ContextLoaderOptions
from utils.datasets.storage.feature_store import (
    FeatureFormat,
    FeatureStore,
    FeatureStoreWriter,
    VideoFeatures,
)
from utils.errors import UserError

CONTEXTS = 256  # per forward pass
FEATURES = "--features"  # key in a run's settings


def store_features(
    network: ClipNetwork,
    dataset: DataSet,
    folder: Path,
    ranks: Ranks,
    num_workers: int = 0,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Store a network's embeddings and logits of every face at every time.

    Stored videos are kept unless their faces or labels have changed.

    Args:
        network: The clip network.
        dataset: A split.
        folder: Folder of the store.
        ranks: The processes that share the work.
        num_workers: Number of reader processes.
        progress: Called with the number of frames done by this process.

    Raises:
        UserError: The store is of another network or other weights.
    """
    weights = network.weights.sha256 if network.weights else ""
    form = FeatureFormat(network_name(network), network.num_embedding, network.clip.length, weights)
    writer = FeatureStoreWriter(folder, form)
    videos: defaultdict[str, list[int]] = defaultdict(list)
    for number, entity in enumerate(dataset.entities):
        videos[entity.video].append(number)
    done = 0
    for video in sorted(videos)[ranks.rank :: ranks.size]:
        chosen = Selection(dataset, videos[video])
        names = [entity.name for entity in chosen.entities]
        rows = [chosen.read_labels(index) for index in range(len(names))]
        if not writer.holds(video, names, rows):
            writer.add(_features_of(network, chosen, num_workers))
        done += sum(entity.num_frames for entity in chosen.entities)
        if progress is not None:
            progress(done)
    ranks.wait_for_all()  # no process reads before all have written


def _features_of(network: ClipNetwork, chosen: Selection, num_workers: int) -> VideoFeatures:
    """Return a network's outputs for the entities of one video."""
    outputs = list(run_clips(network, chosen, num_workers))
    rows = [chosen.read_labels(index) for index in range(len(outputs))]
    return VideoFeatures(
        video=chosen.entities[0].video,
        entities=[entity.name for entity in chosen.entities],
        counts=[entity.num_frames for entity in chosen.entities],
        timestamps=np.concatenate([times for _, times in rows]),
        labels=np.concatenate([labels for labels, _ in rows]),
        logits=np.concatenate([output.logits for output in outputs]),
        embeddings=np.concatenate([output.embeddings for output in outputs]),
    )


def open_features(folder: Path | None, split: str, network: ContextNetwork) -> FeatureStore:
    """Open the stored embeddings of a split that a context network reads.

    Raises:
        FileNotFoundError: They are missing; the message states how to create them.
        UserError: They are of another network.
    """
    how = f"create them with --model {network.encoder_name} --forward --features DIR"
    if folder is None:
        raise UserError(f"{network_name(network)} reads stored embeddings: pass --features; {how}")
    if not (folder / split).is_dir():
        raise FileNotFoundError(f"expected embeddings in {folder / split}, found none; {how}")
    store = FeatureStore(folder / split)
    store.check(network.encoder_name, network.num_embedding)
    return store


def check_alike(training: FeatureStore, validation: FeatureStore) -> None:
    """Raise UserError unless two splits were stored with the same weights in the same way."""
    if training.form != validation.form:
        raise UserError(
            f"{validation.folder}: expected features of {training.form.describe()}, as in "
            f"{training.folder}, found {validation.form.describe()}; store both with the same "
            "weights"
        )


def check_trained_on(network: ContextNetwork, store: FeatureStore) -> None:
    """Raise UserError if the network was trained on features of other weights."""
    assert network.weights is not None
    try:
        training = checkpoints.load(network.weights.path)["training"]
    except UserError:  # published weights do not record it
        return
    trained_on = training["settings"].get(FEATURES)
    if trained_on not in (None, store.form.describe()):
        raise UserError(
            f"{store.folder}: expected features of {trained_on}, on which {network.weights.path} "
            f"was trained, found {store.form.describe()}; pass the features it was trained on"
        )


def score_store(network: ContextNetwork, store: FeatureStore, ranks: Ranks) -> list[EntityScores]:
    """Return the scores of all entities of a store, in every process.

    Args:
        network: Runs on its own device; unchanged.
        store: Embeddings of its encoder.
        ranks: The processes that share the work.
    """
    prepared = inference_copy(network)
    device = next(prepared.parameters()).device
    logits = [np.zeros((count, 2), np.float32) for count in store.num_rows]
    loader = ContextLoader(
        store, network.context, ContextLoaderOptions(CONTEXTS), (ranks.rank, ranks.size)
    )
    found = []
    for batch in loader.epoch(1):
        with torch.inference_mode():
            batch_logits = prepared(batch.faces.to(device)).av[:, 0]
        found.append((batch.rows, batch_logits.float().cpu().numpy()))
    for part in ranks.gather(found):
        for rows, part_logits in part:
            for (video, row), values in zip(rows, part_logits, strict=True):
                logits[video][row] = values
    return [
        entity
        for video, video_logits in enumerate(logits)
        for entity in entities_of(store, video, video_logits)
    ]


def entities_of(store: FeatureStore, video: int, logits: np.ndarray) -> list[EntityScores]:
    """Return the scores of the entities of one video of a store."""
    features = store.read(video)
    edges = np.cumsum([0, *features.counts])
    return [
        EntityScores(
            features.video,
            name,
            np.array(features.timestamps[first:stop]),
            np.array(features.labels[first:stop]),
            logits[first:stop],
        )
        for name, first, stop in zip(features.entities, edges, edges[1:], strict=False)
    ]
