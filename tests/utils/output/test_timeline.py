"""The timeline shows each track at its times, green during speech, at any length."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from utils.output.lanes import MAX_LANES
from utils.output.results import ModelRecord, Result, VideoFacts
from utils.output.timeline import (
    BOTTOM,
    HEARD,
    LEFT,
    PRESENT,
    RIGHT,
    SPEAKING,
    TOP,
    WIDTH,
    write_timeline,
)
from utils.structures import ScoredTrack, Segment, Shot


def scored(number: int, start: int, scores: NDArray[np.floating]) -> ScoredTrack:
    boxes = np.zeros((len(scores), 4), np.float32)
    values = scores.astype(np.float32)
    return ScoredTrack(number, 0, start, boxes, values, values, np.full((112, 112), 90, np.uint8))


def draw(
    path: Path, tracks: list[ScoredTrack], num_frames: int, offscreen: Sequence[Segment] = ()
) -> NDArray[np.uint8]:
    name = "Crème; \n日本 " + "long " * 40 + ".mp4"
    result = Result(
        VideoFacts(name, 640, 360, Fraction(25), num_frames / 25),
        ModelRecord("lr_asd"),
        ModelRecord("yunet"),
        [Shot(0, num_frames // 3), Shot(num_frames // 3, num_frames)],
        tracks,
        offscreen=offscreen,
    )
    write_timeline(result, path)
    return np.asarray(Image.open(path).convert("RGB"))


def near(pixels: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Where the colour is, in rows of the image between the margins."""
    within = pixels[TOP:-BOTTOM, LEFT : WIDTH - RIGHT].astype(int)
    return np.asarray(np.abs(within - colour).max(axis=2) <= 6)


def extent(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """First and last column that holds True, as parts of the width."""
    columns = np.flatnonzero(mask.any(axis=0))
    return columns[0] / mask.shape[1], (columns[-1] + 1) / mask.shape[1]


def test_bars_lie_where_the_time_is(tmp_path: Path) -> None:
    scores = np.where((np.arange(150) >= 50) & (np.arange(150) < 100), 3.0, -3.0)
    pixels = draw(tmp_path / "a.png", [scored(0, 50, scores)], 250)
    assert extent(near(pixels, SPEAKING)) == pytest.approx((100 / 250, 150 / 250), abs=0.004)
    assert extent(near(pixels, PRESENT)) == pytest.approx((50 / 250, 200 / 250), abs=0.004)


@pytest.mark.parametrize(
    ("num_tracks", "num_frames"),
    [(0, 100), (1, 1), (2, 250), (12, 1500), (300, 90_000)],
    ids=["no face", "one frame", "10 s", "a minute", "an hour"],
)
def test_every_length_fits(tmp_path: Path, num_tracks: int, num_frames: int) -> None:
    rng = np.random.default_rng(0)
    length = max(1, num_frames // 10)
    tracks = [
        scored(n, n * (num_frames - length) // max(num_tracks, 1), rng.normal(1, 2, length))
        for n in range(num_tracks)
    ]
    pixels = draw(tmp_path / "a.png", tracks, num_frames)
    lanes = max(1, min(num_tracks, MAX_LANES))
    assert pixels.shape[1] == WIDTH
    assert (pixels.shape[0] - TOP - BOTTOM) % lanes == 0
    edge = pixels[:, [0, 1, -2, -1]]
    assert (edge == 255).all()  # nothing is cut off at the sides


def test_the_tracks_that_speak_most_are_kept(tmp_path: Path) -> None:
    silent = [scored(n, 0, np.full(500, -3.0)) for n in range(MAX_LANES + 5)]
    speaking = scored(99, 400, np.full(100, 3.0))
    pixels = draw(tmp_path / "a.png", [*silent, speaking], 500)
    assert extent(near(pixels, SPEAKING)) == pytest.approx((0.8, 1.0), abs=0.004)


def test_an_hour_is_shaded_by_the_part_that_is_speech(tmp_path: Path) -> None:
    scores = np.where(np.arange(90_000) % 20 < 10, 3.0, -3.0)  # half of any second
    pixels = draw(tmp_path / "a.png", [scored(0, 0, scores)], 90_000)
    half = (np.array(PRESENT) + SPEAKING) / 2
    row = pixels[TOP + 36, LEFT + 50 : WIDTH - RIGHT - 50].astype(float)
    assert np.abs(row.mean(axis=0) - half).max() < 8


def test_the_legend_names_the_colour_of_offscreen_speech_only_if_there_is_some(
    tmp_path: Path,
) -> None:
    face = scored(0, 0, np.full(100, 3.0))
    heard = [Segment(None, 5.0, 9.0, 1.0, kind="offscreen")]
    for offscreen in ([], heard):
        pixels = draw(tmp_path / "a.png", [face], 250, offscreen)
        legend = pixels[24:42].astype(int)  # beside the title
        swatch = (np.abs(legend - HEARD).max(axis=2) <= 6).any()
        assert swatch == bool(offscreen)
