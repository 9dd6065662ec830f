"""Generate small videos for ava_asd: two faces in turn, with a tone while the first speaks."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.made_video import write_video
from utils.datasets.ava.windows import LABELS, VideoRows, WindowOptions, thinned_tracks, windows_of

FPS = 25
TURN_S = 0.8  # how long a face speaks, then the other


def speaks(frame: int, face: int) -> bool:
    return int(frame / FPS / TURN_S) % 2 == face


def images(num_frames: int) -> Iterator[NDArray[np.uint8]]:
    """Yield images with a face on each side; the mouth of the speaking face is bright."""
    for frame in range(num_frames):
        image = np.full((120, 160, 3), 60, np.uint8)
        for face in range(2):
            left = 16 + 80 * face
            image[20:100, left : left + 48] = 140
            if speaks(frame, face):
                image[66:92, left + 8 : left + 40] = 250
        yield image


def rows(video: str, num_frames: int) -> Iterator[list[str]]:
    """Yield the rows of the official table, face by face; the second is inaudible."""
    for face in range(2):
        left = (16 + 80 * face) / 160
        box = [f"{side:.6f}" for side in (left, 20 / 120, left + 48 / 160, 100 / 120)]
        for frame in range(num_frames):
            label = (LABELS[0] if face == 0 else LABELS[2]) if speaks(frame, face) else LABELS[1]
            yield [video, f"{frame / FPS:.2f}", *box, label, f"{video}:{face}"]


def make_windows(folder: Path, videos: Sequence[str], duration_s: int = 8) -> Path:
    """Write videos and their table into a folder; return the table."""
    folder.mkdir(parents=True, exist_ok=True)
    count = FPS * duration_s
    time = np.arange(16000 * duration_s) / 16000
    heard = np.array([speaks(int(one * FPS), 0) for one in time])
    for number, video in enumerate(videos):
        waveform = (9000 * heard * np.sin(2 * np.pi * (300 + 40 * number) * time)).astype(np.int16)
        write_video(folder / f"{video}.mp4", images(count), FPS, waveform)
    table = folder / "labels.csv"
    lines = [",".join(row) for video in videos for row in rows(video, count)]
    table.write_text("\n".join(lines) + "\n")
    return table


def all_windows(rows: VideoRows, options: WindowOptions) -> NDArray[np.int64]:
    """Return the rows of each window of a video, (M, length), track after track."""
    tracks = thinned_tracks(rows, options)
    return np.concatenate([windows_of(track, rows.labels, options)[1] for track in tracks])
