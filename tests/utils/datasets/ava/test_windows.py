"""Tracks and windows of labels as published; rows are dropped only on request."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.made_windows import all_windows
from tests.parity.references import reference_table
from utils.datasets.ava.windows import (
    LABELS,
    VideoRows,
    WindowOptions,
    draw_balanced,
    face_sizes,
    read_rows,
    thin_out,
    thinned_tracks,
    track_bounds,
    window_starts,
)

DATA: dict[str, Any] = reference_table("ava_asd_data")
VIDEOS = sorted(DATA["rows"])
PUBLISHED = WindowOptions(DATA["fps"], DATA["window"], DATA["stride"], lose_rows=True)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, VideoRows]:
    """Return the published rows, read from files."""
    path = tmp_path_factory.mktemp("tables") / "all.csv"
    lines = [",".join(map(str, row)) for video in VIDEOS for row in DATA["rows"][video]]
    path.write_text("\n".join(lines) + "\n")
    return {rows.video: rows for rows in read_rows([path])}


def records(rows: VideoRows, indices: Any) -> list[Any]:
    sizes = face_sizes(rows.boxes, (DATA["frame_size"][0], DATA["frame_size"][1]))
    return [
        [
            rows.video,
            rows.timestamps[i],
            rows.boxes[i].tolist(),
            LABELS[rows.labels[i]],
            rows.names[rows.faces[i]],
            sizes[i].tolist(),
        ]
        for i in indices
    ]


@pytest.mark.parametrize("video", VIDEOS)
def test_published_windows(tables: dict[str, VideoRows], video: str) -> None:
    rows, expected = tables[video], DATA["videos"][video]
    bounds = track_bounds(rows, lose_rows=True)
    assert [stop - start for start, stop in bounds] == expected["track_lengths"]
    first = [records(rows, [start])[0] if stop > start else None for start, stop in bounds]
    assert first == expected["first"]
    tracks = [rows.timestamps[track].tolist() for track in thinned_tracks(rows, PUBLISHED)]
    assert tracks == expected["filled_timestamps"]
    windows = all_windows(rows, PUBLISHED)
    assert rows.timestamps[windows].tolist() == expected["chunk_timestamps"]
    assert records(rows, windows[:, -1]) == expected["chunk_last"]
    alike = WindowOptions(DATA["fps"], DATA["window"], DATA["stride"], True, one_label=True)
    assert len(all_windows(rows, alike)) == expected["homogeneous"]


@pytest.mark.parametrize(
    ("name", "least"),
    [("resampler", 0), ("resampler_small_faces_60", 60), ("resampler_small_faces_100", 100)],
)
def test_published_draws(tables: dict[str, VideoRows], name: str, least: int) -> None:
    speaking, smallest = [], []
    for video in VIDEOS:
        rows = tables[video]
        windows = all_windows(rows, PUBLISHED)
        sizes = face_sizes(rows.boxes, (DATA["frame_size"][0], DATA["frame_size"][1]))
        speaking.append(rows.speaking[windows[:, -1]])
        smallest.append(sizes[windows].min((1, 2)))
    kept = np.concatenate(speaking)[np.concatenate(smallest) >= least]
    expected = DATA[name]
    # The published lists bear each other's names.
    counts = (len(kept), int((~kept).sum()), int(kept.sum()))
    assert counts == (expected["kept"], expected["list_speaking"], expected["list_not_speaking"])
    drawn = draw_balanced(kept, 1.0, np.random.default_rng(0))
    assert len(drawn) == len(set(drawn.tolist())) == expected["epoch_size"]
    assert kept[drawn].sum() == len(drawn) / 2


def rows_at(times: list[float], faces: list[int] | None = None) -> VideoRows:
    count = len(times)
    numbers = np.array(faces or [0] * count, np.int64)
    boxes = np.tile([0.1, 0.2, 0.6, 0.9], (count, 1))
    return VideoRows("v", ["a", "b"], numbers, np.array(times), boxes, np.zeros(count, np.int8))


@pytest.mark.parametrize(
    ("times", "faces", "kept", "lost"),
    [
        ([0.0, 0.04], None, [(0, 2)], [(0, 2)]),
        ([0.0, 0.04, 0.5, 0.54], None, [(0, 2), (2, 4)], [(0, 2), (3, 4)]),
        ([0.0, 0.04, 0.04], [0, 0, 1], [(0, 2), (2, 3)], [(0, 2), (3, 3)]),
    ],
    ids=["one", "gap", "face"],
)
def test_tracks(times: list[float], faces: Any, kept: Any, lost: Any) -> None:
    rows = rows_at(times, faces)
    assert track_bounds(rows) == kept
    assert track_bounds(rows, lose_rows=True) == lost


def test_no_row_is_dropped_by_default() -> None:
    rows = rows_at([t / 25 for t in range(25)] + [3 + t / 25 for t in range(25)])
    assert [track[0] for track in thinned_tracks(rows, WindowOptions())] == [0, 25]


def test_subsampling_uses_the_nearest_row() -> None:
    assert thin_out(np.array([0.0, 0.0625, 0.1875, 0.25, 0.4]), 8).tolist() == [0, 1, 3]


def test_the_last_window_is_skipped() -> None:
    assert window_starts(5, WindowOptions()).tolist() == []
    assert window_starts(6, WindowOptions()).tolist() == [0]
    assert window_starts(10, WindowOptions()).tolist() == [0, 4]


def test_tables_with_header_per_video(tmp_path: Path) -> None:
    header = "video_id,frame_timestamp,x1,y1,x2,y2,label,entity_id\n"
    for video in ("a", "b"):
        row = f"{video},1.5,0.1,0.2,0.3,0.4,NOT_SPEAKING,{video}:0\n"
        (tmp_path / f"{video}.csv").write_text((header if video == "a" else "") + row)
    found = read_rows([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert [(rows.video, rows.names, rows.timestamps.tolist()) for rows in found] == [
        ("a", ["a:0"], [1.5]),
        ("b", ["b:0"], [1.5]),
    ]
    assert found[0].boxes.tolist() == [[0.1, 0.2, 0.3, 0.4]]
    assert not found[0].speaking.any()


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("v,1,0,0,1", "expected 8 columns, found 5"),
        ("v,1,0,0,1,1,LOUD,v:0", "expected a label of .* found 'LOUD'"),
        ("v,1,0.5,0,0.2,1,NOT_SPEAKING,v:0", "a box x1 < x2"),
        ("v,-1,0,0,1,1,NOT_SPEAKING,v:0", "a time of 0 or more"),
        ("v,x,0,0,1,1,NOT_SPEAKING,v:0", "could not convert"),
    ],
)
def test_invalid_rows(tmp_path: Path, row: str, problem: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text("v,1,0,0,1,1,NOT_SPEAKING,v:0\n" + row + "\n")
    with pytest.raises(ValueError, match=rf"t\.csv, line 2: .*{problem}"):
        read_rows([path])


def test_draws_need_both_classes() -> None:
    with pytest.raises(ValueError, match="found 3 speaking and 0 not speaking"):
        draw_balanced(np.ones(3, np.bool_), 1.0, np.random.default_rng(0))


def test_invalid_options() -> None:
    with pytest.raises(ValueError, match="stride must be 1 or more, got 0"):
        WindowOptions(stride=0)
