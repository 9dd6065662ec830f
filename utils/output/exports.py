"""Write results as tables for other programs: scores.csv, speech.rttm, speech.vtt."""

import csv
from html import escape
from pathlib import Path

import numpy as np

from utils.files import replacing
from utils.metrics import average_precision
from utils.output.results import Result
from utils.structures import FPS

# The official evaluation of AVA-ActiveSpeaker reads these columns and expects the label
# SPEAKING_AUDIBLE in every prediction.
COLUMNS = (*average_precision.COLUMNS, "score")


def video_id(result: Result) -> str:
    """Return the video's name without extension, each blank or control character as one `_`."""
    name = Path(result.video.path).stem
    plain = "".join(char if char.isprintable() and not char.isspace() else "_" for char in name)
    return plain or "video"


def write_scores_csv(result: Result, path: Path) -> None:
    """Write one row for each face and frame, in the columns of AVA-ActiveSpeaker predictions.

    The file has a header line, like the published label files. Boxes are clipped to the image and
    given as fractions of its size.
    """
    name = video_id(result)
    size = np.array([result.video.width, result.video.height] * 2, np.float64)
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for track in result.tracks:
            boxes = np.clip(track.boxes / size, 0.0, 1.0).tolist()
            rows = enumerate(zip(boxes, track.scores.tolist(), strict=True), start=track.start)
            table.writerows(
                (
                    name,
                    f"{index / FPS:.2f}",
                    *(f"{edge:.6f}" for edge in box),
                    "SPEAKING_AUDIBLE",
                    f"{name}:{track.id}",
                    f"{score:.4f}",
                )
                for index, (box, score) in rows
            )


def write_rttm(result: Result, path: Path) -> None:
    """Write one SPEAKER line for each segment of speech (RTTM, the format of diarisation tools)."""
    name = video_id(result)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for part in result.segments:
            duration_s = part.stop_s - part.start_s
            file.write(
                f"SPEAKER {name} 1 {part.start_s:.3f} {duration_s:.3f} "
                f"<NA> <NA> face_{part.track} <NA> <NA>\n"
            )


def write_vtt(result: Result, path: Path) -> None:
    """Write one subtitle for each segment of speech that names the face."""
    title = escape(video_id(result), quote=False)  # an arrow in it would end the header
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(f"WEBVTT - {title}\n")
        for part in result.segments:
            file.write(f"\n{_clock(part.start_s)} --> {_clock(part.stop_s)}\n")
            file.write(f"<v Face {part.track}>Face {part.track}\n")


def _clock(time_s: float) -> str:
    """Return a time in the format of WebVTT: hours, minutes, seconds and milliseconds."""
    seconds, milliseconds = divmod(round(time_s * 1000), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{milliseconds:03d}"
