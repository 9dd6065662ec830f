"""Batches for networks that compare faces: an entity and others visible at the same time."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import NOT_SPEAKING, SPEAKING, UNLABELLED, DataSet, EntityPart
from utils.datasets.loading.augmentation import NOISE_PROBABILITY, SNR_DB, add_noise, augment_faces
from utils.datasets.loading.batch_plans import BatchPlan, EntityRange, rows_of
from utils.datasets.loading.sequence_batches import (
    CLIP,
    BatchSource,
    SequenceBatchMaker,
    to_network_input,
)
from utils.datasets.loading.speaker_choice import (
    ABSENT,
    SpeakerIndex,
    SpeakerOptions,
    draw_speakers,
)
from utils.datasets.loading.training_batch import TrainingBatch
from utils.features.mfcc import align
from utils.structures import SAMPLE_RATE, STEPS_PER_FRAME, InputSpec


class _BatchArrays(NamedTuple):
    """Arrays of a batch, or of one item without the first dimension."""

    audio: NDArray[np.float32]  # (B, 4 T, F)
    faces: NDArray[np.uint8]  # (B, S, T, H, W) or (B, S, T, H, W, 3); absent faces are black
    labels: NDArray[np.int8]  # (B, S, T)
    mask: NDArray[np.bool_]  # (B, S, T)


def read_visible(
    dataset: DataSet, entity: int, rows: NDArray[np.int64], inputs: InputSpec
) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Return faces and labels of the frames in which an entity is visible, (n, H, W) and (n,).

    Args:
        dataset: Source of the entity.
        entity: Its index.
        rows: Its frame at each time or ABSENT; it is visible at least once.
        inputs: Inputs of the network.
    """
    visible = rows[rows != ABSENT]
    first = int(visible.min())
    part = dataset.read(entity, first, int(visible.max()) + 1)
    return to_network_input(part.faces, inputs)[visible - first], part.labels[visible - first]


class SpeakerBatchMaker(SequenceBatchMaker):
    """Makes batches of S faces per item; runs in worker processes.

    The audio is the target's, and the faces are drawn by `draw_speakers`. Each is augmented
    separately, but repetitions of the target are copies of it. Absent faces, also in the padding,
    are black and masked.
    """

    def __init__(self, source: BatchSource, speakers: SpeakerOptions) -> None:
        super().__init__(source)
        self._speakers = speakers
        self._index = SpeakerIndex(source.dataset)

    def _make(self, epoch: int, plan: BatchPlan) -> TrainingBatch:
        """Return this rank's share of a batch."""
        import torch

        indices = range(self._rank, len(plan.items), self._world_size)
        items = tuple(plan.items[index] for index in indices)
        arrays = self._empty_batch(len(items), plan.num_frames)
        for row, (index, item) in enumerate(zip(indices, items, strict=True)):
            rng = np.random.default_rng((self._changes.seed, epoch, CLIP, plan.number, index))
            self._fill(_BatchArrays(*(array[row] for array in arrays)), item, rng)
        audio, faces, labels, mask = (torch.from_numpy(array) for array in arrays)
        return TrainingBatch(rows_of(items), audio, faces, labels, mask, speech=labels)

    def _empty_batch(self, num_clips: int, num_frames: int) -> _BatchArrays:
        """Return a batch without visible faces."""
        inputs, shape = self._inputs, (num_clips, self._speakers.num_speakers, num_frames)
        colours = (3,) if inputs.colour else ()
        return _BatchArrays(
            np.empty((num_clips, STEPS_PER_FRAME * num_frames, inputs.num_features), np.float32),
            np.zeros((*shape, inputs.size, inputs.size, *colours), np.uint8),
            np.full(shape, UNLABELLED, np.int8),
            np.zeros(shape, np.bool_),
        )

    def _fill(self, clip: _BatchArrays, item: EntityRange, rng: np.random.Generator) -> None:
        """Fill in an item of the batch: its audio and all faces."""
        part = self._read(item)
        waveform, matches = self._augmented_audio(item, part, rng)
        rows = self._index.rows(item.entity, part.timestamps)
        chosen = draw_speakers(item.entity, rows, self._speakers, rng)
        fps = self._dataset.entities[item.entity].fps
        num_frames = clip.labels.shape[1]
        clip.audio[:] = align(self._features(waveform, fps, len(item)), num_frames)
        for slot, entity in enumerate(chosen):
            if slot and entity == item.entity:
                self._copy_target(clip, slot)
                continue
            if slot:
                visible = np.flatnonzero(rows[entity] != ABSENT)
                faces, labels = read_visible(self._dataset, entity, rows[entity], self._inputs)
            else:
                visible = np.arange(len(item))
                faces, labels = to_network_input(part.faces, self._inputs), part.labels
            if not matches:
                labels = np.where(labels == SPEAKING, np.int8(NOT_SPEAKING), labels)
            augment = self._changes.augment
            clip.faces[slot, visible] = augment_faces(faces, rng) if augment else faces
            clip.labels[slot, visible] = labels
            clip.mask[slot, visible] = True

    @staticmethod
    def _copy_target(clip: _BatchArrays, slot: int) -> None:
        for speakers in (clip.faces, clip.labels, clip.mask):
            values: NDArray[Any] = speakers
            values[slot] = values[0]

    def _augmented_audio(
        self, item: EntityRange, part: EntityPart, rng: np.random.Generator
    ) -> tuple[NDArray[np.int16], bool]:
        """Return the augmented waveform of an item, and whether it matches the faces."""
        changes, waveform, matches = self._changes, part.waveform, True
        draw = rng.random()
        if (part.labels == SPEAKING).any() and draw < changes.shifted_share + changes.foreign_share:
            shifted = draw < changes.shifted_share
            mismatched = self._mismatched_audio(item, part, rng, shifted)
            if mismatched is not None:
                waveform, matches = mismatched, False
        if changes.augment and rng.random() < NOISE_PROBABILITY:
            noise = self._noise(item.entity, len(waveform), rng)
            if len(noise) and len(waveform):
                waveform = add_noise(waveform, noise, rng.uniform(*SNR_DB))
        return waveform, matches

    def _noise(self, entity: int, num_samples: int, rng: np.random.Generator) -> NDArray[np.int16]:
        """Return a waveform of any other entity; empty if there is no other."""
        entities = self._dataset.entities
        if len(entities) == 1:
            return np.empty(0, np.int16)
        index = (entity + int(rng.integers(1, len(entities)))) % len(entities)
        other = entities[index]
        needed = min(int(num_samples * other.fps / SAMPLE_RATE) + 1, other.num_frames)
        start = int(rng.integers(other.num_frames - needed + 1))
        return self._dataset.read(index, start, start + needed).waveform
