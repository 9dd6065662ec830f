"""Write one entity to a file, crop by crop."""

import errno
import json
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import SPEAKING, UNLABELLED, EntityInfo
from utils.datasets.storage.entity_file import FOOTER, MAGIC, ROW, CropFormat, EntityHeader
from utils.errors import ResourceError
from utils.files import replacing

JPEG_QUALITY = 95


class DiskFullError(ResourceError):
    """The disk is full; the message names what was being written."""


class EntityWriter:
    """Writes one entity, crop by crop; memory grows by 28 bytes per frame.

    The file appears when `finish` returns; leaving the context earlier discards it.
    """

    def __init__(self, path: Path, info: EntityInfo, form: CropFormat) -> None:
        if info.num_frames < 1 or info.fps <= 0:
            raise ValueError(
                f"entity {info.name}: expected at least one frame and a rate above 0, "
                f"got {info.num_frames} frames at {info.fps}/s"
            )
        self._path = path
        self._info = info
        self._form = form
        self._rows = np.zeros(info.num_frames, ROW)
        self._num_rows = 0
        self._last: NDArray[np.uint8] | None = None
        self._offset = len(MAGIC)
        self.padded_frames = 0  # missing in the source, as are the samples
        self.padded_samples = 0
        self._files = ExitStack()
        with self._reports_full_disk():
            temporary = self._files.enter_context(replacing(path))
            self._file = self._files.enter_context(temporary.open("wb"))
            self._file.write(MAGIC)

    def __enter__(self) -> "EntityWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def discard(self) -> None:
        """Discard the file unless it is finished."""
        with suppress(OSError):  # on a full disk, closing fails too
            self._files.__exit__(RuntimeError, RuntimeError(), None)  # an error removes the file

    @contextmanager
    def _reports_full_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise DiskFullError(
                f"the disk is full: entity {self._info.name} could not be written to "
                f"{self._path.parent}; finished entities are kept; free some space and start again"
            ) from error

    @property
    def num_rows(self) -> int:
        """Number of frames written so far."""
        return self._num_rows

    def append(self, face: NDArray[np.uint8], label: int, timestamp: float) -> None:
        """Add the next frame; an array repeated in consecutive frames is stored once."""
        name = self._info.name
        if self._num_rows == self._info.num_frames:
            raise ValueError(f"entity {name}: expected {self._num_rows} frames, got more")
        if face.shape != self._form.shape or face.dtype != np.uint8:
            raise ValueError(
                f"entity {name}: expected uint8 crops of shape {self._form.shape}, "
                f"got {face.dtype} {face.shape}"
            )
        if not UNLABELLED <= label <= SPEAKING:
            raise ValueError(f"entity {name}: expected a label -1, 0 or 1, got {label}")
        row = self._rows[self._num_rows]
        if face is self._last:
            before = self._rows[self._num_rows - 1]
            for field in ("offset", "num_bytes", "checksum"):
                row[field] = before[field]
        else:
            encoded = encode_jpeg(face)
            with self._reports_full_disk():
                self._file.write(encoded)
            row["offset"], row["num_bytes"] = self._offset, len(encoded)
            row["checksum"] = zlib.crc32(encoded)
            self._offset += len(encoded)
        row["label"], row["timestamp"] = label, timestamp
        self._last = face
        self._num_rows += 1

    def finish(self, waveform: NDArray[np.int16]) -> None:
        """Write the waveform, (N,) mono 16 kHz, and complete the file."""
        info = self._info
        speaking = int((self._rows["label"] == SPEAKING).sum())
        if (self._num_rows, speaking) != (info.num_frames, info.num_speaking):
            raise ValueError(
                f"entity {info.name}: expected {info.num_frames} frames, {info.num_speaking} of "
                f"them speaking, got {self._num_rows} and {speaking}"
            )
        if waveform.dtype != np.int16 or waveform.ndim != 1:
            raise ValueError(
                f"entity {info.name}: expected an int16 waveform (N,), "
                f"got {waveform.dtype} {waveform.shape}"
            )
        audio = waveform.astype("<i2").tobytes()
        rows = self._rows.tobytes()
        header = EntityHeader(
            info=info,
            form=self._form,
            num_samples=len(waveform),
            padded_frames=self.padded_frames,
            padded_samples=self.padded_samples,
            checksums=(zlib.crc32(audio), zlib.crc32(rows)),
            file_bytes=0,
            header_bytes=0,
        )
        text = json.dumps(header.to_json(), ensure_ascii=False).encode()
        with self._reports_full_disk():
            self._file.write(audio + rows + text)
            self._file.write(FOOTER.pack(len(text), zlib.crc32(text), MAGIC))
            self._files.close()


def encode_jpeg(face: NDArray[np.uint8]) -> bytes:
    """Return a grey or RGB image as JPEG."""
    if face.ndim == 3:
        face = np.ascontiguousarray(face[..., ::-1])
    done, encoded = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done  # OpenCV refuses only invalid images
    return encoded.tobytes()
