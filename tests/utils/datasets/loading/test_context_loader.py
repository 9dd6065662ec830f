"""Batches of contexts: contents and reproducibility."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from utils.datasets.loading.context_loader import (
    ContextLoader,
    ContextLoaderOptions,
    box_areas,
)
from utils.datasets.loading.training_batch import TrainingBatch
from utils.datasets.storage.feature_store import (
    FeatureFormat,
    FeatureStore,
    FeatureStoreWriter,
    VideoFeatures,
)
from utils.structures import ContextSpec
from utils.tracking.contexts import FaceMoments, context_rows, gather, moments_of, ranked_choice

COUNTS = {"a": (30, 20, 5), "b": (8,), "c": (1, 40)}
FORM = ContextSpec(length=5, before=2, num_speakers=3, fill="repeat", stride=2)
ALL = ContextLoaderOptions(batch_size=16)
DRAWN = replace(ALL, draw=True, seed=7)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    folder: Path = tmp_path_factory.mktemp("features")
    writer = FeatureStoreWriter(folder, FeatureFormat("made", 6, 3, half=False))
    rng = np.random.default_rng(0)
    for video, counts in COUNTS.items():
        num_rows = sum(counts)
        writer.add(
            VideoFeatures(
                video,
                [f"{video}{number}" for number in range(len(counts))],
                counts,
                np.concatenate([np.arange(count) / 25 for count in counts]),
                rng.integers(-1, 2, num_rows).astype(np.int8),
                np.zeros((num_rows, 2), np.float32),
                rng.normal(size=(num_rows, 6)).astype(np.float32),
                None if video == "b" else rng.uniform(size=(num_rows, 4)).astype(np.float32),
            )
        )
    return FeatureStore(folder)


def load(
    store: FeatureStore, options: ContextLoaderOptions, epoch: int = 1, skip: int = 0
) -> list[TrainingBatch]:
    return list(ContextLoader(store, FORM, options).epoch(epoch, skip))


def same(one: Sequence[TrainingBatch], two: Sequence[TrainingBatch]) -> bool:
    return len(one) == len(two) and all(
        np.array_equal(a.rows, b.rows)
        and torch.equal(a.faces, b.faces)
        and torch.equal(a.labels, b.labels)
        for a, b in zip(one, two, strict=True)
    )


def test_every_row_once(store: FeatureStore) -> None:
    wanted = [[video, row] for video, count in enumerate(store.num_rows) for row in range(count)]
    for options in (ALL, DRAWN):
        batches = load(store, options)
        rows = np.concatenate([batch.rows for batch in batches]).tolist()
        assert sorted(rows) == wanted and (rows == wanted) == (not options.draw)
        assert len(batches) == ContextLoader(store, FORM, options).len_epoch(1)


def test_contexts_without_drawing_are_ranked_by_size(store: FeatureStore) -> None:
    videos = [store.read(index) for index in range(len(store))]
    for batch in load(store, ALL):
        assert batch.faces.shape[1:] == (3, 5, 6)
        for index, (number, row) in enumerate(batch.rows.tolist()):
            video = videos[number]
            faces = FaceMoments(video.counts, moments_of(video.timestamps))
            choose = ranked_choice(FORM, faces, box_areas(video))
            wanted = gather(video.embeddings, context_rows(faces, [row], FORM, choose))[0]
            assert np.array_equal(batch.faces[index].numpy(), wanted)
            assert int(batch.labels[index]) == video.labels[row]
            assert bool(batch.mask[index]) == (video.labels[row] != -1)


def test_box_areas() -> None:
    boxes = np.array([[0, 0, 2, 3], [1, 1, 2, 2], [0, 0, 10, 1]], np.float32)
    labels, logits = np.zeros(3, np.int8), np.zeros((3, 2), np.float32)
    video = VideoFeatures("v", ["x"], (3,), np.arange(3.0), labels, logits, logits, boxes)
    assert box_areas(video).tolist() == [6, 1, 10]
    assert box_areas(replace(video, boxes=None)).tolist() == [0, 0, 0]


def test_the_same_seed_gives_the_same_batches(store: FeatureStore) -> None:
    whole = load(store, DRAWN)
    assert same(whole, load(store, DRAWN))
    assert same(whole[2:], load(store, DRAWN, skip=2))
    assert not same(whole, load(store, DRAWN, epoch=2))
    assert not same(whole, load(store, replace(DRAWN, seed=8)))
    assert same(load(store, ALL), load(store, replace(ALL, seed=8), epoch=9))


def test_processes_share_each_batch(store: FeatureStore) -> None:
    whole = load(store, DRAWN)
    shares = [list(ContextLoader(store, FORM, DRAWN, (rank, 5)).epoch(1)) for rank in range(5)]
    for batch, *parts in zip(whole, *shares, strict=True):
        for rank, part in enumerate(parts):
            assert torch.equal(part.faces, batch.faces[rank::5])
            assert torch.equal(part.labels, batch.labels[rank::5])


def test_invalid_options(store: FeatureStore) -> None:
    with pytest.raises(ValueError, match="batch_size must be 1 or more"):
        ContextLoaderOptions(seed=-1)
    with pytest.raises(ValueError, match="expected a rank below 1, got 1"):
        ContextLoader(store, FORM, ALL, (1, 1))
