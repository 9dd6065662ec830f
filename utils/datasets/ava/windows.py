"""What ava_asd learns from: windows of five rows, a tenth of a second apart, cut out of labels.

The labels' rows become tracks, tracks are thinned out to 10 rows/s, and windows of them overlap
by one row. A window has the label of its last row.
"""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError
from utils.metrics.average_precision import COLUMNS

LABELS = ("SPEAKING_AUDIBLE", "NOT_SPEAKING", "SPEAKING_NOT_AUDIBLE")
GAP_S = 0.1  # rows further apart belong to different tracks


@dataclass(frozen=True)
class WindowOptions:
    """How windows are cut."""

    fps: Annotated[int, "rows of a track per second"] = 10
    length: Annotated[int, "rows of a window"] = 5
    stride: Annotated[int, "rows from one window to the next"] = 4
    lose_rows: Annotated[bool, "leave out the first row of each track but the first"] = False
    one_label: Annotated[bool, "leave out windows in which the label changes"] = False

    def __post_init__(self) -> None:
        for name in ("fps", "length", "stride"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, got {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class VideoRows:
    """The labelled rows of one video, in the order of the table."""

    video: str
    names: Sequence[str]  # (K,) of the faces
    faces: NDArray[np.int64]  # (N,) index into names
    timestamps: NDArray[np.float64]  # (N,) s
    boxes: NDArray[np.float64]  # (N, 4) x1, y1, x2, y2 as fractions of the picture's sides
    labels: NDArray[np.int8]  # (N,) index into LABELS

    @property
    def speaking(self) -> NDArray[np.bool_]:
        """Which rows speak and can be heard, (N,)."""
        return np.asarray(self.labels == 0)


def read_rows(paths: Iterable[Path]) -> list[VideoRows]:
    """Read official tables, with or without a header, of one or more videos each.

    Raises:
        UserError: A row is not as it should be; names file and line.
    """
    videos: dict[str, list[tuple[str, list[float], int]]] = {}
    for path in paths:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            try:
                for row in reader:
                    if row[1:2] != [COLUMNS[1]]:  # no header
                        videos.setdefault(row[0], []).append(_parse(row))
            except (ValueError, csv.Error) as error:
                raise UserError(f"{path}, line {reader.line_num}: {error}") from error
    return [_gather(video, rows) for video, rows in videos.items()]


def _parse(row: Sequence[str]) -> tuple[str, list[float], int]:
    """Return face, time and box, and label of a row."""
    if len(row) < len(COLUMNS):
        raise UserError(f"expected {len(COLUMNS)} columns, found {len(row)}")
    _, *texts, label, face = row[: len(COLUMNS)]
    numbers = [float(text) for text in texts]
    time, x1, y1, x2, y2 = numbers
    if not all(map(math.isfinite, numbers)) or time < 0 or not (x1 < x2 and y1 < y2):
        raise UserError(
            f"expected a time from 0 upward and a box x1 < x2, y1 < y2, found {', '.join(texts)}"
        )
    if label not in LABELS:
        raise UserError(f"expected a label of {', '.join(LABELS)}, found {label!r}")
    return face, numbers, LABELS.index(label)


def _gather(video: str, rows: Sequence[tuple[str, list[float], int]]) -> VideoRows:
    names: dict[str, int] = {}
    faces = [names.setdefault(face, len(names)) for face, _, _ in rows]
    numbers = np.array([found for _, found, _ in rows], np.float64)
    labels = np.array([label for _, _, label in rows], np.int8)
    return VideoRows(
        video, list(names), np.array(faces, np.int64), numbers[:, 0], numbers[:, 1:], labels
    )


def track_bounds(rows: VideoRows, lose_rows: bool = False) -> list[tuple[int, int]]:
    """Return the rows [start, stop) of each track.

    A row goes on with the track of the row before if it is the same face, 0.1 s later at most.

    Args:
        rows: Of one video.
        lose_rows: Kept: the published preparation loses each row that does not go on with the
            track before it, so tracks but the first begin a row late, and some are empty.
    """
    apart = np.diff(rows.timestamps) > GAP_S
    begins = np.flatnonzero(apart | (np.diff(rows.faces) != 0)) + 1
    starts = [0, *(begins + int(lose_rows)).tolist()]
    stops = [*begins.tolist(), len(rows.timestamps)]
    return list(zip(starts, stops, strict=True))


def thin_out(times: NDArray[np.float64], fps: int) -> NDArray[np.int64]:
    """Return which rows of a track stand for its moments 1 / fps s apart: the nearest ones.

    Args:
        times: (T,) s of the track's rows, ascending.
        fps: Moments per second; the last one lies before the track's last row.
    """
    count = int((times[-1] - times[0]) / (1 / fps))
    moments = times[0] + np.arange(count) * (1 / fps)
    after = np.searchsorted(times, moments).clip(1, len(times) - 1)
    earlier = moments - times[after - 1] <= times[after] - moments
    return np.asarray(np.where(earlier, after - 1, after), np.int64)


def thinned_tracks(rows: VideoRows, options: WindowOptions) -> list[NDArray[np.int64]]:
    """Return the rows of each thinned-out track that is longer than a window."""
    tracks = []
    for start, stop in track_bounds(rows, options.lose_rows):
        times = rows.timestamps[start:stop]
        if len(times) and times[-1] - times[0] > options.length / options.fps:
            tracks.append(start + thin_out(times, options.fps))
    return tracks


def window_starts(num_rows: int, options: WindowOptions) -> NDArray[np.int64]:
    """Return where in a thinned-out track the windows begin.

    Kept: a window that would end with the track's last row is not taken.
    """
    return np.arange(0, max(0, num_rows - options.length), options.stride)


def windows_of(
    track: NDArray[np.int64], labels: NDArray[np.generic], options: WindowOptions
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where in a thinned-out track its windows begin, (M,), and their rows, (M, length).

    Args:
        track: The rows of a video that are left of it.
        labels: Of all rows of the video.
        options: Which windows are cut.
    """
    starts = window_starts(len(track), options)
    windows = track[starts[:, None] + np.arange(options.length)]
    if not options.one_label:
        return starts, windows
    same = (labels[windows] == labels[windows[:, :1]]).all(1)
    return starts[same], windows[same]


def face_sizes(boxes: NDArray[np.float64], picture: tuple[int, int]) -> NDArray[np.int64]:
    """Return width and height of boxes in pixels, (N, 2), corners cut to whole pixels first.

    Args:
        boxes: (N, 4) as fractions of the picture's sides.
        picture: Its width and height.
    """
    corners = np.trunc(boxes * np.array((*picture, *picture))).astype(np.int64)
    return np.asarray(corners[:, 2:] - corners[:, :2], np.int64)


def draw_balanced(
    speaking: NDArray[np.bool_], share: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return windows of an epoch, in random order: as many that speak as do not, none twice.

    Args:
        speaking: (M,) of every window.
        share: Of the smaller class that is drawn, in (0, 1].
        rng: Chooses them.
    """
    classes = [np.flatnonzero(speaking), np.flatnonzero(~speaking)]
    count = int(min(map(len, classes)) * share)
    if not count:
        raise UserError(
            f"expected windows of both classes, found {len(classes[0])} that speak and "
            f"{len(classes[1])} that do not, of which a share of {share} is drawn"
        )
    drawn = np.concatenate([rng.choice(one, count, replace=False) for one in classes])
    return rng.permutation(drawn)
