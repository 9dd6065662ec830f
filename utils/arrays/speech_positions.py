"""Positions of localised speech across a camera's view: resample, write and read them."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.arrays.spectra import FPS as HEARD_FPS
from utils.errors import UserError
from utils.files import reading_table, replacing

HEADER = ("name", "time", "predicted x", "confidence")


@dataclass(frozen=True, eq=False)
class Heard:
    """Position and confidence of localised speech in each frame of a view; 30 frames/s from 0 s."""

    positions: NDArray[np.float32]  # (T,) fraction of the view's width
    confidences: NDArray[np.float32]  # (T,) in [0, 1]; speech from 0.5 on

    def __post_init__(self) -> None:
        if self.positions.shape != self.confidences.shape or self.positions.ndim != 1:
            raise ValueError(
                f"expected positions and confidences of (T,) frames, got {self.positions.shape} "
                f"and {self.confidences.shape}"
            )

    def __len__(self) -> int:
        return len(self.positions)

    def at(self, times: NDArray[np.floating]) -> "Heard":
        """Return the values at times in s, from the frame displayed then.

        Before the first and after the last frame the confidence is 0.
        """
        frames = np.floor(np.asarray(times) * HEARD_FPS + 1e-6).astype(np.int64)
        inside = (frames >= 0) & (frames < len(self))
        frames = frames.clip(0, max(0, len(self) - 1))
        if not len(self):
            return Heard(np.full(len(frames), 0.5, np.float32), np.zeros(len(frames), np.float32))
        return Heard(self.positions[frames], np.where(inside, self.confidences[frames], 0))


def num_frames(duration_s: float) -> int:
    """Return the number of frames of a view; its length counts in hundredths of a second."""
    return round(round(duration_s, 2) * HEARD_FPS)


def write_heard(views: Mapping[str, Heard], path: Path) -> None:
    """Write localised speech by view name, one row per frame, in the published format."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for name, heard in views.items():
            for frame, (x, confidence) in enumerate(
                zip(heard.positions.tolist(), heard.confidences.tolist(), strict=True)
            ):
                writer.writerow((name, round(frame / HEARD_FPS, 2), x, confidence))


def read_heard(path: Path) -> dict[str, Heard]:
    """Read localised speech by view name.

    Raises:
        FileNotFoundError: The table is missing.
        UserError: A row is wrong or out of order; the message names the line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected a table of localised speech, found no file {path}")
    views: dict[str, list[tuple[float, float]]] = {}
    with reading_table(path) as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if tuple(cell.strip() for cell in header) != HEADER:
            raise UserError(
                f"{path}: expected columns {', '.join(HEADER)}, found {', '.join(header)}"
            )
        for row in reader:
            try:
                name, time_s, x, confidence = row[0], *(float(cell) for cell in row[1:4])
                rows = views.setdefault(name, [])
                late = abs(time_s - len(rows) / HEARD_FPS) > 0.5 / HEARD_FPS
            except (ValueError, IndexError) as error:
                raise UserError(
                    f"{path}, line {reader.line_num}: expected a view, its time, x and confidence, "
                    f"found {','.join(row)}"
                ) from error
            if late:
                raise UserError(
                    f"{path}, line {reader.line_num}: expected frame {len(rows)} of {name} at "
                    f"{len(rows) / HEARD_FPS:.2f} s, found {time_s} s"
                )
            rows.append((x, confidence))
    tables = {name: np.array(rows, np.float32) for name, rows in views.items()}
    return {name: Heard(table[:, 0], table[:, 1]) for name, table in tables.items()}
