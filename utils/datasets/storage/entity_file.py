"""The file of one entity: face crops, audio, labels and timestamps; parts can be read.

    magic | crops (JPEG) | audio (int16) | rows, one per frame | header (JSON) | footer

All numbers are little-endian. The footer is written last, so a truncated file has none.
"""

import json
import struct
import zlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import EntityInfo, EntityPart
from utils.errors import UserError
from utils.structures import SAMPLE_RATE

MAGIC = b"ASDFACE1"  # the last character is the version
FOOTER = struct.Struct("<II8s")  # bytes and CRC-32 of the header, magic
ROW = np.dtype(
    [
        ("offset", "<u8"),  # of the crop in the file
        ("timestamp", "<f8"),
        ("num_bytes", "<u4"),
        ("checksum", "<u4"),  # CRC-32 of the crop
        ("label", "i1"),
        ("unused", "V3"),
    ]
)
SUFFIX = ".face"


@dataclass(frozen=True)
class CropFormat:
    """Size and colour of all crops of a store."""

    size: int = 112  # height and width
    colour: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one crop."""
        return (self.size, self.size, 3) if self.colour else (self.size, self.size)


@dataclass(frozen=True)
class EntityHeader:
    """Metadata of an entity's file, and the offsets of its parts."""

    info: EntityInfo
    form: CropFormat
    num_samples: int
    padded_frames: int  # missing in the source; filled with the nearest crop
    padded_samples: int  # missing in the source; filled with silence
    checksums: tuple[int, int]  # CRC-32 of the audio and of the rows
    file_bytes: int
    header_bytes: int

    @property
    def rows_offset(self) -> int:
        """Byte where the rows begin."""
        rows_bytes = self.info.num_frames * ROW.itemsize
        return self.file_bytes - FOOTER.size - self.header_bytes - rows_bytes

    @property
    def audio_offset(self) -> int:
        """Byte where the crops end and the audio begins."""
        return self.rows_offset - 2 * self.num_samples

    def to_json(self) -> dict[str, Any]:
        """Return the header as stored, without the sizes of file and header."""
        info = self.info
        return {
            "name": info.name,
            "video": info.video,
            "person": info.person,
            "fps": str(info.fps),
            "num_frames": info.num_frames,
            "num_speaking": info.num_speaking,
            "size": self.form.size,
            "colour": self.form.colour,
            "num_samples": self.num_samples,
            "padded_frames": self.padded_frames,
            "padded_samples": self.padded_samples,
            "checksums": list(self.checksums),
        }

    @classmethod
    def from_json(
        cls, record: dict[str, Any], file_bytes: int, header_bytes: int
    ) -> "EntityHeader":
        """Parse a stored header; raises KeyError or ValueError if it is invalid."""
        info = EntityInfo(
            name=record["name"],
            video=record["video"],
            num_frames=record["num_frames"],
            fps=Fraction(record["fps"]),
            num_speaking=record["num_speaking"],
            person=record["person"],
        )
        audio, rows = record["checksums"]
        header = cls(
            info=info,
            form=CropFormat(record["size"], record["colour"]),
            num_samples=record["num_samples"],
            padded_frames=record["padded_frames"],
            padded_samples=record["padded_samples"],
            checksums=(audio, rows),
            file_bytes=file_bytes,
            header_bytes=header_bytes,
        )
        if header.audio_offset < len(MAGIC):
            raise UserError("it is shorter than its header states")
        return header


def read_header(path: Path) -> EntityHeader:
    """Return the header of a file; raises UserError if the file is damaged or of another kind."""
    with path.open("rb") as file:
        file_bytes = file.seek(0, 2)
        if file_bytes < len(MAGIC) + FOOTER.size:
            raise UserError(_damaged(path, f"it has only {file_bytes} bytes"))
        file.seek(-FOOTER.size, 2)
        header_bytes, checksum, magic = FOOTER.unpack(file.read(FOOTER.size))
        if magic != MAGIC:
            if magic[:-1] == MAGIC[:-1]:
                raise UserError(
                    f"{path}: expected version {MAGIC[-1:].decode()} of the format, found "
                    f"{magic[-1:].decode(errors='replace')}; prepare the data again"
                )
            raise UserError(_damaged(path, "its end is missing"))
        file.seek(max(0, file_bytes - FOOTER.size - header_bytes))
        text = file.read(header_bytes)
    if len(text) != header_bytes or zlib.crc32(text) != checksum:
        raise UserError(_damaged(path, "its header fails the checksum"))
    try:
        return EntityHeader.from_json(json.loads(text), file_bytes, header_bytes)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(_damaged(path, f"its header is invalid: {error!r}")) from error


def read_part(path: Path, header: EntityHeader, start: int, stop: int) -> EntityPart:
    """Read frames [start, stop); only their bytes are read."""
    info = header.info
    if not 0 <= start < stop <= info.num_frames:
        raise ValueError(
            f"entity {info.name}: expected a range within [0, {info.num_frames}), "
            f"got [{start}, {stop})"
        )
    first, last = sample_range(header, start, stop)
    with path.open("rb") as file:
        if file.seek(0, 2) != header.file_bytes:
            raise UserError(_damaged(path, f"expected {header.file_bytes} bytes"))
        file.seek(header.rows_offset + start * ROW.itemsize)
        rows = np.frombuffer(file.read((stop - start) * ROW.itemsize), ROW)
        begin = int(rows["offset"][0])
        end = int(rows["offset"][-1]) + int(rows["num_bytes"][-1])
        if not len(MAGIC) <= begin < end <= header.audio_offset:
            raise UserError(_damaged(path, "the offsets of its crops are invalid"))
        file.seek(begin)
        crops = file.read(end - begin)
        file.seek(header.audio_offset + 2 * first)
        waveform = np.frombuffer(file.read(2 * (last - first)), "<i2").astype(np.int16)
    return EntityPart(
        faces=_decode(path, header, rows, crops),
        waveform=waveform,
        labels=rows["label"].copy(),
        timestamps=rows["timestamp"].astype(np.float64),
    )


def read_rows(path: Path, header: EntityHeader) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Return the labels and timestamps (T,) of all frames, without reading crops or audio."""
    with path.open("rb") as file:
        if file.seek(0, 2) != header.file_bytes:
            raise UserError(_damaged(path, f"expected {header.file_bytes} bytes"))
        file.seek(header.rows_offset)
        rows = np.frombuffer(file.read(header.info.num_frames * ROW.itemsize), ROW)
    return rows["label"].copy(), rows["timestamp"].astype(np.float64)


def sample_range(header: EntityHeader, start: int, stop: int) -> tuple[int, int]:
    """Return the range of samples of frames [start, stop); the last frame has all that remain."""
    per_frame = SAMPLE_RATE / header.info.fps
    first = min(int(start * per_frame), header.num_samples)
    if stop == header.info.num_frames:
        return first, header.num_samples
    return first, min(int(stop * per_frame), header.num_samples)


def verify(path: Path) -> EntityHeader:
    """Check every byte of a file and return its header; raises UserError if it is damaged."""
    header = read_header(path)
    read_part(path, header, 0, header.info.num_frames)
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise UserError(_damaged(path, "its beginning is not that of an entity file"))
        file.seek(header.audio_offset)
        audio = zlib.crc32(file.read(2 * header.num_samples))
        rows = zlib.crc32(file.read(header.info.num_frames * ROW.itemsize))
    if (audio, rows) != header.checksums:
        raise UserError(_damaged(path, "its audio or its rows fail the checksum"))
    return header


def _decode(
    path: Path, header: EntityHeader, rows: NDArray[np.void], crops: bytes
) -> NDArray[np.uint8]:
    """Return the faces of some rows; `crops` begins with the first of them."""
    faces = np.empty((len(rows), *header.form.shape), np.uint8)
    view = memoryview(crops)
    starts = (rows["offset"] - rows["offset"][0]).tolist()
    flag = cv2.IMREAD_COLOR_RGB if header.form.colour else cv2.IMREAD_GRAYSCALE
    sizes, checksums = rows["num_bytes"].tolist(), rows["checksum"].tolist()
    for number, (start, size, checksum) in enumerate(zip(starts, sizes, checksums, strict=True)):
        if number and start == starts[number - 1]:
            faces[number] = faces[number - 1]
            continue
        encoded = view[start : start + size]
        if zlib.crc32(encoded) != checksum:
            raise UserError(_damaged(path, f"crop {number} fails the checksum"))
        face = cv2.imdecode(np.frombuffer(encoded, np.uint8), flag)
        if face is None or face.shape != header.form.shape:
            raise UserError(_damaged(path, f"crop {number} is not a JPEG of the expected size"))
        faces[number] = face
    return faces


def _damaged(path: Path, problem: str) -> str:
    """Return an error message."""
    return f"{path} is damaged or cut off ({problem}); remove it and prepare the data again"
