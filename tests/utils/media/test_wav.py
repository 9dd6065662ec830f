"""WAV files of all kinds are read in pieces; other files are errors."""

import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.made_array import RATE
from utils.media.wav import open_wav

SAMPLES = np.random.default_rng(0).uniform(-0.9, 0.9, (500, 3))


def wav_bytes(
    code: int, bits: int, stored: bytes, head: bytes = b"RIFF", size: int | None = None
) -> bytes:
    """Return a WAV file of three channels, with a chunk of odd length before its samples."""
    fields = struct.pack("<HHIIHH", code, 3, RATE, RATE * 3 * bits // 8, 3 * bits // 8, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + fields
    if code == 0xFFFE:
        more = struct.pack("<HHI", 22, bits, 0) + struct.pack("<H", 1) + bytes(14)
        body = b"WAVEfmt " + struct.pack("<I", 40) + fields + more
    if head == b"RF64":
        body = b"WAVEds64" + struct.pack("<IQQQI", 28, 0, len(stored), 0, 0) + body[4:]
    body += b"note" + struct.pack("<I", 3) + b"odd\0"
    size = len(stored) if size is None else size
    return head + struct.pack("<I", 0) + body + b"data" + struct.pack("<I", size) + stored


def packed(values: NDArray[np.int64]) -> bytes:
    """Pack integers of 24 bits."""
    return values.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


CASES = {
    "8 bits": (1, 8, np.round(SAMPLES * 128 + 128).astype("u1").tobytes(), 1 / 100),
    "16 bits": (1, 16, np.round(SAMPLES * 32768).astype("<i2").tobytes(), 2e-5),
    "24 bits": (1, 24, packed(np.round(SAMPLES.ravel() * 2**23).astype(np.int64)), 1e-7),
    "32 bits": (1, 32, np.round(SAMPLES * 2.0**31).astype("<i4").tobytes(), 1e-9),
    "float32": (3, 32, SAMPLES.astype("<f4").tobytes(), 1e-7),
    "float64": (3, 64, SAMPLES.tobytes(), 0),
    "extensible": (0xFFFE, 16, np.round(SAMPLES * 32768).astype("<i2").tobytes(), 2e-5),
}


@pytest.mark.parametrize(("code", "bits", "stored", "tolerance"), CASES.values(), ids=CASES)
def test_reads_every_kind(
    tmp_path: Path, code: int, bits: int, stored: bytes, tolerance: float
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(code, bits, stored))
    file = open_wav(path)
    assert (file.rate, file.num_channels, file.num_samples) == (RATE, 3, 500)
    np.testing.assert_allclose(file.read(0, 500), SAMPLES, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(file.read(100, 120), file.read(0, 500)[100:120])
    assert file.read(490, 600).shape == (10, 3)


@pytest.mark.parametrize(
    ("head", "size"),
    [(b"RF64", 0xFFFFFFFF), (b"RIFF", 0xFFFFFFFF), (b"RIFF", 0)],
    ids=["RF64", "size never written", "size 0"],
)
def test_reads_files_whose_size_stands_elsewhere(tmp_path: Path, head: bytes, size: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(3, 64, SAMPLES.tobytes(), head, size))
    np.testing.assert_array_equal(open_wav(path).read(0, 500), SAMPLES)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"ID3 music", "another format"),
        (b"RIFF\0\0\0\0WAVEfmt ", "is cut off"),
        (wav_bytes(1, 12, b""), "format 1 of 12 bits in 3"),
        (wav_bytes(85, 16, b""), "format 85 of 16 bits"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "a fmt chunk before the data"),
    ],
    ids=["no WAV", "cut off", "12 bits", "MP3 inside", "no format"],
)
def test_other_files_are_errors(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=problem) as error:
        open_wav(path)
    assert str(path) in str(error.value)


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.wav"):
        open_wav(tmp_path / "gone.wav")
