"""Write results as tables for other programs.

scores.csv has the scores of each frame; speech.csv, speech.rttm and speech.vtt have the segments;
people.csv has the people.
"""

import csv
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

import numpy as np

from utils.files import replacing
from utils.metrics import average_precision
from utils.output.results import Result
from utils.structures import FPS, Segment

# The official evaluation of AVA-ActiveSpeaker reads these columns and expects the label
# SPEAKING_AUDIBLE in every prediction.
COLUMNS = (*average_precision.COLUMNS, "score")
SPEECH_COLUMNS = ("speaker", "start_s", "stop_s", "duration_s", "person", "track", "score")
PEOPLE_COLUMNS = (
    *("person", "name", "similarity", "uncertain", "speaking_s", "turns", "first_s", "last_s"),
    *("tracks", "thumbnail"),
)
TURN_PAUSE_S = 1.0  # a longer pause of a person ends their turn


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


def write_speech_csv(result: Result, path: Path) -> None:
    """Write one row for each segment of speech; what a segment does not have is empty."""
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(SPEECH_COLUMNS)
        table.writerows(
            (
                speaker(result, part),
                f"{part.start_s:.3f}",
                f"{part.stop_s:.3f}",
                f"{part.stop_s - part.start_s:.3f}",
                part.person,
                part.track,
                None if part.score is None else f"{part.score:.4f}",
            )
            for part in result.segments
        )


def write_people_csv(result: Result, path: Path, thumbnails: Mapping[int, str]) -> None:
    """Write one row for each person, in order of first appearance.

    Args:
        result: The result of the analysis.
        path: The file to write.
        thumbnails: File name of each person's thumbnail.
    """
    tracks = {track.id: track for track in result.tracks}
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(PEOPLE_COLUMNS)
        for person in result.people:
            own = [tracks[number] for number in person.tracks]
            table.writerow(
                (
                    person.id,
                    person.name,
                    None if person.similarity is None else f"{person.similarity:.3f}",
                    int(person.uncertain),
                    f"{person.speaking_s:.2f}",
                    _num_turns(part for part in result.segments if part.person == person.id),
                    f"{min(track.start for track in own) / FPS:.2f}",
                    f"{max(track.stop for track in own) / FPS:.2f}",
                    " ".join(map(str, person.tracks)),
                    thumbnails.get(person.id),
                )
            )


def _num_turns(segments: Iterable[Segment]) -> int:
    """Return how often a person takes the floor; pauses of up to a second do not end a turn."""
    turns, stop_s = 0, float("-inf")
    for part in segments:
        turns += part.start_s - stop_s > TURN_PAUSE_S
        stop_s = max(stop_s, part.stop_s)
    return turns


def write_rttm(result: Result, path: Path) -> None:
    """Write one SPEAKER line for each segment of speech (RTTM, the format of diarisation tools)."""
    name = video_id(result)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for part in result.segments:
            duration_s = part.stop_s - part.start_s
            file.write(
                f"SPEAKER {name} 1 {part.start_s:.3f} {duration_s:.3f} "
                f"<NA> <NA> {_rttm_speaker(result, part)} <NA> <NA>\n"
            )


def write_vtt(result: Result, path: Path) -> None:
    """Write one subtitle for each segment of speech that names the speaker."""
    title = escape(video_id(result), quote=False)  # an arrow in it would end the header
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(f"WEBVTT - {title}\n")
        for part in result.segments:
            name = escape(speaker(result, part), quote=False)
            file.write(f"\n{_clock(part.start_s)} --> {_clock(part.stop_s)}\n")
            file.write(f"<v {name}>{name}\n")


def speaker(result: Result, segment: Segment) -> str:
    """Return the speaker of a segment for reading: the person's name, else a number."""
    if segment.kind == "offscreen":
        return "Off-screen"
    if segment.person is None:
        return f"Face {segment.track}"
    names = {person.id: person.name for person in result.people}
    word = "Face" if result.embedder is None else "Person"
    return names.get(segment.person) or f"{word} {segment.person}"


def _rttm_speaker(result: Result, segment: Segment) -> str:
    """Return the speaker as one word."""
    named = any(person.name for person in result.people if person.id == segment.person)
    name = "_".join(speaker(result, segment).split())
    if named:
        return name
    return "offscreen" if segment.kind == "offscreen" else name.lower()


def _clock(time_s: float) -> str:
    """Return a time in the format of WebVTT: hours, minutes, seconds and milliseconds."""
    seconds, milliseconds = divmod(round(time_s * 1000), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{milliseconds:03d}"
