"""AVA-ActiveSpeaker as a data set, read from the compact store or from the published layout.

The folder is as published, except for `store`:

csv/{train,val,test}_orig.csv      official labels
csv/{train,val,test}_loader.csv    entities
orig_videos/{trainval,test}        movies
clips_audios/SPLIT/VIDEO/ENTITY.wav, clips_videos/SPLIT/VIDEO/ENTITY/TIMESTAMP.jpg
store/SPLIT                        entity store written by `prepare`
"""

import logging
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.datasets.ava.tables import SPLITS, LoaderRow, read_loader
from utils.datasets.entities import SPEAKING, DataSet, EntityInfo, EntityPart, read_labels
from utils.datasets.storage.entity_store import EntityStore
from utils.errors import UserError
from utils.structures import SAMPLE_RATE

logger = logging.getLogger(__name__)

CROP_SIZE = 112


@dataclass(frozen=True)
class AvaFolder:
    """Paths of the data set."""

    root: Path

    def labels(self, split: str) -> Path:
        """Return the table of official labels."""
        return self.root / "csv" / f"{split}_orig.csv"

    def loader(self, split: str) -> Path:
        """Return the table that published loaders read."""
        return self.root / "csv" / f"{split}_loader.csv"

    def videos(self, split: str) -> Path:
        """Return the folder of a split's movies."""
        return self.root / "orig_videos" / ("test" if split == "test" else "trainval")

    def store(self, split: str) -> Path:
        """Return the folder of the compact store."""
        return self.root / "store" / split

    def audio(self, split: str) -> Path:
        """Return the folder of the published audio clips."""
        return self.root / "clips_audios" / split

    def faces(self, split: str) -> Path:
        """Return the folder of the published face crops."""
        return self.root / "clips_videos" / split


class AvaSplit:
    """One split of AVA-ActiveSpeaker; read from the store if there is one."""

    def __init__(self, path: Path, split: str) -> None:
        """Open a split; raises FileNotFoundError if it is not prepared."""
        if split not in SPLITS:
            raise UserError(f"expected a split of {', '.join(SPLITS)}, got {split!r}")
        folder = AvaFolder(path)
        self.truth = folder.labels(split)  # for the official evaluation
        has_labels = split != "test"
        source: DataSet
        if folder.store(split).is_dir():
            source = EntityStore(folder.store(split))
        elif folder.faces(split).is_dir():
            source = PublishedClips(folder, split, read_loader(folder.loader(split), has_labels))
        else:
            advice = f"run python trainTalkNet.py --download --dataPathAVA {path}"
            if not has_labels:
                advice = "--download prepares train and val; the labels of test are not public"
            raise FileNotFoundError(
                f"{path}: expected prepared data in {folder.store(split)} or "
                f"{folder.faces(split)}, found neither; {advice}"
            )
        self._source = source
        self.entities: Sequence[EntityInfo] = source.entities
        self.missing = _missing(folder.loader(split), {info.name for info in self.entities})
        if self.missing:
            logger.warning(
                "%s: %d of %d entities of %s are missing, for example %s",
                path,
                len(self.missing),
                len(self.missing) + len(self.entities),
                folder.loader(split).name,
                self.missing[0],
            )

    def read(self, index: int, start: int = 0, stop: int | None = None) -> EntityPart:
        """Read frames [start, stop) of an entity.

        Kept: AVA's audio clips end at the last time stamp, so an entity's audio is a frame shorter
        than its images; features are repeated from the first row at the end.
        """
        return self._source.read(index, start, stop)

    def read_labels(self, index: int) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Return labels and timestamps (T,) of an entity."""
        return read_labels(self._source, index)


def _missing(table: Path, present: set[str]) -> list[str]:
    """Return the entities of the loader table that the data lacks."""
    if not table.is_file():
        return []
    with table.open(encoding="utf-8") as file:
        names = [line.partition("\t")[0] for line in file]
    return [name for name in names if name not in present]


class PublishedClips:
    """The published layout: a WAV file and a folder of JPEG files per entity."""

    def __init__(self, folder: AvaFolder, split: str, rows: Sequence[LoaderRow]) -> None:
        """Open the entities of a loader table that have audio and faces."""
        self._audio, self._faces = folder.audio(split), folder.faces(split)
        self._rows = [row for row in rows if self._wav_path(row).is_file() and self._has_faces(row)]
        self.entities: Sequence[EntityInfo] = [
            EntityInfo(
                name=row.name,
                video=row.video,
                num_frames=len(row.labels),
                fps=row.fps,
                num_speaking=int((row.labels == SPEAKING).sum()),
            )
            for row in self._rows
        ]
        if not self.entities:
            raise FileNotFoundError(
                f"none of the {len(rows)} entities of {folder.loader(split)} has a .wav in "
                f"{self._audio} and faces in {self._faces}"
            )

    def _wav_path(self, row: LoaderRow) -> Path:
        return self._audio / row.video / f"{row.name}.wav"

    def _has_faces(self, row: LoaderRow) -> bool:
        return (self._faces / row.video / row.name).is_dir()

    def read(self, index: int, start: int = 0, stop: int | None = None) -> EntityPart:
        """Read frames [start, stop) of an entity; repeats the last image if some are missing."""
        row = self._rows[index]
        num_frames = len(row.labels)
        stop = num_frames if stop is None else stop
        if not 0 <= start < stop <= num_frames:
            raise UserError(
                f"entity {row.name}: expected a range within [0, {num_frames}), "
                f"got [{start}, {stop})"
            )
        files = self._images(row)[start:stop]
        return EntityPart(
            faces=np.stack([_read_face(file) for file in files]),
            waveform=_read_audio(self._wav_path(row), row, start, stop),
            labels=row.labels[start:stop],
            timestamps=np.array([float(file.stem) for file in files]),
        )

    def read_labels(self, index: int) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Return labels and timestamps (T,) of an entity."""
        row = self._rows[index]
        times = np.array([float(file.stem) for file in self._images(row)])
        return np.asarray(row.labels, np.int8), times

    def _images(self, row: LoaderRow) -> list[Path]:
        """Return the files of all frames; the last file is repeated for missing ones."""
        folder = self._faces / row.video / row.name
        files = sorted(folder.glob("*.jpg"), key=lambda file: float(file.stem))
        if not files:
            raise UserError(f"{folder}: expected {len(row.labels)} files TIMESTAMP.jpg, found none")
        return [files[min(number, len(files) - 1)] for number in range(len(row.labels))]


def _read_face(path: Path) -> NDArray[np.uint8]:
    """Return a grey face of 112 x 112, resized without keeping its aspect ratio, as published."""
    face = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
    if face is None:
        raise UserError(f"{path} is not a readable JPEG file; make the face clips again")
    return np.asarray(cv2.resize(face, (CROP_SIZE, CROP_SIZE)), np.uint8)


def _read_audio(path: Path, row: LoaderRow, start: int, stop: int) -> NDArray[np.int16]:
    """Return the samples of frames [start, stop); the last frame has all that remain."""
    per_frame = SAMPLE_RATE / row.fps
    try:
        with wave.open(str(path), "rb") as file:
            found = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            if found != (1, 2, SAMPLE_RATE):
                raise UserError(f"expected 1 channel of 16 bits at {SAMPLE_RATE}/s, got {found}")
            total = file.getnframes()
            first = min(int(start * per_frame), total)
            last = total if stop == len(row.labels) else min(int(stop * per_frame), total)
            file.setpos(first)
            return np.frombuffer(file.readframes(last - first), "<i2").astype(np.int16)
    except (wave.Error, EOFError, ValueError) as error:
        raise UserError(f"{path}: {error}; make the audio clips again") from error
