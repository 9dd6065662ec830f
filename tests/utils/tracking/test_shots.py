"""Frames are marked with their shots: cuts, flashes and given cuts."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from utils.structures import Frame
from utils.tracking.shots import ShotOptions, mark_shots, read_cuts

IMAGES = np.random.default_rng(3).integers(0, 256, (4, 180, 320, 3), dtype=np.uint8)


def made_frames(*runs: tuple[int, int], first: int = 0) -> Iterator[Frame]:
    """Frames of still images with a little noise, given as (image, how many) runs."""
    images = [image for image, count in runs for _ in range(count)]
    for index, number in enumerate(images, first):
        image = IMAGES[number].copy()
        image[index % 180] = 0
        yield Frame(index, image[..., 0], image)


def cuts_found(frames: Iterator[Frame], options: ShotOptions | None = None) -> list[int]:
    shots = [(frame.index, frame.shot) for frame in mark_shots(frames, options or ShotOptions())]
    assert shots[0][1] == 0
    return [after[0] for before, after in pairwise(shots) if before[1] < after[1]]


@pytest.mark.parametrize(
    ("runs", "cuts"),
    [
        ([(0, 1)], []),
        ([(0, 40)], []),
        ([(0, 20), (1, 30)], [20]),
        ([(0, 20), (1, 15), (2, 20)], [20, 35]),
        ([(0, 20), (1, 1), (0, 20)], [20]),
        ([(0, 10), (1, 40)], []),
        ([(0, 20), (1, 14), (2, 40)], [20]),
        ([(0, 20), (1, 10), (2, 10), (3, 40)], [20, 40]),
    ],
    ids=["one frame", "no cut", "one", "two", "flash", "at once", "too early", "too early, third"],
)
def test_cuts(runs: list[tuple[int, int]], cuts: list[int]) -> None:
    assert cuts_found(made_frames(*runs)) == cuts


def test_options_change_what_is_a_cut() -> None:
    runs = [(0, 5), (1, 5), (2, 5)]
    assert cuts_found(made_frames(*runs), ShotOptions(min_shot=0)) == [5, 10]
    assert cuts_found(made_frames(*runs), ShotOptions(threshold=250, min_shot=0)) == []
    with pytest.raises(ValueError, match="--threshold must be a number above 0, got nan"):
        ShotOptions(threshold=float("nan"))
    with pytest.raises(ValueError, match="--minShot must be 0 or more"):
        ShotOptions(min_shot=-1)


def test_marking_is_immediate_and_keeps_the_frame() -> None:
    frames = list(made_frames((0, 20), (1, 20)))
    read: list[int] = []

    def source() -> Iterator[Frame]:
        for frame in frames:
            read.append(frame.index)
            yield frame

    for frame in mark_shots(source(), ShotOptions()):
        assert read[-1] == frame.index
        assert frame.shot == int(frame.index >= 20)
        assert frame.image is frames[frame.index].image


def test_repeated_images_count_as_frames() -> None:
    def doubled(image: NDArray[np.uint8], first: int, count: int) -> Iterator[Frame]:
        return (Frame(index, image[..., 0], image) for index in range(first, first + count))

    frames = [*doubled(IMAGES[0], 0, 15), *doubled(IMAGES[1], 15, 15)]
    assert cuts_found(iter(frames)) == [15]


@pytest.mark.parametrize("size", [(1, 1), (2, 4000), (300, 40)], ids=str)
def test_odd_sizes(size: tuple[int, int]) -> None:
    dark, light = np.zeros((*size, 3), np.uint8), np.full((*size, 3), 255, np.uint8)
    frames = [Frame(i, dark[..., 0], (dark if i < 20 else light).copy()) for i in range(40)]
    assert cuts_found(iter(frames)) == [20]


def test_given_cuts() -> None:
    frames = made_frames((0, 30), (1, 30), first=50)
    cuts = [2.4, 2.2333, 0.5, 2.801, 2.8, 99.0]
    shots = {frame.index: frame.shot for frame in mark_shots(frames, ShotOptions(), cuts)}
    assert [shots[i] for i in (50, 55, 56, 59, 60, 69, 70, 80, 109)] == [0, 0, 1, 1, 2, 2, 3, 3, 3]
    assert {
        frame.shot for frame in mark_shots(made_frames((0, 20), (1, 20)), ShotOptions(), [])
    } == {0}


def test_read_cuts(tmp_path: Path) -> None:
    path = tmp_path / "cuts.txt"
    path.write_text("# seconds\n12.5\n\n  3 # the door\r\n0.04\n", encoding="utf-8")
    assert read_cuts(path) == [0.04, 3.0, 12.5]


@pytest.mark.parametrize("line", ["one", "nan", "inf", "-1", "1,5", "1 2"])
def test_wrong_cuts_are_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "cuts.txt"
    path.write_text(f"1.0\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"cuts.txt, line 2: .* found '{line}'"):
        read_cuts(path)


def test_binary_cuts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cuts.txt"
    path.write_bytes(b"\xff\xfe1")
    with pytest.raises(ValueError, match="no UTF-8 text"):
        read_cuts(path)
