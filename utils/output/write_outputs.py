"""Write the requested outputs of one analysed video into its folder."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.media.audio import Sound
from utils.media.container import ReadReport
from utils.media.video import VideoSpan
from utils.output.exports import write_people_csv, write_rttm, write_scores_csv, write_vtt
from utils.output.official_tree import TreeContents, write_official_tree
from utils.output.render import render_video
from utils.output.results import Result
from utils.output.thumbnails import write_thumbnails
from utils.output.timeline import write_timeline
from utils.progress import bar
from utils.structures import SAMPLES_PER_FRAME, Detections, Shot
from utils.tracking.crops import CropOptions

Seen = Sequence[tuple[int, Detections | None]]  # index and faces of each analysed frame


PEOPLE_FOLDER = "people"  # of thumbnails


@dataclass(frozen=True)
class Wanted:
    """What is written in addition to the tables."""

    video: bool = True
    official_tree: bool = False
    crops: CropOptions = CropOptions()
    per_track: bool = False  # faces are labelled by their tracks, even if people were formed


def write_tables(result: Result, folder: Path, per_track: bool = False) -> None:
    """Write result.json, the other tables and the timeline.

    Args:
        result: What was found.
        folder: Where everything goes.
        per_track: Speakers are tracks, even if people were formed.
    """
    result.write_json(folder / "result.json")
    write_scores_csv(result, folder / "scores.csv")
    write_rttm(result, folder / "speech.rttm", per_track)
    write_vtt(result, folder / "speech.vtt", per_track)
    if result.embedder is not None:
        names = write_thumbnails(result.people, folder / PEOPLE_FOLDER)
        files = {person: f"{PEOPLE_FOLDER}/{name}" for person, name in names.items()}
        write_people_csv(result, folder / "people.csv", files)
    write_timeline(result, folder / "timeline.png", per_track)


def summary(result: Result) -> str:
    """Return in a few words what was found."""
    if not result.tracks:
        return "no face found"
    parts = [part for part in result.segments if part.kind == "speech"]
    speech_s = sum(part.stop_s - part.start_s for part in parts)
    found = f"{len(result.tracks)} face tracks in {len(result.shots)} shots"
    if result.groups:
        speaking = sum(bool(person.segments) for person in result.people)
        found += f", {len(result.people)} people"
    else:
        speaking = len({part.track for part in parts})
    found += f", {speaking} of them speak, {speech_s:.1f} s in all"
    offscreen_s = sum(part.stop_s - part.start_s for part in result.offscreen)
    return found + (f"; {offscreen_s:.1f} s of speech off screen" if offscreen_s else "")


def write_images(
    result: Result, span: VideoSpan, folder: Path, wanted: Wanted, seen: Seen = ()
) -> None:
    """Write what takes long: the marked video and the published tree.

    Args:
        result: The result of the analysis.
        span: The part of the video that was analysed.
        folder: Where everything goes.
        wanted: What is written in addition to the tables.
        seen: The faces of every frame; needed only for the published tree.
    """
    video, read = span.video, span.options
    length_s = read.duration_s or max(0.0, video.duration_s - read.start_s)
    name = video.path.name
    if wanted.video:
        tracks = span.from_start(result.tracks)
        people = [] if wanted.per_track else result.people
        labels = {track: person.label for person in people for track in person.tracks}
        with bar(f"{name}: marking the video", float(video.fps) * length_s, "frames") as move:
            path = folder / "video_out.mp4"
            render_video(video, tracks, path, read, _steps(move), labels)
    if wanted.official_tree and seen:
        indices = [index for index, _ in seen]
        contents = TreeContents(
            _closed_up(result, indices),
            [faces for _, faces in seen],
            _sound_of(indices, span.open_sound()),
            indices[0],
        )
        with bar(f"{name}: writing the published tree", len(seen), "frames") as move:
            images = _images(span, _steps(move))
            write_official_tree(folder, images, contents, wanted.crops.crop_scale)


def _sound_of(indices: Sequence[int], sound: Sound) -> NDArray[np.int16]:
    """Return the samples of some frames in order."""
    samples = SAMPLES_PER_FRAME
    return np.concatenate([sound.read(i * samples, (i + 1) * samples) for i in indices])


def _closed_up(result: Result, indices: Sequence[int]) -> Result:
    """Return the result with its frames numbered without gaps, as the published tree needs them."""
    places = {index: place for place, index in enumerate(indices, start=indices[0])}
    tracks = [replace(track, start=places[track.start]) for track in result.tracks]
    shots = [Shot(places[shot.start], places[shot.stop - 1] + 1) for shot in result.shots]
    return replace(result, tracks=tracks, shots=shots)


def _steps(move: Callable[[float], None]) -> Callable[[int], None]:
    """Return a hook that takes how much was done since the last call, and passes on the sum."""
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        move(done)

    return add


def _images(span: VideoSpan, progress: Callable[[int], None]) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames in full size and colour."""
    for frame in span.read_frames(None, ReadReport()):
        yield frame.picture
        progress(1)
