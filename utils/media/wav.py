"""Read WAV files of any size, a piece at a time.

`scipy.io.wavfile` is not used: with `mmap` it rejects 24-bit samples and truncated files; without,
ten minutes of 16 channels at 24 bits and 24 kHz take 1.6 GB of memory; this reader needs 6 MB.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # WAV format codes
OPEN_SIZES = (0, 0xFFFFFFFF)  # data sizes left by writers that cannot seek back
KINDS = {(PCM, 8): "u1", (PCM, 16): "<i2", (PCM, 24): "u1", (PCM, 32): "<i4"}
KINDS |= {(FLOAT, 32): "<f4", (FLOAT, 64): "<f8"}


@dataclass(frozen=True)
class WavFile:
    """A WAV file of any size: PCM of 8 to 32 bits or floats, RIFF or RF64."""

    path: Path
    rate: int  # samples/s
    num_channels: int
    num_samples: int  # of a channel
    bits: int
    kind: str  # NumPy type of the stored values; 24-bit samples are three bytes
    offset: int  # of the first sample in the file, bytes

    def read(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return samples [start, stop) in [-1, 1], (N, C); fewer at the end of the file."""
        start, stop = max(0, start), min(stop, self.num_samples)
        width = self.num_channels * self.bits // 8
        count = max(0, stop - start)
        with self.path.open("rb") as file:
            file.seek(self.offset + start * width)
            stored = file.read(count * width)
        if len(stored) < count * width:
            raise UserError(f"{self.path}: expected {count} samples from {start} on, it is cut off")
        return self._decode(stored).reshape(count, self.num_channels)

    def _decode(self, stored: bytes) -> NDArray[np.float64]:
        values = np.frombuffer(stored, self.kind)
        if self.bits == 24:
            whole = np.zeros((len(values) // 3, 4), np.uint8)
            whole[:, 1:] = values.reshape(-1, 3)
            return np.asarray(whole.view("<i4")[:, 0] / 2.0**31)
        if self.kind.startswith("<f"):
            return values.astype(np.float64)
        if self.bits == 8:
            return np.asarray((values.astype(np.float64) - 128) / 128)
        return np.asarray(values / 2.0 ** (self.bits - 1))


def open_wav(path: Path) -> WavFile:
    """Open a WAV file.

    Raises:
        FileNotFoundError: The file is missing.
        UserError: It is not a WAV file of a supported kind.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected a WAV file, found no file {path}")
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
            raise UserError(f"expected a WAV file, found another format: {path}; convert it")
        try:
            return _read_chunks(file, path)
        except struct.error:
            raise UserError(f"{path}: the WAV file is cut off; copy it again") from None


def _read_chunks(file: IO[bytes], path: Path) -> WavFile:
    """Read the chunks of a WAV file up to its samples."""
    fields: tuple[int, ...] = ()
    long_size = 0
    while True:
        name, size = struct.unpack("<4sI", file.read(8))
        if name == b"ds64":
            long_size = struct.unpack("<8xQ", file.read(16))[0]
            size -= 16
        elif name == b"fmt ":
            body = file.read(size + size % 2)
            size = 0
            code, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
            if code == EXTENSIBLE:
                code = struct.unpack("<H", body[24:26])[0]
            fields = (code, channels, rate, bits)
        elif name == b"data":
            break
        file.seek(size + size % 2, 1)
    if not fields:
        raise UserError(f"{path}: expected a fmt chunk before the data chunk, found none")
    return _described(path, fields, long_size if size == OPEN_SIZES[1] else size, file.tell())


def _described(path: Path, fields: tuple[int, ...], size: int, offset: int) -> WavFile:
    """Return the file described by the fields of its header."""
    code, channels, rate, bits = fields
    if (code, bits) not in KINDS or not channels:
        raise UserError(
            f"{path}: expected PCM of 8 to 32 bits or floats, found format {code} of {bits} bits "
            f"in {channels} channels; convert it: ffmpeg -i FILE -c:a pcm_s24le OUT.wav"
        )
    available = path.stat().st_size - offset
    if size in OPEN_SIZES or size > available:
        size = available
    num_samples = size // (channels * bits // 8)
    return WavFile(path, rate, channels, num_samples, bits, KINDS[code, bits], offset)
