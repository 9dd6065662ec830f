"""Tracks are made of one person's shots each, and pairs of them are counted rightly."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.joined_tracks import (
    LONGEST,
    SHORTEST,
    ShotTrack,
    count_pairs,
    draw_videos,
    make_tracks,
    row_of,
)
from tests.made_faces import WholeFace, directions
from tests.made_video import write_video
from utils.errors import UserError
from utils.structures import FaceCrops


def made(person: str) -> ShotTrack:
    image = np.zeros((1, 128, 128, 3), np.uint8)
    crops = FaceCrops(np.zeros(1, np.int64), image, np.full(1, 0.6, np.float32), image[0])
    return ShotTrack(person, 20, crops)


def test_shots_of_people_who_are_alone(tmp_path: Path) -> None:
    rows = ["file,identity"]
    for name in ("ann", "bob", "both"):
        rng = np.random.default_rng(len(name))
        images = rng.integers(60, 200, (50, 96, 128, 3), np.uint8)
        write_video(tmp_path / f"{name}.mp4", list(images))
        rows.append(f"{name}.mp4,{'ann;bob' if name == 'both' else name}")
    (tmp_path / "INDEX.csv").write_text("\n".join(rows))
    tracks = make_tracks(WholeFace(), str(tmp_path), [], 5, 0)
    assert Counter(track.person for track in tracks) == {"ann": 5, "bob": 5}
    assert all(SHORTEST - 1 <= track.num_frames <= LONGEST + 1 for track in tracks)
    assert {track.faces.crops.shape[1:] for track in tracks} == {(128, 128, 3)}
    again = make_tracks(WholeFace(), str(tmp_path), ["bob"], 5, 0)
    for one, other in zip(tracks, again, strict=False):
        assert np.array_equal(one.faces.crops, other.faces.crops)
    assert {track.person for track in again} == {"ann"}


def test_made_videos() -> None:
    tracks = [made(name) for name in "abcdefgh" for _ in range(8)]
    videos = draw_videos(tracks, 50, np.random.default_rng(0))
    for video in videos:
        assert len(set(video)) == len(video)
        counts = Counter(tracks[number].person for number in video)
        assert 2 <= len(counts) <= 7 and set(counts.values()) <= {2, 3, 4, 5, 6}
    assert len({len(video) for video in videos}) > 5
    assert draw_videos(tracks[:16], 3, np.random.default_rng(0))  # of two people
    with pytest.raises(UserError, match="tracks of two people or more, found those of 1"):
        draw_videos(tracks[:8], 1, np.random.default_rng(0))


def test_pairs_and_rates() -> None:
    tracks = [made(name) for name in "aabbb"]
    two = directions(2)
    counts = count_pairs(tracks, two[[0, 0, 1, 1, 1]], 0.5)
    assert counts == (4, 4, 4)
    assert count_pairs(tracks, np.tile(two[:1], (5, 1)), 0.5) == (4, 10, 4)
    assert count_pairs(tracks, directions(5), 0.5) == (4, 0, 0)
    row = row_of([counts, counts._replace(joined=8)], np.random.default_rng(0))
    assert row["precision"] == pytest.approx(8 / 12) and row["recall"] == 1
    assert (row["from"], row["to"]) == (0.5, 1)
