"""Read windows of an extracted AVA-ActiveSpeaker, singly and in batches."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from utils.datasets.ava.window_extract import ExtractOptions, audio_path, open_journal, track_name
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
    """Which windows are drawn, and how batches are made of them."""

    share: Annotated[float, "share of the smaller class drawn per epoch"] = 1.0
    balanced: Annotated[bool, "draw equally many speaking and not speaking windows"] = True
    batch_size: Annotated[int, "windows per batch"] = 16
    num_workers: Annotated[int, "worker processes; 0 reads in the main process"] = 0
    seed: Annotated[int, "the same seed gives the same batches"] = 0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UserError(f"share must be above 0 and at most 1, got {self.share}")
        if self.batch_size < 1 or self.num_workers < 0:
            raise UserError(
                "expected a batch_size of 1 or more and num_workers of 0 or more, got "
                f"{self.batch_size} and {self.num_workers}"
            )


@dataclass(frozen=True, eq=False)
class _ThinnedTrack:
    """A subsampled track in the store."""

    entity: int  # index in the store
    video: str
    start_s: float  # of the video's audio
    rate: int  # of the video's audio, samples/s


@dataclass
class _WindowColumns:
    """Columns of the table of windows while it is being built."""

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
        """Open a folder that `extract` wrote with the same options; missing tracks are skipped.

        Args:
            folder: Folder of the extracted windows.
            rows: The labels.
            extracted: The options of `extract`.
            options: How windows are cut.
            min_face: Windows with a smaller face are skipped, pixels.
        """
        self.options = options
        self.folder = folder
        self.store = EntityStore(folder / "faces")
        self._entities = {info.name: number for number, info in enumerate(self.store.entities)}
        self._done = open_journal(folder, extracted, options).done
        self._tracks: list[_ThinnedTrack] = []
        self._audio: dict[str, NDArray[np.float32]] = {}
        self.names: list[tuple[str, str]] = []
        columns = _WindowColumns()
        self._num_lost = 0
        missing = [video.video for video in rows if video.video not in self._done]
        for video in rows:
            if video.video in self._done:
                self._add(video, columns)
        if self._num_lost:
            logger.warning("%s: %d tracks have no images", folder, self._num_lost)
        if missing:
            message = "%s: %d videos are not extracted, for example %s"
            logger.warning(message, folder, len(missing), missing[0])
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
        """Omit the open audio features: each worker process opens its own."""
        return {**self.__dict__, "_audio": {}}

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
        """Return vectors (13, L) and faces (T, H, W) or (T, H, W, 3) of a window."""
        track = self._tracks[self._track[index]]
        start, length = int(self._start[index]), self.options.length
        audio = self._vectors(track.video)
        stop_s = self.stops_s[index : index + 1] - track.start_s
        rows = chosen_vectors(stop_s, VECTORS_PER_ROW * length, track.rate)[0]
        vectors = np.ascontiguousarray(audio[rows.clip(0, len(audio) - 1)].T)
        return vectors, self.store.read(track.entity, start, start + length).faces

    def _vectors(self, video: str) -> NDArray[np.float32]:
        """Return the memory-mapped vectors of a video."""
        if video not in self._audio:
            self._audio[video] = np.load(audio_path(self.folder, video), mmap_mode="r")
        return self._audio[video]


class _WindowBatchMaker:
    """Makes batches of indices; runs in worker processes."""

    def __init__(self, windows: WindowSet) -> None:
        self.windows = windows

    def make(self, indices: tuple[int, ...]) -> TrainingBatch:
        """Return the batch of these windows."""
        import torch

        shape = self.windows.store.form.shape
        length = self.windows.options.length
        audio = np.zeros((len(indices), 13, VECTORS_PER_ROW * length), np.float32)
        faces = np.zeros((len(indices), length, *shape), np.uint8)
        for number, index in enumerate(indices):
            audio[number], faces[number] = self.windows.read(index)
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
    """Yields the batches of windows, epoch by epoch.

    Batches depend only on the seed and the epoch's number; each of `world_size` processes gets
    its share of every batch, which may be empty.
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
        """Yield the batches of an epoch after the first `skip`, which are not read.

        Raises:
            ResourceError: A worker process was killed.
            UserError, OSError: The data cannot be read; the message names the file.
        """
        size = self.choice.batch_size
        drawn = self._draw(number)
        batches = [drawn[first : first + size] for first in range(skip * size, len(drawn), size)]
        return self._read([batch[self._rank :: self._world_size] for batch in batches])

    def in_order(self, indices: Sequence[int] | NDArray[np.int64]) -> Iterator[TrainingBatch]:
        """Yield batches of these windows in this order; raises as `epoch` does."""
        size = self.choice.batch_size
        order = np.asarray(indices, np.int64)
        return self._read([order[start : start + size] for start in range(0, len(order), size)])

    def _draw(self, number: int) -> NDArray[np.int64]:
        """Return the windows of an epoch, in order."""
        rng = np.random.default_rng((self.choice.seed, number))
        if self.choice.balanced:
            return draw_balanced(self.windows.speaking, self.choice.share, rng)
        count = max(1, int(len(self.windows) * self.choice.share))
        return rng.choice(len(self.windows), count, replace=False)

    def _read(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[TrainingBatch]:
        return self._reading.batches([tuple(batch.tolist()) for batch in batches])
