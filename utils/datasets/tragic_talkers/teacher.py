"""Create training labels of an array from results of visual networks on its cameras' videos.

`python -m utils.datasets.tragic_talkers.teacher DATA RESULTS --teacher talknet --activity VAD`
reads RESULTS/VIEW/result.json of each view (written by demoTalkNet.py) and writes
DATA/csv/development_talknet_VAD.csv, a supervision condition for training.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from utils.arrays.sound import ArraySound
from utils.arrays.spectra import FPS as LABEL_FPS
from utils.arrays.spectra import RATE
from utils.arrays.speech_positions import num_frames
from utils.commands import ErrorReport, add_debug, exit_status
from utils.datasets.talkset.voice_activity import find_voice
from utils.datasets.tragic_talkers.labels import ViewLabels, frame_times, read_truth, write_labels
from utils.datasets.tragic_talkers.layout import CameraView, TragicTalkers
from utils.output.results import Result
from utils.structures import FPS

Activity = Literal["GT", "VAD"]
NOWHERE = 1.0  # position in frames without a speaker, as after the end of published labels
LEVEL_STEP = RATE // 100  # samples, 10 ms


def _ignore(*_: object) -> None:
    pass


def view_labels(result: Result, activity: NDArray[np.bool_] | None) -> ViewLabels:
    """Return the labels of a view from a visual network's result, at 30 frames/s.

    The speaker is the face with the highest score of at least 0; the position is the centre of its
    box.

    Args:
        result: Result of the view's video.
        activity: (T,) speech activity; None if the visual network decides.
    """
    count = num_frames(result.video.duration_s) if activity is None else len(activity)
    frames = np.floor(np.arange(count) * FPS / LABEL_FPS + 1e-9).astype(np.int64)
    best = np.full(count, -np.inf)
    positions = np.full(count, NOWHERE, np.float32)
    for track in result.tracks:
        rows = frames - track.start
        visible = np.flatnonzero((rows >= 0) & (rows < len(track.boxes)))
        better = visible[track.scores[rows[visible]] >= np.maximum(best[visible], 0.0)]
        centres = track.boxes[rows[better]][:, [0, 2]].mean(axis=1) / result.video.width
        best[better], positions[better] = track.scores[rows[better]], centres
    located = np.isfinite(best)
    speaking = located if activity is None else activity
    return ViewLabels(frame_times(count), positions, located, speaking)


def voice_activity(audio: ArraySound, count: int) -> NDArray[np.bool_]:
    """Return the voice activity in `count` frames, by the level of the first microphone."""
    levels = []
    for start in range(0, audio.num_samples - LEVEL_STEP + 1, RATE):
        stop = min(start + RATE, audio.num_samples)
        steps = audio.read(start, stop)[:, 0]
        steps = steps[: len(steps) // LEVEL_STEP * LEVEL_STEP].reshape(-1, LEVEL_STEP)
        levels.append(10 * np.log10(steps.var(axis=1) + 1e-10))
    voice = find_voice(np.concatenate([*levels, np.empty(0)]).astype(np.float32))
    moments = np.floor((np.arange(count) + 0.5) / LABEL_FPS * (RATE // LEVEL_STEP)).astype(int)
    inside = moments < len(voice)
    if not len(voice):
        return np.asarray(inside, np.bool_)
    return np.asarray(inside & voice[np.where(inside, moments, 0)], np.bool_)


def true_activity(layout: TragicTalkers, view: CameraView) -> NDArray[np.bool_]:
    """Return the speech activity of anybody in each frame of the ground truth."""
    return np.asarray(read_truth(layout.truth_path(view)).speaking.any(axis=0), np.bool_)


def read_results(folder: Path) -> dict[CameraView, Path]:
    """Return the result.json of each view that has one, in order.

    Raises:
        FileNotFoundError: No view has one.
    """
    paths = sorted(folder.glob("*-cam[0-9][0-9]/result.json"))
    if not paths:
        raise FileNotFoundError(
            f"expected {folder}/VIEW/result.json such as interactive4_t3-cam06/result.json, found "
            "none; run demoTalkNet.py on the videos of the views first"
        )
    return {CameraView.parse(path.parent.name): path for path in paths}


def write_teacher_labels(
    layout: TragicTalkers,
    results: Mapping[CameraView, Path],
    teacher: str,
    activity: Activity,
    progress: Callable[[int, int], None] = _ignore,
) -> Path:
    """Write a supervision condition from results of a visual network; return its path.

    Args:
        layout: Paths of the sequences' audio and ground truth.
        results: The result.json of each view.
        teacher: First half of the condition's name.
        activity: Source of speech activity: ground truth, or the level of the audio.
        progress: Called with the number of views done and in total.
    """
    opened: dict[tuple[str, int], ArraySound] = {}
    labels = {}
    for number, (view, path) in enumerate(sorted(results.items()), start=1):
        result = Result.read_json(path)
        if activity == "GT":
            speaking = true_activity(layout, view)
        else:
            key = view.sequence, view.rig
            audio = opened.get(key) or layout.audio("development", *key)
            opened[key] = audio
            speaking = voice_activity(audio, num_frames(audio.duration_s))
        labels[view] = view_labels(result, speaking)
        progress(number, len(results))
    target = layout.labels_path(f"{teacher}_{activity}")
    write_labels(labels, target)
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and create labels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("results", type=Path, help="folder with VIEW/result.json of each view")
    parser.add_argument("--teacher", default="talknet", help="first half of the condition's name")
    parser.add_argument("--activity", choices=("GT", "VAD"), default="VAD")
    add_debug(parser)
    options = parser.parse_args(arguments)

    def make_labels() -> None:
        layout = TragicTalkers(options.data)
        results = read_results(options.results)
        print(write_teacher_labels(layout, results, options.teacher, options.activity))

    return exit_status(make_labels, ErrorReport(debug=options.debug))


if __name__ == "__main__":
    sys.exit(main())
