"""Write what was found as tables that other programs read: CSV, RTTM and WebVTT."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from utils.files import replacing
from utils.metrics import average_precision
from utils.output.results import Result
from utils.output.speech import num_turns
from utils.structures import FPS, Segment

# The official evaluation of AVA-ActiveSpeaker reads these columns, and every prediction as one of
# SPEAKING_AUDIBLE with a score.
COLUMNS = (*average_precision.COLUMNS, "score")
PEOPLE_COLUMNS = (
    *("person", "name", "similarity", "uncertain", "talk_time_s", "turns", "first_s", "last_s"),
    *("tracks", "thumbnail"),
)


def video_id(result: Result) -> str:
    """Return the video's name without extension, each blank or control character as one `_`."""
    return _one_word(Path(result.video.path).stem) or "video"


def write_scores_csv(result: Result, path: Path) -> None:
    """Write one row for each face and frame, in the columns of AVA-ActiveSpeaker predictions.

    With a header line, as the published label files have; boxes are cut to the picture and
    relative to its size.
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


def write_rttm(result: Result, path: Path, per_track: bool = False) -> None:
    """Write one SPEAKER line for each segment of speech, as diarisation tools read them.

    Args:
        result: What was found.
        path: The file to write.
        per_track: One speaker for each track, even if people were formed; without speech off
            screen.
    """
    name = video_id(result)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for speaker, part in _speech(result, per_track):
            duration_s = part.stop_s - part.start_s
            file.write(
                f"SPEAKER {name} 1 {part.start_s:.3f} {duration_s:.3f} "
                f"<NA> <NA> {speaker.code} <NA> <NA>\n"
            )


def write_vtt(result: Result, path: Path, per_track: bool = False) -> None:
    """Write one subtitle for each segment of speech that names the speaker; see `write_rttm`."""
    title = escape(video_id(result), quote=False)  # an arrow in it would end the header
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(f"WEBVTT - {title}\n")
        for speaker, part in _speech(result, per_track):
            label = escape(speaker.label, quote=False)
            file.write(f"\n{_clock(part.start_s)} --> {_clock(part.stop_s)}\n")
            file.write(f"<v {label}>{label}\n")


def write_people_csv(result: Result, path: Path, thumbnails: Mapping[int, str]) -> None:
    """Write one row for each person, in order of first appearance.

    Args:
        result: What was found.
        path: The file to write.
        thumbnails: File name of each person's thumbnail, as the table shows it.
    """
    places = {track.id: track for track in result.tracks}
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(PEOPLE_COLUMNS)
        for person in result.people:
            tracks = [places[number] for number in person.tracks]
            table.writerow(
                (
                    person.id,
                    person.name,
                    None if person.similarity is None else f"{person.similarity:.3f}",
                    int(person.uncertain),
                    f"{person.speaking_s:.2f}",
                    num_turns(person.segments),
                    f"{min(track.start for track in tracks) / FPS:.2f}",
                    f"{max(track.stop for track in tracks) / FPS:.2f}",
                    " ".join(map(str, person.tracks)),
                    thumbnails.get(person.id),
                )
            )


@dataclass(frozen=True)
class _Speaker:
    """How tables name a speaker."""

    code: str  # one word
    label: str  # for people


def _speech(result: Result, per_track: bool) -> list[tuple[_Speaker, Segment]]:
    """Return who speaks when, in order of time."""
    found: list[tuple[_Speaker, Segment]] = []
    if per_track or not result.groups:
        for part in result.segments:
            if part.kind == "speech":
                found.append((_Speaker(f"face_{part.track}", f"Face {part.track}"), part))
    for person in () if per_track else result.people:
        code = _one_word(person.name) if person.name else f"person_{person.id}"
        speaker = _Speaker(code, person.name or f"Person {person.id}")
        found += [(speaker, part) for part in person.segments]
    if not per_track:
        found += [(_Speaker("offscreen", "Off screen"), part) for part in result.offscreen]
    return sorted(found, key=lambda one: one[1].start_s)


def _one_word(text: str) -> str:
    """Return a text with each blank or control character as one `_`."""
    return "".join(char if char.isprintable() and not char.isspace() else "_" for char in text)


def _clock(time_s: float) -> str:
    """Return hours, minutes, seconds and milliseconds as WebVTT wants them."""
    seconds, milliseconds = divmod(round(time_s * 1000), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{milliseconds:03d}"
