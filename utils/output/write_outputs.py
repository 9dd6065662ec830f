"""Write the requested outputs of one analysed video into its folder."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.media.audio import Sound
from utils.media.container import ReadReport
from utils.media.video import VideoSpan
from utils.output.encoders import X264
from utils.output.exports import (
    write_people_csv,
    write_rttm,
    write_scores_csv,
    write_speech_csv,
    write_vtt,
)
from utils.output.official_tree import TreeContents, write_official_tree
from utils.output.render import Rendering
from utils.output.results import Result
from utils.output.thumbnails import write_thumbnails
from utils.output.timeline import write_timeline
from utils.progress import bar
from utils.structures import SAMPLES_PER_FRAME, Detections, Shot
from utils.tracking.crops import CropOptions

MARKED, PROXY = "video_out.mp4", "proxy.mp4"  # in the output folder
PEOPLE = "people"  # folder of thumbnails in it
FrameFaces = Sequence[tuple[int, Detections | None]]  # index and faces of each analysed frame


@dataclass(frozen=True)
class ImageOutputs:
    """Which outputs with images are written in addition to the tables."""

    video: bool = True
    official_tree: bool = False
    crops: CropOptions = CropOptions()
    per_track: bool = False  # speakers are tracks everywhere but in people.csv and the report
    encoder: str = X264  # of the marked video


def write_tables(result: Result, folder: Path, per_track: bool = False) -> None:
    """Write the tables and the timeline.

    Args:
        result: The result of the analysis.
        folder: Output folder of the video.
        per_track: Speakers are tracks, even if people were formed.
    """
    names = write_thumbnails(result.people, folder / PEOPLE)
    files = {person: f"{PEOPLE}/{name}" for person, name in names.items()}
    write_people_csv(result, folder / "people.csv", files)
    if per_track:
        result = result.without_people()
    write_scores_csv(result, folder / "scores.csv")
    write_speech_csv(result, folder / "speech.csv")
    write_rttm(result, folder / "speech.rttm")
    write_vtt(result, folder / "speech.vtt")
    write_timeline(result, folder / "timeline.png")


def write_images(
    result: Result,
    span: VideoSpan,
    folder: Path,
    outputs: ImageOutputs,
    faces: FrameFaces = (),
    proxy: bool = False,
) -> None:
    """Write the marked video, the proxy and the folders of the original demo, as requested.

    Args:
        result: The result of the analysis.
        span: The part of the video that was analysed.
        folder: Output folder of the video.
        outputs: What to write.
        faces: The faces of every frame; needed only for the folders of the original demo.
        proxy: Also write the video without boxes, so that browsers play it.
    """
    video, read = span.video, span.options
    length_s = read.duration_s or max(0.0, video.duration_s - read.start_s)
    name = video.path.name
    if outputs.video:
        tracks = span.from_start(result.tracks)
        with bar(f"{name}: marking the video", float(video.fps) * length_s, "frames") as move:
            labels = {} if outputs.per_track else _labels(result)
            marked = Rendering(video, read, labels, outputs.encoder)
            marked.write(tracks, folder / MARKED, _steps(move))
    if proxy:
        with bar(f"{name}: writing the proxy", float(video.fps) * length_s, "frames") as move:
            Rendering(video, read, encoder=outputs.encoder).write([], folder / PROXY, _steps(move))
    if outputs.official_tree and faces:
        indices = [index for index, _ in faces]
        contents = TreeContents(
            _without_gaps(result, indices),
            [detections for _, detections in faces],
            _audio_of(indices, span.open_sound()),
            indices[0],
        )
        with bar(f"{name}: writing the original demo's folders", len(faces), "frames") as move:
            images = _images(span, _steps(move))
            write_official_tree(folder, images, contents, outputs.crops.crop_scale)


def _labels(result: Result) -> dict[int, str]:
    """Return what tracks are called: by their people, if these were recognised or named."""
    people = [one for one in result.people if one.name or result.embedder]
    return {track: person.label for person in people for track in person.tracks}


def _audio_of(indices: Sequence[int], sound: Sound) -> NDArray[np.int16]:
    """Return the samples of some frames in order."""
    samples = SAMPLES_PER_FRAME
    return np.concatenate([sound.read(i * samples, (i + 1) * samples) for i in indices])


def _without_gaps(result: Result, indices: Sequence[int]) -> Result:
    """Return the result with frames numbered without gaps, as in the original demo."""
    places = {index: place for place, index in enumerate(indices, start=indices[0])}
    tracks = [replace(track, start=places[track.start]) for track in result.tracks]
    shots = [Shot(places[shot.start], places[shot.stop - 1] + 1) for shot in result.shots]
    return replace(result, tracks=tracks, shots=shots)


def _steps(move: Callable[[float], None]) -> Callable[[int], None]:
    """Return a hook that takes increments and passes on their sum."""
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        move(done)

    return add


def _images(span: VideoSpan, progress: Callable[[int], None]) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames in full size and colour."""
    for frame in span.read_frames(None, ReadReport()):
        yield frame.image
        progress(1)
