"""Generate labelled clips of talking portraits.

`python -m utils.datasets.synthetic.clips demo/001.mp4` generates the demo clip; with --seed, any
number of other clips. Speech is synthesised by espeak-ng, which must be installed.
"""

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from utils.datasets.synthetic.portraits import PORTRAITS, Portrait
from utils.datasets.synthetic.puppets import Pose, draw, face_box
from utils.datasets.synthetic.scripts import (
    DEMO,
    HEIGHT,
    OFF_SCREEN,
    OFF_SCREEN_GAIN,
    WIDTH,
    Script,
    ShotView,
    SpokenTurn,
    random_script,
    rehearse,
)
from utils.datasets.synthetic.voices import RATE, mouth_motion, speech_spans
from utils.files import replacing
from utils.structures import FPS

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SyntheticVideo:
    """A script with its speech and with a pose of every person in each frame."""

    script: Script
    spoken: list[SpokenTurn]
    starts: list[int]  # first frame of every view
    poses: dict[str, list[Pose]]  # by person; not positioned in the image yet
    num_frames: int

    def view(self, frame: int) -> ShotView:
        """Return the view of a frame."""
        index = sum(start <= frame for start in self.starts) - 1
        return self.script.views[index % len(self.script.views)]


def make_video(script: Script) -> SyntheticVideo:
    """Synthesise the speech of a script and compute all poses."""
    spoken, starts, num_frames = rehearse(script)
    generator = np.random.default_rng(script.seed)
    visible = sorted({name for view in script.views for name in view.positions})
    poses = {name: _move(name, spoken, num_frames, generator) for name in visible}
    return SyntheticVideo(script, spoken, starts, poses, num_frames)


def _mouth_curves(
    name: str, spoken: Sequence[SpokenTurn], num_frames: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the opening and the rounding of a person's mouth in every frame."""
    opening, rounding = np.zeros((2, num_frames), np.float32)
    for turn in (turn for turn in spoken if turn.person == name):
        first = int(turn.start_s * FPS)
        silence = np.zeros(round((turn.start_s - first / FPS) * RATE), np.float32)
        length = min(len(turn.waveform) * FPS // RATE + 3, num_frames - first)
        if length > 0:
            curves = mouth_motion(np.concatenate((silence, turn.waveform)), length)
            opening[first : first + length], rounding[first : first + length] = curves
    return opening, rounding


def _move(
    name: str, spoken: Sequence[SpokenTurn], num_frames: int, generator: np.random.Generator
) -> list[Pose]:
    """Return a person's pose in every frame, at (0, 0) and scale 1."""
    opening, rounding = _mouth_curves(name, spoken, num_frames)
    seconds = np.arange(num_frames) / FPS
    sway = np.zeros((3, num_frames))
    for direction in range(3):
        for rate in generator.uniform(0.05, 0.45, 3):
            wave = np.sin(2 * np.pi * (rate * seconds + generator.random()))
            sway[direction] += wave / (1 + 2 * rate)
    nod = np.convolve(np.pad(opening, 13), np.hanning(27) / np.hanning(27).sum(), "valid")
    lids = np.zeros(num_frames)
    blink = int(generator.integers(20, 70))
    while blink + 6 < num_frames:
        lids[blink : blink + 6] = (0.45, 1.0, 1.0, 0.8, 0.45, 0.15)
        blink += int(generator.integers(50, 130))
    return [
        Pose(
            0.0,
            0.0,
            1.0,
            turn=float(0.014 * sway[0, i] * (1 + nod[i])),
            shift=(float(1.5 * sway[1, i]), float(1.3 * sway[2, i] + 1.6 * nod[i])),
            opening=float(opening[i]),
            rounding=float(rounding[i]),
            lids=float(lids[i]),
        )
        for i in range(num_frames)
    ]


def _positioned(portrait: Portrait, pose: Pose, position: tuple[float, float, float]) -> Pose:
    """Return the pose at its position in the image; motion is proportional to the face's size."""
    size = (portrait.face[3] - portrait.face[1]) / 113
    x, y, scale = position
    return replace(pose, x=x, y=y, scale=scale, shift=(pose.shift[0] * size, pose.shift[1] * size))


def _wall(view: ShotView) -> NDArray[np.float32]:
    """Return the background (H, W, 3): a wall with a soft light."""
    rows, columns = np.indices((HEIGHT, WIDTH), dtype=np.float32)
    distance = np.hypot(columns / WIDTH - view.lamp[0], (rows / HEIGHT - view.lamp[1]) * 0.7)
    brightness = 0.42 + 0.58 * np.exp(-((distance / 0.55) ** 2))
    return np.asarray(brightness[..., None] * np.array(view.light, np.float32), np.float32)


def images(clip: SyntheticVideo) -> Iterator[NDArray[np.uint8]]:
    """Yield the RGB frames (H, W, 3) of a clip."""
    people = {name: PORTRAITS[name]() for name in clip.poses}
    view, wall = clip.view(0), _wall(clip.view(0))
    # Fixed noise hides banding of the smooth wall after compression.
    grain = np.random.default_rng(1).normal(0, 1.2, (HEIGHT, WIDTH, 1)).astype(np.float32)
    for frame in range(clip.num_frames):
        if clip.view(frame) is not view:
            view = clip.view(frame)
            wall = _wall(view)
        canvas = wall + grain
        for name, position in view.positions.items():
            pose = _positioned(people[name], clip.poses[name][frame], position)
            draw(canvas, people[name], pose)
        yield np.clip(canvas + 0.5, 0, 255).astype(np.uint8)


def soundtrack(clip: SyntheticVideo) -> NDArray[np.int16]:
    """Return the clip's audio, 44.1 kHz mono: the voices and faint room noise."""
    length = clip.num_frames * RATE // FPS
    noise = np.random.default_rng(clip.script.seed).normal(0, 6e-4, length)
    mixed = noise.astype(np.float32)
    for turn in clip.spoken:
        first = round(turn.start_s * RATE)
        voice = turn.waveform[: max(0, length - first)]
        gain = OFF_SCREEN_GAIN if turn.person == OFF_SCREEN else 1.0
        mixed[first : first + len(voice)] += gain * voice
    return np.asarray(np.clip(mixed, -1, 1) * 32767, np.int16)


def write_video(clip: SyntheticVideo, path: Path) -> None:
    """Write the clip as H.264 and AAC."""
    import av

    waveform = soundtrack(clip)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        video = container.add_stream("libx264", rate=FPS, options={"crf": "21", "preset": "medium"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.thread_count = 2  # the encoded bytes depend on it
        audio = container.add_stream("aac", rate=RATE, layout="mono")
        audio.bit_rate = 96_000
        per_frame = RATE // FPS
        for index, image in enumerate(images(clip)):
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            part = waveform[index * per_frame : (index + 1) * per_frame]
            samples = av.AudioFrame.from_ndarray(part[None], format="s16", layout="mono")
            samples.sample_rate, samples.pts = RATE, index * per_frame
            container.mux(audio.encode(samples))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def _spans(clip: SyntheticVideo) -> list[list[Any]]:
    """Return [start_s, stop_s, person] of all speech."""
    end_s = clip.num_frames / FPS
    spans = [
        [round(turn.start_s + start, 2), round(min(turn.start_s + stop, end_s), 2), turn.person]
        for turn in clip.spoken
        for start, stop in speech_spans(turn.waveform)
        if turn.start_s + start < end_s
    ]
    return sorted(spans, key=lambda span: float(span[0]))


def _faces(clip: SyntheticVideo, name: str) -> list[list[float]]:
    """Return [start_s, stop_s, x1, y1, x2, y2] of a face, second by second within each view."""
    portrait = PORTRAITS[name]()
    rows = []
    for start, end in zip(clip.starts, [*clip.starts[1:], clip.num_frames], strict=True):
        position = clip.view(start).positions.get(name)
        if position is None:
            continue
        for first in range(start, end, FPS):
            last = min(first + FPS, end)
            in_span = clip.poses[name][first:last]
            poses = [_positioned(portrait, pose, position) for pose in in_span]
            box = np.mean([face_box(portrait, pose) for pose in poses], axis=0)
            rows.append([first / FPS, last / FPS, *(round(float(edge)) for edge in box)])
    return rows


def labels(clip: SyntheticVideo, path: Path) -> dict[str, Any]:
    """Return the labels of faces and speech, with properties of the written video at `path`."""
    content = path.read_bytes()
    spans = _spans(clip)
    return {
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "source": {"script": "python -m utils.datasets.synthetic.clips", "seed": clip.script.seed},
        "licence": "portraits: public domain (NASA; US Navy); voices: made with espeak-ng",
        "duration": clip.num_frames / FPS,
        "video": {"width": WIDTH, "height": HEIGHT, "avg_frame_rate": f"{FPS}/1"},
        "audio": {"codec_name": "aac", "sample_rate": str(RATE), "channels": 1},
        "time_base": "seconds from the start; boxes x1,y1,x2,y2 in pixels, origin top left",
        "video_starts_at": 0.0,
        "cuts": [start / FPS for start in clip.starts[1:]],
        "persons": {
            name: {
                "description": PORTRAITS[name]().description,
                "faces_columns": ["t0", "t1", "x1", "y1", "x2", "y2"],
                "faces": _faces(clip, name),
            }
            for name in clip.poses
        },
        "speaking_columns": ["t0", "t1", "person", "confidence"],
        "speaking": [[*span, 1.0] for span in spans if span[2] != OFF_SCREEN],
        "unsure_columns": ["t0", "t1", "person (* = everyone)"],
        "unsure": [],
        "offscreen_voice": [[*span[:2], "nobody seen"] for span in spans if span[2] == OFF_SCREEN],
        "rule": "outside `speaking` a visible person does not speak",
        "method": "from the script: speech is where the made voice has energy",
        "text": [[round(turn.start_s, 2), turn.person, turn.text] for turn in clip.spoken],
    }


def make_clip(script: Script, path: Path) -> None:
    """Write a clip to `path`, and its labels to NAME.labels.json in the same folder."""
    clip = make_video(script)
    with replacing(path) as temporary:
        write_video(clip, temporary)
    record = labels(clip, path)
    with replacing(path.with_name(f"{path.stem}.labels.json")) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    logger.info("%s: %.1f s, %d kB", path, record["duration"], record["bytes"] // 1000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and generate one clip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="video to write; labels go to NAME.labels.json")
    parser.add_argument("--seed", type=int, help="generate a random clip instead of the demo's")
    parser.add_argument(
        "--persons", type=int, choices=(1, 2), default=2, help="number of persons; with --seed"
    )
    parser.add_argument("--turns", type=int, default=6, help="number of utterances; with --seed")
    parser.add_argument("--duration", type=float, help="seconds; default: until the speech ends")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    script = DEMO
    if options.seed is not None:
        script = random_script(options.seed, options.persons, options.turns, options.duration)
    elif options.duration is not None:
        script = replace(DEMO, duration_s=options.duration)
    make_clip(script, options.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
