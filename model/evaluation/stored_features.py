"""The two stages of ASC and ASDNet: store what a clip network makes of faces, then compare them."""

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
from model.scoring.windows import inference_copy
from utils.datasets.entities import DataSet
from utils.datasets.loading.context_loader import ContextLoader, ContextLoaderOptions
from utils.datasets.storage.feature_store import (
    FeatureFormat,
    FeatureStore,
    FeatureStoreWriter,
    VideoFeatures,
)
from utils.errors import UserError

CONTEXTS = 256  # that pass a network at once
FEATURES = "--features"  # what a run notes of those it is trained on


def store_features(
    network: ClipNetwork,
    dataset: DataSet,
    folder: Path,
    ranks: Ranks,
    num_workers: int = 0,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Store what a network makes of every face of every moment.

    Videos that are there stay, unless their faces or labels have changed.

    Args:
        network: Whose embeddings are stored.
        dataset: A split.
        folder: Of the store.
        ranks: The processes that share the work.
        num_workers: Processes that read.
        progress: Told how many frames this process has done.

    Raises:
        UserError: The store is another network's, or of other weights.
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
    ranks.wait_for_all()  # nobody reads before all have written


def _features_of(network: ClipNetwork, chosen: Selection, num_workers: int) -> VideoFeatures:
    """Return what a network makes of the entities of one video."""
    outputs = list(run_clips(network, chosen, num_workers))
    rows = [chosen.read_labels(index) for index in range(len(outputs))]
    return VideoFeatures(
        video=chosen.entities[0].video,
        entities=[entity.name for entity in chosen.entities],
        counts=[entity.num_frames for entity in chosen.entities],
        timestamps=np.concatenate([times for _, times in rows]),
        labels=np.concatenate([labels for labels, _ in rows]),
        logits=np.concatenate([one.logits for one in outputs]),
        embeddings=np.concatenate([one.embeddings for one in outputs]),
    )


def open_features(folder: Path | None, split: str, network: ContextNetwork) -> FeatureStore:
    """Open the stored embeddings of a split that a context network reads.

    Raises:
        FileNotFoundError: They are not there; says what to do.
        UserError: They are another network's.
    """
    what = f"--model {network.encoder_name} --forward --features DIR makes them"
    if folder is None:
        raise UserError(f"{network_name(network)} reads stored embeddings: give --features; {what}")
    if not (folder / split).is_dir():
        raise FileNotFoundError(f"expected embeddings in {folder / split}, found none; {what}")
    store = FeatureStore(folder / split)
    store.check(network.encoder_name, network.num_embedding)
    return store


def check_alike(learnt: FeatureStore, judged: FeatureStore) -> None:
    """Raise UserError unless two splits were stored by the same weights in the same way."""
    if learnt.form != judged.form:
        raise UserError(
            f"{judged.folder}: expected features of {learnt.form.describe()}, as in "
            f"{learnt.folder}, found {judged.form.describe()}; store both by the same weights"
        )


def check_trained_on(network: ContextNetwork, store: FeatureStore) -> None:
    """Raise UserError where a network was trained here, on features of other weights."""
    assert network.weights is not None
    try:
        training = checkpoints.load(network.weights.path)["training"]
    except UserError:  # published weights, which do not tell
        return
    trained_on = training["settings"].get(FEATURES)
    if trained_on not in (None, store.form.describe()):
        raise UserError(
            f"{store.folder}: expected features of {trained_on}, on which {network.weights.path} "
            f"was trained, found {store.form.describe()}; give the folder that it was trained on"
        )


def score_store(network: ContextNetwork, store: FeatureStore, ranks: Ranks) -> list[EntityScores]:
    """Return the scores of all entities of a store; each process has them all.

    Args:
        network: Scores on its own device; left as it is.
        store: Of its encoder's embeddings.
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
            said = prepared(batch.faces.to(device)).av[:, 0]
        found.append((batch.rows, said.float().cpu().numpy()))
    for part in ranks.gather(found):
        for rows, said in part:
            for (video, row), values in zip(rows, said, strict=True):
                logits[video][row] = values
    return [
        entity for video, said in enumerate(logits) for entity in entities_of(store, video, said)
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
