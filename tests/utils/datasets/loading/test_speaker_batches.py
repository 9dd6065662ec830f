"""Batches of several faces: contents, choice of the others, and reproducibility."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from utils.datasets.entities import EntityInfo
from utils.datasets.loading.batch_plans import BatchPlan, EntityRange, plan_batches, plan_whole
from utils.datasets.loading.sequence_batches import BatchSource, SequenceAugmentation
from utils.datasets.loading.speaker_batches import SpeakerBatchMaker
from utils.datasets.loading.speaker_choice import SpeakerOptions
from utils.datasets.loading.training_batch import TrainingBatch
from utils.datasets.storage.entity_store import EntityStore, EntityStoreWriter
from utils.features.log_mel import log_mel
from utils.features.mfcc import align
from utils.structures import InputSpec

SIZE = 16
SPANS = [  # video, first frame, frame after the last
    ("a", 0, 60),
    ("a", 10, 60),
    ("a", 20, 50),
    ("a", 55, 70),
    ("b", 0, 40),
    ("c", 5, 45),
    ("c", 0, 30),
]
ALONE = 4
LENGTHS = [last - first for _, first, last in SPANS]
FORM = InputSpec("log_mel", 64, SIZE)
SPEAKERS = SpeakerOptions()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EntityStore:
    """Each entity has its own grey level and audio level; labels alternate."""
    folder = tmp_path_factory.mktemp("store")
    writer = EntityStoreWriter(folder, SIZE)
    rng = np.random.default_rng(0)
    for number, (video, first, last) in enumerate(SPANS):
        frames = np.arange(first, last)
        labels = (frames // 5 % 2 == number % 2).astype(np.int8)
        info = EntityInfo(
            f"e{number}", video, len(frames), Fraction(25), int(labels.sum()), f"p{number}"
        )
        levels = 60 + 20 * number + frames % 4
        faces = np.broadcast_to(levels[:, None, None], (len(frames), SIZE, SIZE)).astype(np.uint8)
        waveform = rng.normal(0, 500 + 300 * number, 640 * len(frames)).astype(np.int16)
        writer.add(info, faces, waveform, labels, 900 + frames / 25)
    return EntityStore(folder)


def make(
    store: EntityStore,
    plan: BatchPlan,
    changes: SequenceAugmentation | None = None,
    speakers: SpeakerOptions = SPEAKERS,
    share: tuple[int, int] = (0, 1),
    epoch: int = 1,
) -> TrainingBatch:
    source = BatchSource(store, FORM, changes or SequenceAugmentation(), *share)
    maker = SpeakerBatchMaker(source, speakers)
    batch = maker.make((epoch, plan))
    assert isinstance(batch, TrainingBatch)
    return batch


def items_of(batch: TrainingBatch) -> list[EntityRange]:
    return [EntityRange(*row) for row in batch.rows.tolist()]


def same(one: TrainingBatch, two: TrainingBatch) -> bool:
    names = ("audio", "faces", "labels", "mask")
    return items_of(one) == items_of(two) and all(
        torch.equal(getattr(one, name), getattr(two, name)) for name in names
    )


def owners(batch: TrainingBatch, clip: int) -> list[int]:
    """Return the entity of each face of a clip, recognised by its grey level."""
    return [
        round((int(faces[mask].max()) - 61) / 20)
        for faces, mask in zip(batch.faces[clip], batch.mask[clip], strict=True)
    ]


def frames_of(item: EntityRange) -> range:
    first = SPANS[item.entity][1]
    return range(first + item.start, first + item.stop)


@pytest.mark.parametrize("min_share", [0.5, 0.0], ids=["training", "validation"])
def test_faces_are_at_the_frames_where_they_are_visible(
    store: EntityStore, min_share: float
) -> None:
    rng = np.random.default_rng(0)
    for plan in plan_batches(LENGTHS, 160, 45, rng):
        batch = make(store, plan, speakers=replace(SPEAKERS, min_share=min_share))
        clips, length = len(plan.items), plan.num_frames
        assert batch.faces.shape == (clips, 3, length, SIZE, SIZE)
        assert batch.labels.shape == batch.mask.shape == (clips, 3, length)
        assert batch.audio.shape == (clips, 4 * length, 64)
        for row, item in enumerate(items_of(batch)):
            found, frames = owners(batch, row), frames_of(item)
            assert found[0] == item.entity
            for speaker, entity in enumerate(found):
                video, first, last = SPANS[entity]
                assert video == SPANS[item.entity][0]
                seen = [frame in range(first, last) for frame in frames]
                seen += [False] * (length - len(frames))
                assert batch.mask[row, speaker].tolist() == seen
                assert entity == item.entity or sum(seen) > min_share * len(frames)
                labels = torch.full((length,), -1, dtype=torch.int8)
                labels[: len(frames)] = torch.tensor([f // 5 % 2 == entity % 2 for f in frames])
                labels[~batch.mask[row, speaker]] = -1
                assert torch.equal(batch.labels[row, speaker], labels)
                images = batch.faces[row, speaker].float().mean((1, 2))
                levels = torch.tensor([float(60 + 20 * entity + f % 4) for f in frames])
                levels = torch.nn.functional.pad(levels, (0, length - len(frames)))
                levels[~batch.mask[row, speaker]] = 0
                assert (images - levels).abs().max() < 2
            part = store.read(item.entity, item.start, item.stop)
            features = align(align(log_mel(part.waveform), len(item)), length)
            np.testing.assert_array_equal(batch.audio[row], features)


def test_single_face_is_repeated(store: EntityStore) -> None:
    plan = plan_whole(LENGTHS)[ALONE]
    batch = make(store, plan, SequenceAugmentation(augment=True))
    assert batch.mask.all()
    for speaker in (1, 2):
        assert torch.equal(batch.faces[:, speaker], batch.faces[:, 0])
        assert torch.equal(batch.labels[:, speaker], batch.labels[:, 0])


def test_others_change_from_epoch_to_epoch(store: EntityStore) -> None:
    plan = plan_whole(LENGTHS)[1]
    found = {tuple(owners(make(store, plan, epoch=epoch), 0)) for epoch in range(1, 20)}
    assert found == {(1, 0, 2), (1, 2, 0)}


CHANGED = SequenceAugmentation(seed=3, augment=True, shifted_share=0.3, foreign_share=0.3)


def test_the_same_seed_gives_the_same_batches(store: EntityStore) -> None:
    items = tuple(EntityRange(number, 0, length) for number, length in enumerate(LENGTHS))
    plan = BatchPlan(0, max(LENGTHS), items)
    whole = make(store, plan, CHANGED)
    assert same(whole, make(store, plan, CHANGED))
    assert not same(whole, make(store, plan, replace(CHANGED, seed=4)))
    for rank in range(3):
        part = make(store, plan, CHANGED, share=(rank, 3))
        assert items_of(part) == list(items[rank::3])
        for name in ("audio", "faces", "labels", "mask"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[rank::3]), name


def test_each_face_is_augmented_separately(store: EntityStore) -> None:
    """Rotated faces have black corners; each is rotated independently of the others."""
    plan = plan_whole(LENGTHS)[0]
    turned = set()
    for seed in range(40):
        batch = make(store, plan, SequenceAugmentation(seed=seed, augment=True))
        corners = batch.faces[0, :, :, 0, 0].float()
        shown = [bool((c[m] < 20).any()) for c, m in zip(corners, batch.mask[0], strict=True)]
        turned.add(tuple(shown[:2]))
        assert (batch.faces[0][~batch.mask[0]] == 0).all()
    assert turned == {(False, False), (False, True), (True, False), (True, True)}


def test_half_of_the_clips_get_noise_of_any_other_entity(store: EntityStore) -> None:
    plan = plan_whole(LENGTHS)[ALONE]  # alone in its batch and its video
    plain = make(store, plan)
    noisy = [
        not torch.equal(
            make(store, plan, SequenceAugmentation(seed=seed, augment=True)).audio, plain.audio
        )
        for seed in range(60)
    ]
    assert 18 <= sum(noisy) <= 42


@pytest.mark.parametrize(
    "changes",
    [SequenceAugmentation(shifted_share=1.0), SequenceAugmentation(foreign_share=1.0)],
    ids=["shifted", "foreign"],
)
def test_with_mismatched_audio_nobody_speaks(
    store: EntityStore, changes: SequenceAugmentation
) -> None:
    plan = plan_whole(LENGTHS)[0]
    plain, wrong = make(store, plan), make(store, plan, changes)
    assert torch.equal(plain.mask, wrong.mask)
    assert not torch.equal(plain.audio, wrong.audio)
    assert (plain.labels[0] == 1).any(dim=1).all()
    assert (wrong.labels[wrong.mask] == 0).all()


def test_single_entity(tmp_path: Path) -> None:
    writer = EntityStoreWriter(tmp_path, SIZE)
    faces = np.full((5, SIZE, SIZE), 100, np.uint8)
    info = EntityInfo("e", "v", 5, Fraction(25), 0)
    writer.add(info, faces, np.ones(3200, np.int16), np.zeros(5, np.int8), np.arange(5) / 25)
    store = EntityStore(tmp_path)
    for seed in range(4):
        batch = make(store, plan_whole([5])[0], SequenceAugmentation(seed=seed, augment=True))
        assert batch.mask.all() and batch.faces.shape == (1, 3, 5, SIZE, SIZE)
