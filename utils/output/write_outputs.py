"""Write all that is wanted of one analysed video into its folder."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.media.audio import Sound
from utils.media.container import ReadOptions, VideoInfo
from utils.media.video import read_frames
from utils.output.exports import write_rttm, write_scores_csv, write_vtt
from utils.output.official_tree import TreeContents, write_official_tree
from utils.output.render import render_video
from utils.output.results import Result
from utils.output.timeline import write_timeline
from utils.progress import bar
from utils.structures import FPS, SAMPLE_RATE, Detections, Shot
from utils.tracking.crops import CropOptions

Seen = Sequence[tuple[int, Detections | None]]  # number of each frame analysed, and its faces


@dataclass(frozen=True)
class Wanted:
    """What is written beside the tables."""

    video: bool = True
    official_tree: bool = False
    crops: CropOptions = CropOptions()


def write_tables(result: Result, folder: Path) -> None:
    """Write result.json, the other tables and the timeline."""
    result.write_json(folder / "result.json")
    write_scores_csv(result, folder / "scores.csv")
    write_rttm(result, folder / "speech.rttm")
    write_vtt(result, folder / "speech.vtt")
    write_timeline(result, folder / "timeline.png")


def write_pictures(
    result: Result,
    video: VideoInfo,
    read: ReadOptions,
    folder: Path,
    wanted: Wanted,
    seen: Seen = (),
) -> None:
    """Write what takes long: the marked video, the published tree.

    Args:
        result: What was found.
        video: The source.
        read: The span that was analysed.
        folder: Where everything goes.
        wanted: What is written beside the tables.
        seen: Faces of every frame, needed for the published tree alone.
    """
    offset = round(read.start_s * FPS)
    length_s = read.duration_s or max(0.0, video.duration_s - read.start_s)
    name = video.path.name
    if wanted.video:
        tracks = [replace(track, start=track.start - offset) for track in result.tracks]
        with bar(f"{name}: marking the video", float(video.fps) * length_s, "frames") as move:
            render_video(video, tracks, folder / "video_out.mp4", read, progress=_steps(move))
    if wanted.official_tree and seen:
        indices = [index for index, _ in seen]
        sound = _sound_of(indices, offset, Sound(video, read))
        closed_up = _closed_up(result, indices)
        contents = TreeContents(closed_up, [faces for _, faces in seen], sound, indices[0])
        with bar(f"{name}: writing the published tree", len(seen), "frames") as move:
            pictures = _pictures(video, read, _steps(move))
            write_official_tree(folder, pictures, contents, wanted.crops.crop_scale)


def _sound_of(indices: Sequence[int], offset: int, sound: Sound) -> NDArray[np.int16]:
    """Return the sound of frames, one after the other, the span's first frame being `offset`."""
    samples = SAMPLE_RATE // FPS
    pieces = [
        sound.read((index - offset) * samples, (index - offset + 1) * samples) for index in indices
    ]
    return np.concatenate(pieces)


def _closed_up(result: Result, indices: Sequence[int]) -> Result:
    """Return a result whose frames follow each other: the published tree knows no gaps."""
    places = {index: place for place, index in enumerate(indices, start=indices[0])}
    tracks = [replace(track, start=places[track.start]) for track in result.tracks]
    shots = [Shot(places[shot.start], places[shot.stop - 1] + 1) for shot in result.shots]
    return replace(result, tracks=tracks, shots=shots)


def _steps(move: Callable[[float], None]) -> Callable[[int], None]:
    """Return a hook that is told how much was done since the last call."""
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        move(done)

    return add


def _pictures(
    video: VideoInfo, read: ReadOptions, progress: Callable[[int], None]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames in full size and colour."""
    for frame in read_frames(video, None, read):
        yield frame.picture
        progress(1)
