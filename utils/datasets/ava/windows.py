"""The training samples of ava_asd: windows of five labelled rows, 0.1 s apart.

The labels' rows become tracks, tracks are subsampled to 10 rows/s, and their windows overlap by
one row. A window has the label of its last row.
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
    stride: Annotated[int, "rows between the starts of windows"] = 4
    lose_rows: Annotated[bool, "leave out the first row of each track but the first"] = False
    one_label: Annotated[bool, "skip windows in which the label changes"] = False

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
    boxes: NDArray[np.float64]  # (N, 4) x1, y1, x2, y2 as fractions of the image's sides
    labels: NDArray[np.int8]  # (N,) index into LABELS

    @property
    def speaking(self) -> NDArray[np.bool_]:
        """Whether each row is audible speech, (N,)."""
        return np.asarray(self.labels == 0)


def read_rows(paths: Iterable[Path]) -> list[VideoRows]:
    """Read official tables, with or without a header, each of one or more videos.

    Raises:
        UserError: A row is invalid; the message names file and line.
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
            f"expected a time of 0 or more and a box x1 < x2, y1 < y2, found {', '.join(texts)}"
        )
    if label not in LABELS:
        raise UserError(f"expected a label of {', '.join(LABELS)}, found {label!r}")
    return face, numbers, LABELS.index(label)


def _gather(video: str, rows: Sequence[tuple[str, list[float], int]]) -> VideoRows:
    names: dict[str, int] = {}
    faces = [names.setdefault(face, len(names)) for face, _, _ in rows]
    numbers = np.array([values for _, values, _ in rows], np.float64)
    labels = np.array([label for _, _, label in rows], np.int8)
    return VideoRows(
        video, list(names), np.array(faces, np.int64), numbers[:, 0], numbers[:, 1:], labels
    )


def track_bounds(rows: VideoRows, lose_rows: bool = False) -> list[tuple[int, int]]:
    """Return the rows [start, stop) of each track.

    A row continues the track of the previous row if it is the same face, at most 0.1 s later.

    Args:
        rows: The rows of one video.
        lose_rows: Kept: the published preparation loses each row that does not go on with the
            track before it, so tracks but the first begin a row late, and some are empty.
    """
    apart = np.diff(rows.timestamps) > GAP_S
    begins = np.flatnonzero(apart | (np.diff(rows.faces) != 0)) + 1
    starts = [0, *(begins + int(lose_rows)).tolist()]
    stops = [*begins.tolist(), len(rows.timestamps)]
    return list(zip(starts, stops, strict=True))


def thin_out(times: NDArray[np.float64], fps: int) -> NDArray[np.int64]:
    """Return the rows of a track that are nearest to moments 1 / fps s apart.

    Args:
        times: (T,) s of the track's rows, ascending.
        fps: Moments per second; the last moment is before the track's last row.
    """
    count = int((times[-1] - times[0]) / (1 / fps))
    moments = times[0] + np.arange(count) * (1 / fps)
    after = np.searchsorted(times, moments).clip(1, len(times) - 1)
    earlier = moments - times[after - 1] <= times[after] - moments
    return np.asarray(np.where(earlier, after - 1, after), np.int64)


def thinned_tracks(rows: VideoRows, options: WindowOptions) -> list[NDArray[np.int64]]:
    """Return the rows of each subsampled track that is longer than a window."""
    tracks = []
    for start, stop in track_bounds(rows, options.lose_rows):
        times = rows.timestamps[start:stop]
        if len(times) and times[-1] - times[0] > options.length / options.fps:
            tracks.append(start + thin_out(times, options.fps))
    return tracks


def window_starts(num_rows: int, options: WindowOptions) -> NDArray[np.int64]:
    """Return the first row of each window in a subsampled track.

    Kept: a window that would end with the track's last row is skipped.
    """
    return np.arange(0, max(0, num_rows - options.length), options.stride)


def windows_of(
    track: NDArray[np.int64], labels: NDArray[np.generic], options: WindowOptions
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first row of each window in a subsampled track, (M,), and its rows, (M, length).

    Args:
        track: Rows of the video in the subsampled track.
        labels: Labels of all rows of the video.
        options: How windows are cut.
    """
    starts = window_starts(len(track), options)
    windows = track[starts[:, None] + np.arange(options.length)]
    if not options.one_label:
        return starts, windows
    same = (labels[windows] == labels[windows[:, :1]]).all(1)
    return starts[same], windows[same]


def face_sizes(boxes: NDArray[np.float64], image_size: tuple[int, int]) -> NDArray[np.int64]:
    """Return width and height of boxes in pixels, (N, 2); corners are truncated to whole pixels.

    Args:
        boxes: (N, 4) as fractions of the image's sides.
        image_size: Width and height of the image.
    """
    corners = np.trunc(boxes * np.array((*image_size, *image_size))).astype(np.int64)
    return np.asarray(corners[:, 2:] - corners[:, :2], np.int64)


def draw_balanced(
    speaking: NDArray[np.bool_], share: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the windows of an epoch in random order, equally many of both classes.

    Args:
        speaking: (M,) label of every window.
        share: Share of the smaller class to draw, in (0, 1].
        rng: Source of randomness.
    """
    classes = [np.flatnonzero(speaking), np.flatnonzero(~speaking)]
    count = int(min(map(len, classes)) * share)
    if not count:
        raise UserError(
            f"expected windows of both classes, found {len(classes[0])} speaking and "
            f"{len(classes[1])} not speaking, of which a share of {share} is drawn"
        )
    drawn = np.concatenate([rng.choice(rows, count, replace=False) for rows in classes])
    return rng.permutation(drawn)
