"""Read the items of a batch, augment them, and convert them to tensors."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import NOT_SPEAKING, SPEAKING, UNLABELLED, DataSet, EntityPart
from utils.datasets.loading.augmentation import augment_faces, can_shift, mix_noise, shift_audio
from utils.datasets.loading.batch_plans import BatchPlan, EntityRange, rows_of
from utils.datasets.loading.training_batch import TrainingBatch
from utils.errors import UserError
from utils.features import feature_function
from utils.features.mfcc import align
from utils.structures import SAMPLE_RATE, STEPS_PER_FRAME, InputSpec

CLIP = 1  # part of a random generator's seed, by purpose
DRAWS = 20  # attempts to find another person's speech


@dataclass(frozen=True)
class SequenceAugmentation:
    """How sequences are augmented."""

    seed: int = 0
    augment: bool = False
    shifted_share: float = 0.0  # of the speaking items
    foreign_share: float = 0.0


@dataclass(frozen=True, eq=False)
class BatchSource:
    """What batches are made of, and which share of each."""

    dataset: DataSet
    inputs: InputSpec
    changes: SequenceAugmentation
    rank: int = 0
    world_size: int = 1


class SequenceBatchMaker:
    """Makes the batches of `SequenceLoader`; runs in worker processes."""

    def __init__(self, source: BatchSource) -> None:
        self._dataset, self._inputs, self._changes = source.dataset, source.inputs, source.changes
        self._rank, self._world_size = source.rank, source.world_size

    def make(self, plan: tuple[int, BatchPlan]) -> TrainingBatch:
        """Return this rank's share of a batch; `plan` is the epoch and its batch."""
        return self._make(*plan)

    def _make(self, epoch: int, plan: BatchPlan) -> TrainingBatch:
        """Return this rank's share of a batch."""
        import torch

        indices = range(self._rank, len(plan.items), self._world_size)
        parts = {index: self._read(plan.items[index]) for index in indices}
        batch = self._empty(len(indices), plan.num_frames)
        for row, index in enumerate(indices):
            rng = np.random.default_rng((self._changes.seed, epoch, CLIP, plan.number, index))
            faces, waveform, labels = self._augmented(plan, index, parts, rng)
            length = len(labels)
            fps = self._dataset.entities[plan.items[index].entity].fps
            batch[0][row] = align(self._features(waveform, fps, length), plan.num_frames)
            batch[1][row, :length] = faces
            batch[1][row, length:] = faces[-1]
            batch[2][row, :length] = labels
            batch[3][row, :length] = True
        audio, images, target, mask = (torch.from_numpy(array) for array in batch)
        rows = rows_of([plan.items[index] for index in indices])
        return TrainingBatch(rows, audio, images, target, mask, speech=target)

    def _empty(self, num_clips: int, num_frames: int) -> tuple[NDArray[Any], ...]:
        """Return empty arrays for audio, faces, labels and mask."""
        inputs = self._inputs
        image = (inputs.size, inputs.size, 3) if inputs.colour else (inputs.size, inputs.size)
        steps = STEPS_PER_FRAME * num_frames
        return (
            np.empty((num_clips, steps, inputs.num_features), np.float32),
            np.empty((num_clips, num_frames, *image), np.uint8),
            np.full((num_clips, num_frames), UNLABELLED, np.int8),
            np.zeros((num_clips, num_frames), np.bool_),
        )

    def _augmented(
        self,
        plan: BatchPlan,
        index: int,
        parts: dict[int, EntityPart],
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.uint8], NDArray[np.int16], NDArray[np.int8]]:
        """Return augmented faces, waveform and labels of one item."""
        changes, part = self._changes, parts[index]
        faces = to_network_input(part.faces, self._inputs)
        waveform, labels = part.waveform, part.labels
        draw = rng.random()
        if (labels == SPEAKING).any() and draw < changes.shifted_share + changes.foreign_share:
            shifted = draw < changes.shifted_share
            mismatched = self._mismatched_audio(plan.items[index], part, rng, shifted)
            if mismatched is not None:
                waveform = mismatched
                labels = np.where(labels == SPEAKING, np.int8(NOT_SPEAKING), labels)
        if changes.augment:
            others = [other for other in range(len(plan.items)) if other != index]
            noise = np.empty(0, np.int16)
            if others:
                noise = self._waveform_of(plan, int(rng.choice(others)), parts)
            waveform = mix_noise(waveform, noise, rng)
            faces = augment_faces(faces, rng)
        return faces, waveform, labels

    def _mismatched_audio(
        self, item: EntityRange, part: EntityPart, rng: np.random.Generator, shifted: bool
    ) -> NDArray[np.int16] | None:
        """Return a waveform that does not match the lips, or None if there is none."""
        if not shifted:
            return self._foreign_audio(item, len(part.waveform), rng)
        return shift_audio(part.waveform, rng) if can_shift(part.waveform) else None

    def _foreign_audio(
        self, item: EntityRange, num_samples: int, rng: np.random.Generator
    ) -> NDArray[np.int16] | None:
        """Return another speaker's waveform from another video, or None if none is found."""
        entities = self._dataset.entities
        target = entities[item.entity]
        for index in rng.integers(len(entities), size=DRAWS).tolist():
            other = entities[index]
            same = other.video == target.video or (other.person and other.person == target.person)
            if same or not other.num_speaking:
                continue
            needed = min(int(num_samples * other.fps / SAMPLE_RATE) + 1, other.num_frames)
            start = int(rng.integers(other.num_frames - needed + 1))
            waveform = self._dataset.read(index, start, start + needed).waveform
            if len(waveform):
                return np.resize(waveform, num_samples)
        return None

    def _waveform_of(
        self, plan: BatchPlan, index: int, parts: dict[int, EntityPart]
    ) -> NDArray[np.int16]:
        """Return the waveform of any item of the batch, even of another rank's share."""
        part = parts.get(index) or self._read(plan.items[index])
        return part.waveform

    def _read(self, item: EntityRange) -> EntityPart:
        return self._dataset.read(item.entity, item.start, item.stop)

    def _features(
        self, waveform: NDArray[np.int16], fps: Fraction, num_frames: int
    ) -> NDArray[np.float32]:
        """Return features, four steps for each frame."""
        compute = feature_function(self._inputs.feature)
        steps = compute(waveform, fps, stop=STEPS_PER_FRAME * num_frames)
        return align(steps, num_frames)


def check_colour(faces: NDArray[np.uint8], inputs: InputSpec) -> None:
    """Raise UserError if the faces are grey but the network reads colour."""
    if inputs.colour and faces.ndim == 3:
        raise UserError(
            "the network reads colour, but the stored faces are grey; "
            "prepare the data again in colour"
        )


def to_network_input(faces: NDArray[np.uint8], inputs: InputSpec) -> NDArray[np.uint8]:
    """Return faces in the network's input size and colour."""
    check_colour(faces, inputs)
    if not inputs.colour and faces.ndim == 4:
        faces = np.stack([cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) for face in faces])
    if faces.shape[1:3] != (inputs.size, inputs.size):
        faces = np.stack([cv2.resize(face, (inputs.size, inputs.size)) for face in faces])
    return np.asarray(faces, np.uint8)
