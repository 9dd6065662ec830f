"""The entity store: a folder with one file for each entity, and an index of them.

FOLDER/3f/NAME.face    the files, in folders named by the checksum of the entity's name
FOLDER/index.jsonl     the headers of all files; rebuilt from the files if it is missing
"""

import json
import logging
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import EntityInfo, EntityPart
from utils.datasets.storage.entity_file import (
    MAGIC,
    SUFFIX,
    CropFormat,
    EntityHeader,
    read_header,
    read_part,
    read_rows,
    verify,
)
from utils.datasets.storage.entity_writer import EntityWriter
from utils.errors import UserError
from utils.files import check_folder, is_abandoned, replacing

logger = logging.getLogger(__name__)

INDEX = "index.jsonl"
FILES = f"??/[!.]*{SUFFIX}"  # a leading dot marks a file that is being written
MAX_NAME = 150  # bytes of a file name; longer ones are cut and get a checksum


@dataclass(frozen=True)
class DamagedFile:
    """A damaged file, and what is wrong with it."""

    path: Path
    problem: str


def entity_path(folder: Path, name: str) -> Path:
    """Return the path of an entity's file; any character is allowed in the name."""
    checksum = zlib.crc32(name.encode())
    stem = quote(name, safe=" ()+,=@")
    if stem.startswith("."):
        stem = "%2E" + stem[1:]
    if len(stem) > MAX_NAME:
        stem = f"{stem[:MAX_NAME]}-{checksum:08x}"
    return folder / f"{checksum & 0xFF:02x}" / (stem + SUFFIX)


class EntityStoreWriter:
    """Adds entities to a store; several processes may write to one store at once.

    An entity appears only when it is complete, so an interrupted job can be restarted:
    skip the entities that the store already `holds`.
    """

    def __init__(self, folder: Path, crop_size: int = 112, colour: bool = False) -> None:
        """Open or create the store; raises UserError if its crops have another format."""
        self.folder = folder
        self.form = CropFormat(crop_size, colour)
        check_folder(folder)
        existing = next(folder.glob(FILES), None)
        if existing is not None and (found := read_header(existing).form) != self.form:
            raise UserError(
                f"{folder}: expected crops of shape {self.form.shape}, found a store of "
                f"{found.shape}; write into another folder, or remove this one"
            )

    def holds(self, name: str, labels: NDArray[np.int8], timestamps: NDArray[np.float64]) -> bool:
        """Return whether the entity is stored with these labels and timestamps, (T,)."""
        path = entity_path(self.folder, name)
        if not path.exists():
            return False
        found, times = read_rows(path, read_header(path))
        return np.array_equal(found, labels) and np.array_equal(times, timestamps)

    def stored(self) -> list[EntityInfo]:
        """Return the stored entities, in no particular order."""
        headers = _read_all(self.folder, _read_index(self.folder))
        return [header.info for header in headers.values()]

    def add(
        self,
        info: EntityInfo,
        faces: Iterable[NDArray[np.uint8]],
        waveform: NDArray[np.int16],
        labels: Sequence[int] | NDArray[np.int8],
        timestamps: Sequence[float] | NDArray[np.float64],
    ) -> None:
        """Write an entity; replaces an existing one of that name.

        Args:
            info: Description of the entity; its counts are checked against the other arguments.
            faces: T crops of the store's shape; they are never all held in memory.
            waveform: (N,) mono 16 kHz, from the beginning of the first frame.
            labels: (T,) -1, 0 or 1.
            timestamps: (T,) s on the video's clock.
        """
        with self.open(info) as entity:
            for face, label, timestamp in zip(faces, labels, timestamps, strict=True):
                entity.append(face, int(label), float(timestamp))
            entity.finish(waveform)

    def open(self, info: EntityInfo) -> EntityWriter:
        """Return a writer for an entity whose crops arrive one by one, a context manager."""
        path = entity_path(self.folder, info.name)
        if path.exists():  # the index detects changes by file size, which may stay the same
            (self.folder / INDEX).unlink(missing_ok=True)
        return EntityWriter(path, info, self.form)

    def remove_leftovers(self) -> None:
        """Remove incomplete files of killed processes; other processes may be writing meanwhile."""
        for path in self.folder.glob(f"??/.*{SUFFIX}"):
            if is_abandoned(path):
                path.unlink(missing_ok=True)

    def write_index(self) -> int:
        """Rebuild the index and return its number of entities; call it last."""
        return len(_write_index(self.folder, _read_all(self.folder, {})))


class EntityStore:
    """A data set read from an entity store."""

    def __init__(self, folder: Path) -> None:
        """Open a store; an index that does not match the files is rebuilt."""
        self.folder = folder
        if not folder.is_dir():
            raise FileNotFoundError(f"expected a folder with a store, found none: {folder}")
        indexed = _read_index(folder)
        headers = _read_all(folder, indexed)
        if headers != indexed:
            _try_index(folder, headers)
        if not headers:
            raise FileNotFoundError(
                f"{folder}: expected files */*{SUFFIX}, found none; prepare the data first"
            )
        forms = {header.form for header in headers.values()}
        if len(forms) > 1:
            raise UserError(f"{folder}: expected crops of one format in a store, found {forms}")
        self.form = forms.pop()
        ordered = sorted(headers.items(), key=lambda item: item[1].info.name)
        self._paths = [folder / name for name, _ in ordered]
        self.headers = [header for _, header in ordered]
        self.entities: Sequence[EntityInfo] = [header.info for header in self.headers]

    def __len__(self) -> int:
        return len(self.entities)

    def read(self, index: int, start: int = 0, stop: int | None = None) -> EntityPart:
        """Read frames [start, stop) of an entity; only their bytes are read."""
        header = self.headers[index]
        stop = header.info.num_frames if stop is None else stop
        return read_part(self._paths[index], header, start, stop)

    def read_labels(self, index: int) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Return labels and timestamps (T,) of an entity."""
        return read_rows(self._paths[index], self.headers[index])

    def verify(self) -> Iterator[DamagedFile]:
        """Read every byte of every file and yield what is damaged."""
        for path in self._paths:
            try:
                verify(path)
            except (UserError, OSError) as error:
                yield DamagedFile(path, str(error))


def _read_index(folder: Path) -> dict[str, EntityHeader]:
    """Return the headers by relative path; empty if there is no readable index."""
    path = folder / INDEX
    headers = {}
    try:
        with path.open(encoding="utf-8") as file:
            if json.loads(file.readline() or "{}").get("format") != MAGIC.decode():
                return {}
            for line in file:
                record = json.loads(line)
                headers[record["file"]] = EntityHeader.from_json(
                    record, record["file_bytes"], record["header_bytes"]
                )
    except FileNotFoundError:
        return {}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        logger.warning("%s cannot be read (%r) and is rebuilt from the files", path, error)
        return {}
    return headers


def _read_all(folder: Path, indexed: dict[str, EntityHeader]) -> dict[str, EntityHeader]:
    """Return the headers of all files; opens only files that the index lacks."""
    headers = {}
    for path in sorted(folder.glob(FILES)):
        name = path.relative_to(folder).as_posix()
        header = indexed.get(name)
        if header is None or header.file_bytes != path.stat().st_size:
            header = read_header(path)
        headers[name] = header
    return headers


def _write_index(folder: Path, headers: dict[str, EntityHeader]) -> dict[str, EntityHeader]:
    """Write the index and return the headers."""
    with replacing(folder / INDEX) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps({"format": MAGIC.decode()}) + "\n")
        for name, header in headers.items():
            record: dict[str, Any] = {
                "file": name,
                "file_bytes": header.file_bytes,
                "header_bytes": header.header_bytes,
                **header.to_json(),
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return headers


def _try_index(folder: Path, headers: dict[str, EntityHeader]) -> None:
    """Write the index if the folder is writable; reading works without one."""
    try:
        _write_index(folder, headers)
    except OSError as error:
        logger.info("%s: the index could not be written: %s", folder, error)
