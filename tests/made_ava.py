"""Generate a small AVA-ActiveSpeaker for tests: official tables and video files."""

import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.made_video import write_video

WIDTH, HEIGHT = 160, 120
LABELS = ("SPEAKING_AUDIBLE", "NOT_SPEAKING", "SPEAKING_NOT_AUDIBLE")


@dataclass(frozen=True)
class Movie:
    """A video and its faces; each face is labelled for a span of time."""

    name: str  # 11 characters, as on YouTube
    fps: Fraction = Fraction(25)
    duration_s: int = 4
    faces: Sequence[tuple[float, float]] = ((0.4, 2.4), (1.0, 3.6))
    suffix: str = ".mp4"

    @property
    def file(self) -> str:
        return self.name + self.suffix

    def entity(self, number: int) -> str:
        return f"{self.name}_0000_0060:{number}"

    def frames(self, number: int) -> NDArray[np.int64]:
        """Numbers of the frames in which a face is labelled."""
        start, stop = self.faces[number]
        return np.arange(round(start * self.fps), round(stop * self.fps))

    def rows(self) -> Iterator[list[str]]:
        """Rows of the official table, box by box; every label lasts ten frames."""
        for number in range(len(self.faces)):
            for frame in self.frames(number):
                box = ("0.1", "0.2", "0.6", "0.9") if number == 0 else ("0.5", "0.1", "0.9", "0.8")
                label = LABELS[frame // 10 % 3]
                time = f"{float(frame / self.fps):.2f}"
                yield [self.name, time, *box, label, self.entity(number)]


def level(frame: int) -> int:
    """Return the grey level that encodes a frame's number."""
    return 40 + frame * 7 % 170


def write_movie(movie: Movie, path: Path) -> NDArray[np.int16]:
    """Write the video of a movie and return its waveform."""
    count = int(movie.duration_s * movie.fps)
    images = (np.full((HEIGHT, WIDTH, 3), level(frame), np.uint8) for frame in range(count))
    time = np.arange(16000 * movie.duration_s) / 16000
    waveform = (8000 * np.sin(2 * np.pi * (200 + 50 * time) * time)).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(
        path, images, movie.fps, waveform, audio_codec="flac" if path.suffix == ".mkv" else None
    )
    return waveform


def table(movies: Sequence[Movie]) -> str:
    """Return the official table of some movies, without a header."""
    return "".join(",".join(row) + "\n" for movie in movies for row in movie.rows())


def archive(movies: Sequence[Movie], split: str) -> bytes:
    """Return the official archive of a split: a table for each video."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:bz2") as tar:
        for movie in movies:
            text = table([movie]).encode()
            name = f"ava_activespeaker_{split}_v1.0/{movie.name}-activespeaker.csv"
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    return file.getvalue()
