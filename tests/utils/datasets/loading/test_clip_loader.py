"""Batches of clips: contents, reproducibility and resuming."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.made_training import MadeFaces
from utils.datasets.entities import EntityInfo, EntityPart
from utils.datasets.loading.clip_augmentation import resize_faces
from utils.datasets.loading.clip_loader import ClipLoader, ClipLoaderOptions, SpeechTimes
from utils.datasets.loading.training_batch import TrainingBatch
from utils.features.asc_mfcc import asc_mfcc
from utils.structures import FPS, ClipSpec, InputSpec
from utils.tracking.contexts import rows_around

SIZE = 20
LENGTHS = [40, 3, 25, 31, 1, 12, 18]
FORM = InputSpec("asc_mfcc", 13, SIZE, colour=True)
CLIP = ClipSpec(length=5, before=2)
DRAWN = ClipLoaderOptions(batch_size=3, n_data_loader_thread=0, seed=5, augment=True)
ALL = ClipLoaderOptions(batch_size=16, n_data_loader_thread=0, every_row=True)


class Coloured(MadeFaces):
    """The generated faces in colour; entity 3 has unlabelled frames."""

    def read(self, index: int, start: int = 0, stop: int | None = None) -> EntityPart:
        part = super().read(index, start, stop)
        labels = part.labels.copy()
        if index == 3:
            labels[max(0, 10 - start) : max(0, 20 - start)] = -1
        faces = np.stack([part.faces, part.faces // 2, 255 - part.faces], axis=3)
        return EntityPart(faces, part.waveform, labels, part.timestamps)


@pytest.fixture(scope="module")
def data() -> Coloured:
    return Coloured(LENGTHS)


def load(
    data: Coloured, options: ClipLoaderOptions, epoch: int = 1, skip: int = 0
) -> list[TrainingBatch]:
    return list(ClipLoader(data, FORM, CLIP, options).epoch(epoch, skip))


TENSORS = ("audio", "faces", "labels", "mask", "speech")


def same(one: Sequence[TrainingBatch], two: Sequence[TrainingBatch]) -> bool:
    return len(one) == len(two) and all(
        np.array_equal(a.rows, b.rows)
        and all(torch.equal(getattr(a, name), getattr(b, name)) for name in TENSORS)
        for a, b in zip(one, two, strict=True)
    )


def test_all_rows_in_order(data: Coloured) -> None:
    batches = load(data, ALL)
    rows = np.concatenate([batch.rows for batch in batches]).tolist()
    assert rows == [[e, row] for e, length in enumerate(LENGTHS) for row in range(length)]
    loader = ClipLoader(data, FORM, CLIP, ALL)
    assert len(batches) == loader.len_epoch(1) == -(-sum(LENGTHS) // 16)
    for batch in batches:
        assert (batch.speech == -1).all()
        for index, (entity, row) in enumerate(batch.rows.tolist()):
            part = data.read(entity)
            around = rows_around(LENGTHS[entity], np.array([row]), 5, 2)
            faces = resize_faces(part.faces, SIZE)[around[0]]
            assert np.array_equal(batch.faces[index].numpy(), faces)
            features = asc_mfcc(part.waveform, part.timestamps - part.timestamps[0], around)
            np.testing.assert_allclose(batch.audio[index].numpy(), features[0], atol=1e-5)
            assert int(batch.labels[index]) == part.labels[row]
            assert bool(batch.mask[index]) == (part.labels[row] != -1)


def test_an_epoch_draws_one_row_of_each_entity(data: Coloured) -> None:
    seen: Counter[tuple[int, int]] = Counter()
    for epoch in range(1, 60):
        batches = load(data, replace(DRAWN, augment=False), epoch)
        rows = np.concatenate([batch.rows for batch in batches])
        assert sorted(rows[:, 0].tolist()) == list(range(len(LENGTHS)))
        seen.update(map(tuple, rows.tolist()))
    assert {row for entity, row in seen if entity == 1} == {0, 1, 2}
    assert len({row for entity, row in seen if entity == 0}) > 25


def test_speech_is_of_all_faces_of_a_video(data: Coloured) -> None:
    for batch in load(data, DRAWN):
        for index, (entity, row) in enumerate(batch.rows.tolist()):
            video = data.entities[entity].video
            time = data.read(entity).timestamps[row]
            labels = [-1]
            for other, info in enumerate(data.entities):
                if info.video == video:
                    part = data.read(other)
                    labels += part.labels[np.abs(part.timestamps - time) < 1e-6].tolist()
            assert int(batch.speech[index]) == max(labels)


class Labels:
    """A data set that can only read labels: 300 frames, the last 10 of them speaking."""

    entities: Sequence[EntityInfo] = [EntityInfo("e", "v", 300, Fraction(FPS), 10)]

    def read(self, index: int, start: int = 0, stop: int | None = None) -> EntityPart:
        raise AssertionError(f"images of {index} were read, {start} to {stop}")

    def read_labels(self, index: int) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        assert index == 0
        return (np.arange(300) >= 290).astype(np.int8), np.arange(300) / FPS


def test_labels_are_read_without_images() -> None:
    speech = SpeechTimes.of(Labels())
    assert speech.at("v", np.array([0.04, 11.6, 11.96, 0.05, 99])).tolist() == [0, 1, 1, -1, -1]


def test_speech_without_labels() -> None:
    speech = SpeechTimes({"v": np.empty((2, 0), np.int64)})
    assert speech.at("v", np.array([0.04, 5])).tolist() == [-1, -1]


def test_the_same_seed_gives_the_same_batches(data: Coloured) -> None:
    whole = load(data, DRAWN)
    assert same(whole, load(data, DRAWN))
    assert same(whole[1:], load(data, DRAWN, skip=1))
    assert not same(whole, load(data, DRAWN, epoch=2))
    assert not same(whole, load(data, replace(DRAWN, seed=6)))
    assert not same(whole, load(data, replace(DRAWN, augment=False)))


def test_processes_share_each_batch(data: Coloured) -> None:
    whole = load(data, DRAWN)
    shares = [list(ClipLoader(data, FORM, CLIP, DRAWN, (rank, 3)).epoch(1)) for rank in range(3)]
    assert len(shares[2][-1].rows) == 0 and shares[2][-1].faces.shape == (0, 5, SIZE, SIZE, 3)
    for batch, *parts in zip(whole, *shares, strict=True):
        for rank, part in enumerate(parts):
            assert np.array_equal(part.rows, batch.rows[rank::3])
            for name in TENSORS:
                assert torch.equal(getattr(part, name), getattr(batch, name)[rank::3])


@pytest.mark.slow
def test_workers_yield_the_same_batches(data: Coloured) -> None:
    loader = ClipLoader(data, FORM, CLIP, replace(DRAWN, n_data_loader_thread=1))
    assert same(list(loader.epoch(1)), load(data, DRAWN))
    assert same(list(loader.epoch(2, skip=1)), load(data, DRAWN, epoch=2, skip=1))


def test_grey_faces_for_a_colour_network() -> None:
    loader = ClipLoader(MadeFaces(LENGTHS), FORM, CLIP, ALL)
    with pytest.raises(ValueError, match=r"the network reads colour.*again in colour"):
        next(loader.epoch(1))
    grey = next(ClipLoader(MadeFaces(LENGTHS), replace(FORM, colour=False), CLIP, ALL).epoch(1))
    assert grey.faces.shape == (16, 5, SIZE, SIZE)


def test_invalid_options(data: Coloured) -> None:
    with pytest.raises(ValueError, match="batch_size must be 1 or more"):
        ClipLoaderOptions(batch_size=0)
    with pytest.raises(ValueError, match="expected a rank below 2, got 2"):
        ClipLoader(data, FORM, CLIP, ALL, (2, 2))
