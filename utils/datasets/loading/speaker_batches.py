"""Batches for networks that compare faces: one entity's clip, and others at the same time."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import NOT_SPEAKING, SPEAKING, UNLABELLED, DataSet, EntityPart
from utils.datasets.loading.augmentation import NOISE_PROBABILITY, SNR_DB, add_noise, change_faces
from utils.datasets.loading.batch_plans import BatchPlan, Item, rows_of
from utils.datasets.loading.sequence_batches import CLIP, BatchMaker, Changes, as_read
from utils.datasets.loading.speaker_choice import (
    ABSENT,
    SpeakerIndex,
    SpeakerOptions,
    draw_speakers,
)
from utils.datasets.loading.training_batch import TrainingBatch
from utils.features.mfcc import align
from utils.structures import SAMPLE_RATE, STEPS_PER_FRAME, InputSpec


class _Arrays(NamedTuple):
    """A batch, or one clip of it without the first dimension."""

    audio: NDArray[np.float32]  # (B, 4 T, F)
    faces: NDArray[np.uint8]  # (B, S, T, H, W) or (B, S, T, H, W, 3); absent faces are black
    labels: NDArray[np.int8]  # (B, S, T)
    mask: NDArray[np.bool_]  # (B, S, T)


def read_seen(
    dataset: DataSet, entity: int, rows: NDArray[np.int64], inputs: InputSpec
) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Return faces and labels of an entity where it is seen, (n, H, W) and (n,).

    Args:
        dataset: Where it is read from.
        entity: Its number.
        rows: Its row at each moment or ABSENT, at least one of them a row.
        inputs: What the network reads.
    """
    seen = rows[rows != ABSENT]
    first = int(seen.min())
    part = dataset.read(entity, first, int(seen.max()) + 1)
    return as_read(part.faces, inputs)[seen - first], part.labels[seen - first]


class SpeakerBatchMaker(BatchMaker):
    """Makes batches of S faces a clip; goes to the reading processes.

    The sound is the target's, and S faces are drawn by the published rule: `draw_speakers`. They
    are changed each by itself, but repeats of the target are copies of it. Where a face is
    absent, as at the end of clips shorter than the batch, it is black and does not count.
    """

    def __init__(
        self,
        dataset: DataSet,
        inputs: InputSpec,
        changes: Changes,
        rank: int,
        world_size: int,
        speakers: SpeakerOptions,
    ) -> None:
        super().__init__(dataset, inputs, changes, rank, world_size)
        self._speakers = speakers
        self._index = SpeakerIndex(dataset)

    def _make(self, epoch: int, plan: BatchPlan) -> TrainingBatch:
        """Return this process' share of a batch."""
        import torch

        places = range(self._rank, len(plan.items), self._world_size)
        items = tuple(plan.items[place] for place in places)
        arrays = self._black(len(items), plan.num_frames)
        for row, (place, item) in enumerate(zip(places, items, strict=True)):
            rng = np.random.default_rng((self._changes.seed, epoch, CLIP, plan.number, place))
            self._fill(_Arrays(*(array[row] for array in arrays)), item, rng)
        audio, faces, labels, mask = (torch.from_numpy(array) for array in arrays)
        return TrainingBatch(rows_of(items), audio, faces, labels, mask, speech=labels)

    def _black(self, num_clips: int, num_frames: int) -> _Arrays:
        """Return a batch in which nobody is seen."""
        inputs, shape = self._inputs, (num_clips, self._speakers.num_speakers, num_frames)
        colours = (3,) if inputs.colour else ()
        return _Arrays(
            np.empty((num_clips, STEPS_PER_FRAME * num_frames, inputs.num_features), np.float32),
            np.zeros((*shape, inputs.size, inputs.size, *colours), np.uint8),
            np.full(shape, UNLABELLED, np.int8),
            np.zeros(shape, np.bool_),
        )

    def _fill(self, clip: _Arrays, item: Item, rng: np.random.Generator) -> None:
        """Put an item and the faces beside it into a clip of the batch."""
        part = self._read(item)
        sound, right = self._heard(item, part, rng)
        rows = self._index.rows(item.entity, part.timestamps)
        chosen = draw_speakers(item.entity, rows, self._speakers, rng)
        fps = self._dataset.entities[item.entity].fps
        num_frames = clip.labels.shape[1]
        clip.audio[:] = align(self._features(sound, fps, len(item)), num_frames)
        for place, entity in enumerate(chosen):
            if place and entity == item.entity:
                self._copy_target(clip, place)
                continue
            if place:
                seen = np.flatnonzero(rows[entity] != ABSENT)
                faces, labels = read_seen(self._dataset, entity, rows[entity], self._inputs)
            else:
                seen = np.arange(len(item))
                faces, labels = as_read(part.faces, self._inputs), part.labels
            if not right:
                labels = np.where(labels == SPEAKING, np.int8(NOT_SPEAKING), labels)
            clip.faces[place, seen] = change_faces(faces, rng) if self._changes.augment else faces
            clip.labels[place, seen] = labels
            clip.mask[place, seen] = True

    @staticmethod
    def _copy_target(clip: _Arrays, place: int) -> None:
        for speakers in (clip.faces, clip.labels, clip.mask):
            values: NDArray[Any] = speakers
            values[place] = values[0]

    def _heard(
        self, item: Item, part: EntityPart, rng: np.random.Generator
    ) -> tuple[NDArray[np.int16], bool]:
        """Return the sound of a clip after all changes, and whether it is that of the faces."""
        changes, sound, right = self._changes, part.waveform, True
        draw = rng.random()
        if (part.labels == SPEAKING).any() and draw < changes.shifted_share + changes.foreign_share:
            wrong = self._wrong_sound(item, part, rng, draw < changes.shifted_share)
            if wrong is not None:
                sound, right = wrong, False
        if changes.augment and rng.random() < NOISE_PROBABILITY:
            noise = self._noise(item.entity, len(sound), rng)
            if len(noise) and len(sound):
                sound = add_noise(sound, noise, rng.uniform(*SNR_DB))
        return sound, right

    def _noise(self, entity: int, num_samples: int, rng: np.random.Generator) -> NDArray[np.int16]:
        """Return sound of any other entity of the whole data set; none where it has one only."""
        entities = self._dataset.entities
        if len(entities) == 1:
            return np.empty(0, np.int16)
        index = (entity + int(rng.integers(1, len(entities)))) % len(entities)
        other = entities[index]
        needed = min(int(num_samples * other.fps / SAMPLE_RATE) + 1, other.num_frames)
        start = int(rng.integers(other.num_frames - needed + 1))
        return self._dataset.read(index, start, start + needed).waveform
