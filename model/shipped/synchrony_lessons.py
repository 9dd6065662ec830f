"""The first stage of Synchrony: learn from teachers what they see and how they score it."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model.contract import Network
from model.networks.synchrony import Synchrony
from utils.datasets.pairings.crop_augmentation import change_crops
from utils.datasets.pairings.sound_augmentation import degrade
from utils.datasets.storage.entity_store import EntityStore
from utils.datasets.talkset.sources import SourceFace
from utils.errors import UserError
from utils.features.mfcc import align, mfcc
from utils.structures import STEPS_PER_FRAME

LESSON_FRAMES = 68  # of a clip; the outer ones are context
LESSON_CLIPS = 5
KEPT_CLIPS = 2  # of the first stage, in each step of the second
MAX_FACES = 8  # of each person in the lessons
OTHER_SHARE = 0.3  # of batches whose faces have the audio of others
SCORE_SCALE = 4.0  # of the teachers' scores
SCORE_WEIGHT = 1.0
AT_ONCE = 72  # frames that are encoded together


class Lessons:
    """Faces of all people and what teachers make of them; the student sees them augmented.

    Args:
        store: Holds the faces.
        sources: What is known of them.
        teachers: The first one's embeddings are learned, and the mean of all scores.

    Raises:
        UserError: No face is seen for long enough.
    """

    def __init__(
        self, store: EntityStore, sources: Sequence[SourceFace], teachers: Sequence[Network]
    ) -> None:
        self.store, self.teachers = store, teachers
        places = {entity.name: index for index, entity in enumerate(store.entities)}
        self.people: dict[str, list[int]] = {}
        for source in sources:
            if source.num_frames >= LESSON_FRAMES:
                self.people.setdefault(source.person, []).append(places[source.name])
        if not self.people:
            raise UserError(f"expected faces of at least {LESSON_FRAMES} frames, found none")
        self.people = {person: own[:MAX_FACES] for person, own in self.people.items()}
        frames = [self._mean_frames(person) for person in self.people]
        self.weights = np.sqrt(frames) / np.sqrt(frames).sum()
        self._embeddings: dict[int, list[Tensor]] = {}  # of each face, from every teacher

    def _mean_frames(self, person: str) -> float:
        own = self.people[person]
        return float(np.mean([self.store.entities[place].num_frames for place in own]))

    def loss(
        self, network: Synchrony, rng: np.random.Generator, num_clips: int, bf16: bool = False
    ) -> Tensor:
        """Return how far the student's embeddings and first scores are from the teachers'."""
        clips = [self._draw(rng) for _ in range(num_clips)]
        parts = [self.store.read(place, start, start + LESSON_FRAMES) for place, start in clips]
        heard = [part.waveform for part in parts]
        if rng.random() < OTHER_SHARE:
            heard = heard[1:] + heard[:1]  # every face with the audio of another
        clean = _features(heard)
        noisy = _features([degrade(waveform, rng) for waveform in heard])
        faces = torch.from_numpy(np.stack([change_crops(part.faces, rng) for part in parts]))
        start, stop = network.radius, LESSON_FRAMES - network.radius
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            found = network.encode_faces(faces, start, stop)
        with torch.no_grad():
            targets = []
            for number in range(len(self.teachers)):
                rows = [self._embedded(place)[number] for place, _ in clips]
                parts_of = zip(rows, clips, strict=True)
                targets.append(torch.stack([r[a + start : a + stop] for r, (_, a) in parts_of]))
            scores = [
                _half_difference(teacher.fuse(teacher.encode_audio(clean), rows).av)
                for teacher, rows in zip(self.teachers, targets, strict=True)
            ]
            score = torch.stack(scores).mean(0)
        audio = network.encode_audio(noisy)
        first = network.first_score(audio, found)
        distance = functional.smooth_l1_loss(first / SCORE_SCALE, score / SCORE_SCALE)
        return _distance(found, targets[0]) + SCORE_WEIGHT * distance

    def _embedded(self, place: int) -> list[Tensor]:
        """Return what each teacher makes of a whole face, (T, 128); computed once."""
        if place not in self._embeddings:
            crops = self.store.read(place, 0, self.store.entities[place].num_frames).faces
            self._embeddings[place] = [encode_track(teacher, crops) for teacher in self.teachers]
        return self._embeddings[place]

    def _draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """Return an entity's place in the store, and the first frame of a clip of it."""
        person = list(self.people)[rng.choice(len(self.weights), p=self.weights)]
        place = self.people[person][rng.integers(len(self.people[person]))]
        num_frames = self.store.entities[place].num_frames
        return place, int(rng.integers(num_frames - LESSON_FRAMES + 1))


def _features(waveforms: Sequence[NDArray[np.int16]]) -> Tensor:
    """Return the MFCC of the frames that lessons compare, (B, 4 T, 13)."""
    rows = [align(mfcc(waveform), LESSON_FRAMES) for waveform in waveforms]
    inner = slice(STEPS_PER_FRAME * Synchrony.radius, -STEPS_PER_FRAME * Synchrony.radius)
    return torch.from_numpy(np.stack(rows)[:, inner])


def _half_difference(logits: Tensor) -> Tensor:
    return (logits[..., 1] - logits[..., 0]) / 2


def _distance(found: Tensor, target: Tensor) -> Tensor:
    """Return the squared error relative to the variance, plus one minus the cosine similarity."""
    error = (found - target).square().mean() / target.var()
    return error + (1 - functional.cosine_similarity(found, target, dim=2)).mean()


def encode_track(network: Network, crops: NDArray[np.uint8]) -> Tensor:
    """Return the embeddings (T, C) of a track, some frames at a time."""
    faces = torch.from_numpy(crops)[None]
    edges = [*range(0, len(crops), AT_ONCE), len(crops)]
    parts = [network.encode_faces(faces, start, stop)[0] for start, stop in pairwise(edges)]
    return torch.cat(parts)
