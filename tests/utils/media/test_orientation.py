"""Rotation and mirroring are read from the display matrix."""

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.made_video import write_video
from utils.media.container import probe
from utils.media.orientation import Orientation

ONE = 1 << 16  # 1 in the fixed-point numbers of the matrix
UPRIGHT = (ONE, 0, 0, ONE)


def write_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Replace the matrix in the header of an MP4's track, as a camera writes it."""
    plain = struct.pack(">9i", ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30)
    content = path.read_bytes()
    place = content.index(plain, content.index(b"tkhd"))
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content[:place] + matrix + content[place + len(plain) :])


@pytest.mark.parametrize(
    ("matrix", "orientation", "shown"),
    [
        (UPRIGHT, Orientation(), "abc def"),
        ((-ONE, 0, 0, ONE), Orientation(True, 0), "cba fed"),
        ((ONE, 0, 0, -ONE), Orientation(True, 2), "def abc"),
        ((0, ONE, ONE, 0), Orientation(True, 1), "ad be cf"),
        ((0, -ONE, -ONE, 0), Orientation(True, 3), "fc eb da"),
        ((-ONE, 0, 0, -ONE), Orientation(False, 2), "fed cba"),
        ((0, ONE, -ONE, 0), Orientation(False, 3), "da eb fc"),
        ((0, -ONE, ONE, 0), Orientation(False, 1), "cf be ad"),
        ((2 * ONE, 0, 0, -ONE), Orientation(True, 2), "def abc"),
        ((0, 0, 0, 0), Orientation(), "abc def"),
    ],
    ids=[
        *("upright", "left to right", "upside down", "transposed", "along the other diagonal"),
        *("half a turn", "quarter clockwise", "quarter anticlockwise", "wider too", "all zero"),
    ],
)
def test_orientation(
    tmp_path: Path, matrix: tuple[int, int, int, int], orientation: Orientation, shown: str
) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, [np.zeros((32, 48, 3), np.uint8)] * 2)
    write_matrix(path, *matrix)
    video = probe(path)
    assert video.orientation == orientation
    stored = np.array([list("abc"), list("def")])
    assert ["".join(row) for row in orientation.upright(stored)] == shown.split()
    assert (video.width, video.height) == orientation.size(48, 32)
