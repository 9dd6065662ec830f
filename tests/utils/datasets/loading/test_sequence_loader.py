"""Batches of sequences: coverage, reproducibility and resuming."""

import os
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from utils.datasets.entities import EntityInfo
from utils.datasets.loading.batch_plans import EntityRange, plan_batches
from utils.datasets.loading.sequence_loader import SequenceLoader, SequenceLoaderOptions
from utils.datasets.loading.training_batch import TrainingBatch
from utils.datasets.storage.entity_store import EntityStore, EntityStoreWriter
from utils.errors import ResourceError
from utils.features.mfcc import align, mfcc
from utils.structures import InputSpec

SIZE = 16
LENGTHS = [90, 75, 75, 74, 40, 33, 30, 12, 7, 1]
RATES = [Fraction(25), Fraction(30), Fraction(24000, 1001)]
FORM = InputSpec(size=SIZE)
ALL = SequenceLoaderOptions(batch_size=160, n_data_loader_thread=0, seed=3)
CHANGED = replace(ALL, augment=True, shifted_share=0.3, foreign_share=0.3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EntityStore:
    """Entities whose images encode their number, with random audio and labels."""
    folder = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(0)
    writer = EntityStoreWriter(folder, SIZE)
    for number, length in enumerate(LENGTHS):
        fps = RATES[number % 3]
        labels = (np.arange(length) % 20 < 10).astype(np.int8)
        if number == 4:
            labels[:5] = -1
        info = EntityInfo(
            f"e{number}", f"v{number}", length, fps, int((labels == 1).sum()), f"p{number}"
        )
        faces = rng.integers(0, 40, (length, 1, 1)) + 20 * number + np.zeros((1, SIZE, SIZE))
        waveform = rng.normal(0, 1000, int(length / fps * 16000)).astype(np.int16)
        writer.add(info, faces.astype(np.uint8), waveform, labels, np.arange(length) / float(fps))
    return EntityStore(folder)


def load(
    store: EntityStore, options: SequenceLoaderOptions, epoch: int = 1, skip: int = 0
) -> list[TrainingBatch]:
    return list(SequenceLoader(store, FORM, options).epoch(epoch, skip))


def items_of(batch: TrainingBatch) -> list[EntityRange]:
    return [EntityRange(*row) for row in batch.rows.tolist()]


def same(one: Sequence[TrainingBatch], two: Sequence[TrainingBatch]) -> bool:
    return len(one) == len(two) and all(
        items_of(a) == items_of(b)
        and all(
            torch.equal(getattr(a, name), getattr(b, name))
            for name in ("audio", "faces", "labels", "mask")
        )
        for a, b in zip(one, two, strict=True)
    )


@pytest.mark.parametrize("options", [ALL, replace(ALL, max_clip=25), CHANGED])
def test_every_frame_is_in_one_batch(store: EntityStore, options: SequenceLoaderOptions) -> None:
    seen: Counter[tuple[int, int]] = Counter()
    for batch in load(store, options):
        num_clips, num_frames = batch.mask.shape
        assert batch.audio.shape == (num_clips, 4 * num_frames, 13)
        assert batch.faces.shape == (num_clips, num_frames, SIZE, SIZE)
        assert num_clips * num_frames <= options.batch_size
        for item, mask in zip(items_of(batch), batch.mask, strict=True):
            assert mask.tolist() == [True] * len(item) + [False] * (num_frames - len(item))
            seen.update((item.entity, frame) for frame in range(item.start, item.stop))
    expected = {(entity, frame) for entity, n in enumerate(LENGTHS) for frame in range(n)}
    assert set(seen) == expected and set(seen.values()) == {1}


def test_clips_equal_the_store(store: EntityStore) -> None:
    for batch in load(store, ALL):
        for row, item in enumerate(items_of(batch)):
            part = store.read(item.entity, item.start, item.stop)
            length = len(item)
            assert (batch.faces[row, :length].numpy() == part.faces).all()
            assert (batch.faces[row, length:].numpy() == part.faces[-1]).all()
            assert (batch.labels[row, :length].numpy() == part.labels).all()
            assert (batch.labels[row, length:] == -1).all()
            fps = store.entities[item.entity].fps
            features = align(mfcc(part.waveform, fps), length)
            assert (batch.audio[row, : 4 * length].numpy() == features).all()


def test_the_same_seed_gives_the_same_batches(store: EntityStore) -> None:
    whole = load(store, CHANGED)
    assert same(whole, load(store, CHANGED))
    assert same(whole[3:], load(store, CHANGED, skip=3))
    assert not same(whole, load(store, CHANGED, epoch=2))
    assert not same(whole, load(store, replace(CHANGED, seed=4)))
    loader = SequenceLoader(store, FORM, CHANGED)
    assert [loader.len_epoch(number) for number in (1, 2)] == [len(whole)] * 2


def test_processes_share_each_batch(store: EntityStore) -> None:
    whole = load(store, CHANGED)
    shares = [list(SequenceLoader(store, FORM, CHANGED, rank, 3).epoch(1)) for rank in range(3)]
    assert {len(share) for share in shares} == {len(whole)}
    for batch, *parts in zip(whole, *shares, strict=True):
        for rank, part in enumerate(parts):
            assert items_of(part) == items_of(batch)[rank::3]
            assert part.mask.shape == (len(items_of(part)), batch.mask.shape[1])
            assert torch.equal(part.audio, batch.audio[rank::3])
            assert torch.equal(part.faces, batch.faces[rank::3])
            assert torch.equal(part.labels, batch.labels[rank::3])


@pytest.mark.slow
def test_workers_yield_the_same_batches_and_may_be_killed(store: EntityStore) -> None:
    options = replace(CHANGED, n_data_loader_thread=2)
    loader = SequenceLoader(store, FORM, options)
    assert same(list(loader.epoch(1)), load(store, CHANGED))
    broken_off = loader.epoch(1)
    next(broken_off)
    assert same(list(loader.epoch(2, skip=1)), load(store, CHANGED, epoch=2, skip=1))
    going = loader.epoch(1)
    next(going)
    workers = [int(pid) for pid in children() if "spawn_main" in command(int(pid))]
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    with pytest.raises(ResourceError, match="a process that reads data was killed"):
        list(going)
        list(loader.epoch(1))


def children() -> list[str]:
    me = os.getpid()
    return [
        path.name
        for path in Path("/proc").glob("[0-9]*")
        if (path / "stat").exists()
        and (path / "stat").read_text().rpartition(")")[2].split()[1] == str(me)
    ]


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_mismatched_audio_counts_as_not_speaking(store: EntityStore) -> None:
    plain = load(store, ALL)
    for options in (replace(ALL, shifted_share=1.0), replace(ALL, foreign_share=1.0)):
        changed = load(store, options)
        assert [items_of(batch) for batch in changed] == [items_of(batch) for batch in plain]
        num_changed = 0
        for one, two in zip(plain, changed, strict=True):
            assert torch.equal(one.faces, two.faces)
            assert torch.equal(one.labels == -1, two.labels == -1)
            for row in range(len(items_of(one))):
                differs = not torch.equal(one.audio[row], two.audio[row])
                if (one.labels[row] == 1).any() and differs:
                    assert not (two.labels[row] == 1).any()
                    num_changed += 1
                else:
                    assert torch.equal(one.labels[row], two.labels[row])
        assert num_changed >= len(LENGTHS) - 4


def test_whole_gives_entities_in_order(store: EntityStore) -> None:
    batches = load(store, replace(ALL, whole=True))
    assert [batch.mask.shape for batch in batches] == [(1, length) for length in LENGTHS]
    assert [items_of(batch)[0].entity for batch in batches] == list(range(len(LENGTHS)))


def test_published_batches_cut_to_the_shortest(store: EntityStore) -> None:
    batches = load(store, replace(ALL, published_batches=True))
    clips = {
        tuple(LENGTHS[item.entity] for item in items_of(batch)): batch.mask.shape[1]
        for batch in batches
    }
    assert clips == {(90,): 90, (75, 75): 75, (74, 40): 40, (33, 30, 12, 7): 7, (1,): 1}
    assert all(batch.mask.all() for batch in batches)


def test_padding_is_rare_in_large_data_sets() -> None:
    rng = np.random.default_rng(0)
    lengths = np.clip(
        rng.gamma(1.2, 75, 30000).astype(int), 8, 310
    ).tolist()  # distributed as in AVA
    plans = plan_batches(lengths, 2500, 0, rng)
    assert sum(len(item) for plan in plans for item in plan.items) == sum(lengths)
    read = sum(plan.num_frames * len(plan.items) for plan in plans)
    assert read < 1.005 * sum(lengths) and read / len(plans) > 2300


def test_other_crop_formats(store: EntityStore, tmp_path: Path) -> None:
    small = next(iter(SequenceLoader(store, replace(FORM, size=8), ALL).epoch(1)))
    assert small.faces.shape[2:] == (8, 8)
    with pytest.raises(ValueError, match=r"the network reads colour.*again in colour"):
        next(iter(SequenceLoader(store, replace(FORM, colour=True), ALL).epoch(1)))
    faces = np.zeros((5, SIZE, SIZE, 3), np.uint8)
    faces[..., 0] = 200  # red
    writer = EntityStoreWriter(tmp_path, SIZE, colour=True)
    info = EntityInfo("e", "v", 5, Fraction(25), 0)
    writer.add(info, faces, np.zeros(3200, np.int16), np.zeros(5, np.int8), np.arange(5) / 25)
    red = next(
        iter(SequenceLoader(EntityStore(tmp_path), replace(FORM, colour=True), ALL).epoch(1))
    ).faces
    assert red.shape == (1, 5, SIZE, SIZE, 3)
    assert red[..., 0].min() > 180 and red[..., 2].max() < 60
    grey = next(iter(SequenceLoader(EntityStore(tmp_path), FORM, ALL).epoch(1))).faces
    assert grey.shape == (1, 5, SIZE, SIZE) and abs(float(grey.float().mean()) - 60) < 5


def test_damaged_data_is_named(store: EntityStore) -> None:
    path = sorted(store.folder.glob("*/*.face"))[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    try:
        with pytest.raises(ValueError, match="damaged or cut off") as failure:
            load(store, ALL)
        assert str(path) in str(failure.value)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        ({"batch_size": 0}, "--batchSize must be 1 or more, got 0"),
        ({"n_data_loader_thread": -1}, "--nDataLoaderThread must be 0 or more"),
        ({"shifted_share": 0.6, "foreign_share": 0.6}, "at most 1 together, got 0.6 and 0.6"),
    ],
    ids=["batch", "workers", "shares"],
)
def test_invalid_options(invalid: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SequenceLoaderOptions(**invalid)  # type: ignore[arg-type]
