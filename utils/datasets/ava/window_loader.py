"""Windows of an extracted AVA-ActiveSpeaker, read one by one and in batches."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from utils.datasets.ava.window_extract import ExtractOptions, open_journal, sound_path, track_name
from utils.datasets.ava.windows import (
    VideoRows,
    WindowOptions,
    draw_balanced,
    face_sizes,
    thinned_tracks,
    windows_of,
)
from utils.datasets.entities import NOT_SPEAKING, SPEAKING
from utils.datasets.loading.training_batch import TrainingBatch
from utils.datasets.loading.workers import BatchReader
from utils.datasets.storage.entity_store import EntityStore
from utils.errors import UserError
from utils.features.ava_asd_mfcc import VECTORS_PER_ROW, chosen_vectors

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WindowChoice:
    """Which windows are learnt from, and how batches are made of them."""

    share: Annotated[float, "share of the smaller class that an epoch draws"] = 1.0
    balanced: Annotated[bool, "draw as many windows that speak as do not"] = True
    batch_size: Annotated[int, "windows of a batch"] = 16
    num_workers: Annotated[int, "processes that read; 0 reads in the main one"] = 0
    seed: Annotated[int, "the same seed gives the same batches"] = 0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UserError(f"share must be above 0 and at most 1, got {self.share}")
        if self.batch_size < 1 or self.num_workers < 0:
            raise UserError(
                "expected batch_size from 1 and num_workers from 0 upward, got "
                f"{self.batch_size} and {self.num_workers}"
            )


@dataclass(frozen=True, eq=False)
class _ThinnedTrack:
    """A thinned-out track in the store."""

    entity: int  # index in the store
    video: str
    start_s: float  # of the video's sound
    rate: int  # of it


@dataclass
class _WindowColumns:
    """What is known of each window, while it is gathered."""

    track: list[int] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    face: list[int] = field(default_factory=list)
    stop_s: list[float] = field(default_factory=list)
    speaking: list[bool] = field(default_factory=list)
    smallest: list[int] = field(default_factory=list)


class WindowSet:
    """The windows of a split.

    Attributes:
        faces: (M,) index into `names`.
        names: Video and face of each.
        stops_s: (M,) time of each window's last row on the video's clock.
        speaking: (M,) label of its last row.
    """

    def __init__(
        self,
        folder: Path,
        rows: Sequence[VideoRows],
        extracted: ExtractOptions,
        options: WindowOptions,
        min_face: int = 0,
    ) -> None:
        """Open what `extract` wrote with the same options; what it could not have is left out.

        Args:
            folder: Where it lies.
            rows: The labels.
            extracted: How it was extracted.
            options: How windows are cut.
            min_face: Windows with a face of fewer pixels are left out.
        """
        self.options = options
        self.folder = folder
        self.store = EntityStore(folder / "faces")
        self._entities = {info.name: number for number, info in enumerate(self.store.entities)}
        self._done = open_journal(folder, extracted, options).done
        self._tracks: list[_ThinnedTrack] = []
        self._sounds: dict[str, NDArray[np.float32]] = {}
        self.names: list[tuple[str, str]] = []
        columns = _WindowColumns()
        self._num_lost = 0
        absent = [one.video for one in rows if one.video not in self._done]
        for one in rows:
            if one.video in self._done:
                self._add(one, columns)
        if self._num_lost:
            logger.warning("%s: %d tracks have no pictures there", folder, self._num_lost)
        if absent:
            logger.warning("%s: %d videos are not extracted: %s ..", folder, len(absent), absent[0])
        kept = np.array(columns.smallest, np.int64) >= min_face
        self._track = np.array(columns.track, np.int64)[kept]
        self._start = np.array(columns.start, np.int64)[kept]
        self.faces = np.array(columns.face, np.int64)[kept]
        self.stops_s = np.array(columns.stop_s, np.float64)[kept]
        self.speaking = np.array(columns.speaking, np.bool_)[kept]
        if not kept.any():
            raise UserError(
                f"{folder}: expected windows of {options.length} rows, found none; tracks must be "
                f"longer than {options.length / options.fps:g} s, and faces {min_face} pixels wide"
            )

    def __len__(self) -> int:
        return len(self.faces)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the sounds out: each reading process opens its own."""
        return {**self.__dict__, "_sounds": {}}

    def _add(self, rows: VideoRows, columns: _WindowColumns) -> None:
        """Add the windows of one video."""
        done = self._done[rows.video]
        first = len(self.names)
        self.names += [(rows.video, name) for name in rows.names]
        sizes = face_sizes(rows.boxes, (done["width"], done["height"])).min(1)
        for track in thinned_tracks(rows, self.options):
            entity = self._entities.get(track_name(rows, track))
            if entity is None:
                self._num_lost += 1
                continue
            starts, windows = windows_of(track, rows.labels, self.options)
            columns.track += [len(self._tracks)] * len(starts)
            columns.start += starts.tolist()
            columns.face += (first + rows.faces[windows[:, -1]]).tolist()
            columns.stop_s += rows.timestamps[windows[:, -1]].tolist()
            columns.speaking += rows.speaking[windows[:, -1]].tolist()
            columns.smallest += sizes[windows].min(1).tolist()
            self._tracks.append(_ThinnedTrack(entity, rows.video, done["start_s"], done["rate"]))

    def read(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return vectors (13, L) and pictures (T, H, W) or (T, H, W, 3) of a window."""
        track = self._tracks[self._track[index]]
        start, length = int(self._start[index]), self.options.length
        sound = self._sound(track.video)
        stop_s = self.stops_s[index : index + 1] - track.start_s
        chosen = chosen_vectors(stop_s, VECTORS_PER_ROW * length, track.rate)[0]
        vectors = np.ascontiguousarray(sound[chosen.clip(0, len(sound) - 1)].T)
        return vectors, self.store.read(track.entity, start, start + length).faces

    def _sound(self, video: str) -> NDArray[np.float32]:
        """Return the vectors of a video, left on disk until they are read."""
        if video not in self._sounds:
            self._sounds[video] = np.load(sound_path(self.folder, video), mmap_mode="r")
        return self._sounds[video]


class _WindowBatchMaker:
    """Makes batches of indices; goes to the reading processes."""

    def __init__(self, windows: WindowSet) -> None:
        self.windows = windows

    def make(self, indices: tuple[int, ...]) -> TrainingBatch:
        """Return these windows."""
        import torch

        read = [self.windows.read(index) for index in indices]
        form = self.windows.store.form.shape
        length = self.windows.options.length
        audio = np.zeros((len(read), 13, VECTORS_PER_ROW * length), np.float32)
        faces = np.zeros((len(read), length, *form), np.uint8)
        for number, (vectors, pictures) in enumerate(read):
            audio[number], faces[number] = vectors, pictures
        speaking = self.windows.speaking[list(indices)]
        target = np.where(speaking, SPEAKING, NOT_SPEAKING).astype(np.int8)[:, None]
        labels = torch.from_numpy(target)
        return TrainingBatch(
            np.array(indices, np.int64).reshape(-1, 1),
            torch.from_numpy(audio),
            torch.from_numpy(faces),
            labels,
            torch.ones(labels.shape, dtype=torch.bool),
            speech=labels,
        )


class WindowLoader:
    """Gives batches, epoch after epoch; they depend on the seed and the epoch alone.

    Each of `world_size` processes gets its share of every batch, which may be none.
    """

    def __init__(
        self, windows: WindowSet, choice: WindowChoice, rank: int = 0, world_size: int = 1
    ) -> None:
        self.windows, self.choice = windows, choice
        self._rank, self._world_size = rank, world_size
        self._reading = BatchReader(_WindowBatchMaker(windows), choice.num_workers)

    def len_epoch(self, number: int) -> int:
        """Return the number of batches of an epoch."""
        return -(-len(self._draw(number)) // self.choice.batch_size)

    def epoch(self, number: int, skip: int = 0) -> Iterator[TrainingBatch]:
        """Yield the batches of an epoch without the first `skip`.

        Raises:
            RuntimeError: A reading process was killed.
            UserError, OSError: The data cannot be read; names the file.
        """
        size = self.choice.batch_size
        drawn = self._draw(number)
        batches = [drawn[first : first + size] for first in range(skip * size, len(drawn), size)]
        return self._read([batch[self._rank :: self._world_size] for batch in batches])

    def in_order(self, indices: Sequence[int] | NDArray[np.int64]) -> Iterator[TrainingBatch]:
        """Yield batches of these windows in this order, with the errors of `epoch`."""
        size = self.choice.batch_size
        chosen = np.asarray(indices, np.int64)
        return self._read([chosen[at : at + size] for at in range(0, len(chosen), size)])

    def _draw(self, number: int) -> NDArray[np.int64]:
        """Return the windows of an epoch in their order."""
        rng = np.random.default_rng((self.choice.seed, number))
        if self.choice.balanced:
            return draw_balanced(self.windows.speaking, self.choice.share, rng)
        count = max(1, int(len(self.windows) * self.choice.share))
        return rng.choice(len(self.windows), count, replace=False)

    def _read(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[TrainingBatch]:
        return self._reading.batches([tuple(batch.tolist()) for batch in batches])
