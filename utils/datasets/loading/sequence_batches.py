"""Read the clips of a batch, change them at random, and turn them into tensors."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import NOT_SPEAKING, SPEAKING, UNLABELLED, DataSet, EntityPart
from utils.datasets.loading.augmentation import can_shift, change_faces, mix_noise, shift_sound
from utils.datasets.loading.batch_plans import BatchPlan, Item, rows_of
from utils.datasets.loading.training_batch import TrainingBatch
from utils.errors import UserError
from utils.features import feature_function
from utils.features.mfcc import align
from utils.structures import SAMPLE_RATE, STEPS_PER_FRAME, InputSpec

CLIP = 1  # a generator's purpose; the order of the batches has its own
DRAWS = 20  # how often another voice is looked for


@dataclass(frozen=True)
class Changes:
    """What is changed at random."""

    seed: int = 0
    augment: bool = False
    shifted_share: float = 0.0  # of the speaking clips
    foreign_share: float = 0.0


class BatchMaker:
    """Makes batches of plans; goes to the reading processes."""

    def __init__(
        self,
        dataset: DataSet,
        inputs: InputSpec,
        changes: Changes,
        rank: int,
        world_size: int,
    ) -> None:
        self._dataset, self._inputs, self._changes = dataset, inputs, changes
        self._rank, self._world_size = rank, world_size

    def make(self, plan: tuple[int, BatchPlan]) -> TrainingBatch:
        """Return this process' share of a batch of an epoch."""
        return self._make(*plan)

    def _make(self, epoch: int, plan: BatchPlan) -> TrainingBatch:
        """Return this process' share of a batch."""
        import torch

        places = range(self._rank, len(plan.items), self._world_size)
        parts = {place: self._read(plan.items[place]) for place in places}
        batch = self._empty(len(places), plan.num_frames)
        for row, place in enumerate(places):
            rng = np.random.default_rng((self._changes.seed, epoch, CLIP, plan.number, place))
            faces, sound, labels = self._changed(plan, place, parts, rng)
            length = len(labels)
            fps = self._dataset.entities[plan.items[place].entity].fps
            batch[0][row] = align(self._features(sound, fps, length), plan.num_frames)
            batch[1][row, :length] = faces
            batch[1][row, length:] = faces[-1]
            batch[2][row, :length] = labels
            batch[3][row, :length] = True
        audio, seen, target, mask = (torch.from_numpy(array) for array in batch)
        rows = rows_of([plan.items[place] for place in places])
        return TrainingBatch(rows, audio, seen, target, mask, speech=target)

    def _empty(self, num_clips: int, num_frames: int) -> tuple[NDArray[Any], ...]:
        """Return audio, faces, labels and mask to be filled."""
        inputs = self._inputs
        picture = (inputs.size, inputs.size, 3) if inputs.colour else (inputs.size, inputs.size)
        steps = STEPS_PER_FRAME * num_frames
        return (
            np.empty((num_clips, steps, inputs.num_features), np.float32),
            np.empty((num_clips, num_frames, *picture), np.uint8),
            np.full((num_clips, num_frames), UNLABELLED, np.int8),
            np.zeros((num_clips, num_frames), np.bool_),
        )

    def _changed(
        self,
        plan: BatchPlan,
        place: int,
        parts: dict[int, EntityPart],
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.uint8], NDArray[np.int16], NDArray[np.int8]]:
        """Return faces, sound and labels of one clip after all random changes."""
        changes, part = self._changes, parts[place]
        faces, sound, labels = as_read(part.faces, self._inputs), part.waveform, part.labels
        draw = rng.random()
        if (labels == SPEAKING).any() and draw < changes.shifted_share + changes.foreign_share:
            shifted = draw < changes.shifted_share
            wrong = self._wrong_sound(plan.items[place], part, rng, shifted)
            if wrong is not None:
                sound = wrong
                labels = np.where(labels == SPEAKING, np.int8(NOT_SPEAKING), labels)
        if changes.augment:
            others = [other for other in range(len(plan.items)) if other != place]
            noise = np.empty(0, np.int16)
            if others:
                noise = self._sound_of(plan, int(rng.choice(others)), parts)
            sound = mix_noise(sound, noise, rng)
            faces = change_faces(faces, rng)
        return faces, sound, labels

    def _wrong_sound(
        self, item: Item, part: EntityPart, rng: np.random.Generator, shifted: bool
    ) -> NDArray[np.int16] | None:
        """Return sound that these lips did not make; None where none can be had."""
        if not shifted:
            return self._foreign_sound(item, len(part.waveform), rng)
        return shift_sound(part.waveform, rng) if can_shift(part.waveform) else None

    def _foreign_sound(
        self, item: Item, num_samples: int, rng: np.random.Generator
    ) -> NDArray[np.int16] | None:
        """Return as much sound of somebody who speaks in another video."""
        entities = self._dataset.entities
        own = entities[item.entity]
        for index in rng.integers(len(entities), size=DRAWS).tolist():
            other = entities[index]
            same = other.video == own.video or (other.person and other.person == own.person)
            if same or not other.num_speaking:
                continue
            needed = min(int(num_samples * other.fps / SAMPLE_RATE) + 1, other.num_frames)
            start = int(rng.integers(other.num_frames - needed + 1))
            sound = self._dataset.read(index, start, start + needed).waveform
            if len(sound):
                return np.resize(sound, num_samples)
        return None

    def _sound_of(
        self, plan: BatchPlan, place: int, parts: dict[int, EntityPart]
    ) -> NDArray[np.int16]:
        """Return the sound of any clip of the batch, also of another process' share."""
        part = parts.get(place) or self._read(plan.items[place])
        return part.waveform

    def _read(self, item: Item) -> EntityPart:
        return self._dataset.read(item.entity, item.start, item.stop)

    def _features(
        self, sound: NDArray[np.int16], fps: Fraction, num_frames: int
    ) -> NDArray[np.float32]:
        """Return four rows of features for each frame."""
        compute = feature_function(self._inputs.feature)
        rows = compute(sound, fps, stop=STEPS_PER_FRAME * num_frames)
        return align(rows, num_frames)


def check_colour(faces: NDArray[np.uint8], inputs: InputSpec) -> None:
    """Raise UserError where faces are grey, but the network reads colour."""
    if inputs.colour and faces.ndim == 3:
        raise UserError(
            "expected faces in colour, as the network reads them, found grey ones; "
            "prepare the data again in colour"
        )


def as_read(faces: NDArray[np.uint8], inputs: InputSpec) -> NDArray[np.uint8]:
    """Return faces in the size and colour that the network reads."""
    check_colour(faces, inputs)
    if not inputs.colour and faces.ndim == 4:
        faces = np.stack([cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) for face in faces])
    if faces.shape[1:3] != (inputs.size, inputs.size):
        faces = np.stack([cv2.resize(face, (inputs.size, inputs.size)) for face in faces])
    return np.asarray(faces, np.uint8)
