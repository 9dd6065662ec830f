"""Made sets of talking faces, and a network small enough to learn the first in seconds.

In each clip of `MadeFaces` a patch where the mouth is grows and shrinks, and a noise gets louder
and softer. Where somebody speaks both follow one curve, elsewhere each its own: neither alone
tells who speaks. `write_talks` makes videos in which several faces are seen at once, as a store.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.contract import Logits, Network, Recipe
from model.ranks import Ranks
from utils.datasets.entities import EntityInfo, EntityPart
from utils.datasets.loading.sequence_loader import SequenceLoader, SequenceLoaderOptions
from utils.datasets.storage.entity_store import EntityStoreWriter
from utils.structures import FPS, SAMPLE_RATE, InputSpec

SIZE = 16
SAMPLES = SAMPLE_RATE // FPS
TALK_SIZE = 32  # height and width of the faces of `write_talks`


class MadeFaces:
    """A data set in memory; half of the clips speak, and the classes change within a third."""

    def __init__(self, lengths: Sequence[int], seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.parts = [made_part(generator, length, i) for i, length in enumerate(lengths)]
        self.entities: Sequence[EntityInfo] = [
            EntityInfo(
                f"video{index % 3}_{index}",
                f"video{index % 3}",
                len(part.labels),
                Fraction(FPS),
                int((part.labels == 1).sum()),
            )
            for index, part in enumerate(self.parts)
        ]

    def read(self, index: int, start: int = 0, stop: int | None = None) -> EntityPart:
        part = self.parts[index]
        stop = len(part.labels) if stop is None else stop
        return EntityPart(
            part.faces[start:stop],
            part.waveform[start * SAMPLES : stop * SAMPLES],
            part.labels[start:stop],
            part.timestamps[start:stop],
        )


def made_part(generator: np.random.Generator, num_frames: int, index: int) -> EntityPart:
    """One clip: speaking throughout, not at all, or from the middle on."""
    labels = np.full(num_frames, index % 2, np.int8)
    if index % 3 == 0:
        labels[: num_frames // 2] = 1 - labels[0]
    mouth, voice = (generator.uniform(0, 1, num_frames) > 0.5 for _ in range(2))
    voice = np.where(labels == 1, mouth, voice)
    faces = generator.integers(90, 110, (num_frames, SIZE, SIZE)).astype(np.uint8)
    faces[mouth, SIZE // 2 :, SIZE // 4 : -SIZE // 4] += 100
    noise = generator.normal(0, 1, (num_frames, SAMPLES)) * np.where(voice, 3000, 100)[:, None]
    return EntityPart(
        faces, noise.astype(np.int16).ravel(), labels, 10 + np.arange(num_frames) / FPS
    )


class TinyNetwork(Network):
    """Compares a few numbers of each face with a few of its sound, over seven frames."""

    inputs = InputSpec(size=SIZE)
    recipe = Recipe(lr=0.01, max_epoch=4, batch_size=500, loss_weights={"av": 1.0, "visual": 0.4})
    radius = 0
    released_names: ClassVar[Mapping[str, str]] = {}
    width = 8

    def __init__(self, norm: bool = True, face_width: int = 8) -> None:
        super().__init__()
        self.audio = nn.Sequential(nn.Linear(4 * 13, self.width), nn.ReLU())
        self.audio_norm = nn.BatchNorm1d(self.width) if norm else nn.Identity()
        self.visual = nn.Linear(64, face_width)
        self.visual_norm = nn.BatchNorm1d(face_width) if norm else nn.Identity()
        self.dropout = nn.Dropout(0.1)
        self.match = nn.Conv1d(self.width + face_width, 16, 1)
        self.follow = nn.Conv1d(16, 16, 7, padding=3)
        self.head_av = nn.Linear(16, 2)
        self.head_visual = nn.Linear(face_width, 2)

    def encode_audio(self, audio: Tensor) -> Tensor:
        rows = audio.reshape(len(audio), -1, 4 * 13) / 20
        found: Tensor = self.audio_norm(self.audio(rows).transpose(1, 2)).transpose(1, 2)
        return found

    def encode_faces(self, faces: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        small = functional.avg_pool2d(faces[:, start:stop].float() / 100 - 1, 2).flatten(2)
        found: Tensor = self.visual_norm(self.visual(small).transpose(1, 2)).transpose(1, 2)
        return found

    def fuse(self, audio: Tensor, faces: Tensor) -> Logits:
        matched = functional.relu(self.match(torch.cat((audio, faces), 2).transpose(1, 2)))
        joined = self.dropout(functional.relu(self.follow(matched)).transpose(1, 2))
        return Logits(av=self.head_av(joined), visual=self.head_visual(faces))


def made_loader(
    data: MadeFaces, network: nn.Module, ranks: Ranks | None = None, batch_size: int = 200
) -> SequenceLoader:
    """Return a loader of small batches, in this process."""
    assert isinstance(network, Network)
    ranks = ranks or Ranks()
    options = SequenceLoaderOptions(batch_size=batch_size, n_data_loader_thread=0)
    return SequenceLoader(data, network.inputs, options, ranks.rank, ranks.size)


def write_talks(
    folder: Path, num_faces: Sequence[int], seed: int = 0, num_frames: int = 24
) -> None:
    """Write a store of one video for each number of faces, small and in colour.

    In each half of a video one of its faces speaks, or nobody does; then its mouth is red, and the
    sound is loud. Who speaks is seen in a face alone, whether anybody does is heard as well.
    """
    generator = np.random.default_rng(seed)
    writer = EntityStoreWriter(folder, crop_size=TALK_SIZE, colour=True)
    for number, count in enumerate(num_faces):
        turns = generator.permutation([-1, *range(count)])[:2]  # -1: nobody
        who = np.repeat(turns, num_frames // 2)
        loudness = np.where(who >= 0, 3000, 30)[:, None]
        noise = generator.normal(0, 1, (num_frames, SAMPLES)) * loudness
        for face in range(count):
            labels = (who == face).astype(np.int8)
            pictures = generator.integers(80, 120, (num_frames, TALK_SIZE, TALK_SIZE, 3))
            mouth = pictures[:, TALK_SIZE // 2 :, TALK_SIZE // 4 : -TALK_SIZE // 4]
            mouth[labels == 1] += np.array([120, -60, -60])
            info = EntityInfo(
                f"video{number}:{face}",
                f"video{number}",
                num_frames,
                Fraction(FPS),
                int(labels.sum()),
            )
            times = 10 + np.arange(num_frames) / FPS
            sound = noise.astype(np.int16).ravel()
            writer.add(info, pictures.astype(np.uint8), sound, labels, times)
    writer.write_index()
