"""Generate sequences of a person who walks and talks in front of an array of 16 microphones.

`python -m utils.datasets.tragic_talkers.synthetic_scene FOLDER` writes them in the layout of
TragicTalkers, with ground truth for the array's eleven cameras. Speech is synthesised by espeak-ng
if installed, else replaced by bursts of noise.
"""

import argparse
import shutil
import sys
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from utils.arrays.geometry import ArrayGeometry, Camera, write_geometry
from utils.arrays.spectra import FPS, RATE
from utils.commands import print_any_text
from utils.datasets.synthetic.scripts import SENTENCES
from utils.datasets.synthetic.voices import RATE as VOICE_RATE
from utils.datasets.synthetic.voices import Voice, speak, speech_spans
from utils.datasets.tragic_talkers.labels import (
    ViewTruth,
    labels_of_truth,
    write_labels,
    write_truth,
)
from utils.datasets.tragic_talkers.layout import (
    CAMERAS_PER_RIG,
    RIGS,
    CameraView,
    Split,
    TragicTalkers,
)
from utils.datasets.tragic_talkers.synthetic_room import Room, simulate_room
from utils.errors import UserError
from utils.files import replacing
from utils.metrics.localisation import WIDTH

CONDITION = "GT_GT"
VARIANTS = ("en-us+f3", "en-gb+f5", "en-us+m3", "en-gb+m1", "en-us+f1", "en-gb+m7")
PAUSES_S = (0.4, 1.6)
BURSTS_S = (0.5, 2.5)
STEPS_S = (1.0, 3.0)  # time between two targets of the walk
ACROSS = (0.12, 0.88)  # range of positions in the middle camera's view
DISTANCES = (1.6, 3.6)  # m
PEAK = 0.5  # of all microphones' samples
NOISE_DB = -35.0  # noise of each microphone, relative to the speech


@dataclass(frozen=True)
class SceneOptions:
    """Properties of generated sequences."""

    seconds: Annotated[int, "length of each sequence, s"] = 30
    voices: Annotated[
        Literal["auto", "speech", "noise"], "auto: speech if espeak-ng is installed"
    ] = "auto"
    room: Annotated[Room, "the simulated room"] = Room()

    def __post_init__(self) -> None:
        if self.seconds < 2:
            raise UserError(f"--seconds must be at least 2, a chunk, got {self.seconds}")

    @property
    def with_speech(self) -> bool:
        """Whether sequences have speech rather than noise."""
        return self.voices == "speech" or (
            self.voices == "auto" and shutil.which("espeak-ng") is not None
        )


@dataclass(frozen=True, eq=False)
class Scene:
    """A generated sequence."""

    signals: NDArray[np.float64]  # (N, 16) of the microphones
    path: NDArray[np.float64]  # (T, 3) m, position of the mouth in each frame
    speaking: NDArray[np.bool_]  # (T,)


def synthetic_rig() -> ArrayGeometry:
    """Return the array of generated scenes: 16 microphones within 42 cm, eleven cameras above."""
    across = 0.21 * np.array(
        [
            -1,
            -0.86,
            -0.7,
            -0.57,
            -0.43,
            -0.31,
            -0.2,
            -0.07,
            0.07,
            0.2,
            0.31,
            0.43,
            0.57,
            0.7,
            0.86,
            1,
        ]
    )
    microphones = np.stack((across, np.zeros(16), np.zeros(16)), axis=1)
    middle = CAMERAS_PER_RIG // 2
    cameras = tuple(
        Camera(f"cam{number + 1:02d}", (0.03 * (number - middle), 0.0, 0.1), middle - number)
        for number in range(CAMERAS_PER_RIG)
    )
    return ArrayGeometry(microphones, cameras)


def make_scene(geometry: ArrayGeometry, options: SceneOptions, seed: int) -> Scene:
    """Return a random sequence; the seed determines it."""
    generator = np.random.default_rng(seed)
    waveform, speaking = _voice(options, generator)
    path = _walk(geometry.cameras[len(geometry.cameras) // 2], options.seconds, generator)
    signals = simulate_room(waveform, path, geometry.microphones, options.room)
    speech = signals[np.repeat(speaking, RATE // FPS)]
    level = np.sqrt((speech**2).mean()) if len(speech) else 0.0
    signals += generator.normal(0, level * 10 ** (NOISE_DB / 20) + 1e-6, signals.shape)
    return Scene(signals * (PEAK / np.abs(signals).max()), path, speaking)


def _voice(
    options: SceneOptions, generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the waveform of the voice, and whether it is active in each frame."""
    total = options.seconds * RATE
    waveform = np.zeros(total)
    speaking = np.zeros(options.seconds * FPS, np.bool_)
    variant = VARIANTS[generator.integers(len(VARIANTS))]
    voice = Voice(variant, int(generator.integers(30, 60)), int(generator.integers(140, 175)))
    start = round(generator.uniform(0, PAUSES_S[1]) * RATE)
    while start < total:
        part, spans = _words(voice, generator) if options.with_speech else _burst(generator)
        part = part[: total - start]
        waveform[start : start + len(part)] = part
        for begin_s, end_s in spans:
            first, last = (round((start / RATE + at_s) * FPS) for at_s in (begin_s, end_s))
            speaking[first:last] = True
        start += len(part) + round(generator.uniform(*PAUSES_S) * RATE)
    return waveform, speaking


def _words(
    voice: Voice, generator: np.random.Generator
) -> tuple[NDArray[np.float64], list[tuple[float, float]]]:
    """Return the waveform of a sentence and its spans of speech, s."""
    from scipy.signal import resample_poly

    speech = speak(SENTENCES[generator.integers(len(SENTENCES))], voice)
    common = np.gcd(RATE, VOICE_RATE)
    return resample_poly(speech, RATE // common, VOICE_RATE // common), speech_spans(speech)


def _burst(generator: np.random.Generator) -> tuple[NDArray[np.float64], list[tuple[float, float]]]:
    """Return low-pass noise, modulated at the rate of syllables, and its span, s."""
    from scipy.signal import lfilter

    length_s = generator.uniform(*BURSTS_S)
    times = np.arange(round(length_s * RATE)) / RATE
    noise = lfilter([1.0], [1.0, -0.9], generator.normal(0, 0.05, len(times)))
    syllables = 0.6 + 0.4 * np.sin(2 * np.pi * generator.uniform(3, 5) * times)
    return np.asarray(noise * syllables), [(0.0, length_s)]


def _walk(camera: Camera, seconds: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return the position in each frame, (T, 3) m: straight lines between random targets."""
    moments, targets = [0.0], []
    while moments[-1] < seconds:
        moments.append(moments[-1] + generator.uniform(*STEPS_S))
    for _ in moments:
        distance = generator.uniform(*DISTANCES)
        targets.append(camera.point(np.array(generator.uniform(*ACROSS)), distance))
    times = np.arange(seconds * FPS) / FPS
    return np.stack([np.interp(times, moments, [p[axis] for p in targets]) for axis in range(3)], 1)


def write_scene(root: Path, split: Split, name: str, scene: Scene, geometry: ArrayGeometry) -> None:
    """Write a sequence as recorded by the first rig, and the ground truth of its eleven views."""
    layout = TragicTalkers(root)
    folder = layout.audio_folder(split, name)
    for number, samples in zip(RIGS[1], scene.signals.T, strict=True):
        _write_wav(folder / f"{number:02d}_made.wav", samples)
    for number, camera in enumerate(geometry.cameras, start=1):
        across = camera.place(scene.path) * WIDTH
        truth = ViewTruth(across[None], scene.speaking[None])
        write_truth(truth, layout.truth_path(CameraView(name, number)))


def _write_wav(path: Path, samples: NDArray[np.float64]) -> None:
    with replacing(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())


@dataclass(frozen=True)
class SequencePlan:
    """A sequence to generate."""

    name: str
    split: Split
    options: SceneOptions
    seed: int


def plan(
    prefix: str, num_train: int, num_test: int, options: SceneOptions, seed: int = 0
) -> list[SequencePlan]:
    """Return sequences of one kind, first those for training, each with its own seed."""
    return [
        SequencePlan(
            f"{prefix}{number + 1}",
            "development" if number < num_train else "test",
            options,
            seed + number,
        )
        for number in range(num_train + num_test)
    ]


def make_data(root: Path, plans: Sequence[SequencePlan]) -> ArrayGeometry:
    """Write sequences, training labels and the array's geometry; return the geometry.

    Args:
        root: Target folder, with the layout of the published `data`.
        plans: The sequences.
    """
    geometry = synthetic_rig()
    (root / "TragicTalkers").mkdir(parents=True, exist_ok=True)
    labels = {}
    for sequence in plans:
        scene = make_scene(geometry, sequence.options, sequence.seed)
        write_scene(root, sequence.split, sequence.name, scene, geometry)
        for number, camera in enumerate(geometry.cameras, start=1):
            truth = ViewTruth(camera.place(scene.path)[None], scene.speaking[None])
            if sequence.split == "development":
                labels[CameraView(sequence.name, number)] = labels_of_truth(truth, 1.0)
    write_labels(labels, TragicTalkers(root).labels_path(CONDITION))
    write_geometry(geometry, root / "geometry.json")
    return geometry


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and generate sequences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="target folder")
    parser.add_argument("--train", type=int, default=6, help="number of training sequences")
    parser.add_argument("--test", type=int, default=2, help="number of test sequences")
    parser.add_argument("--seconds", type=int, default=30, help="length of each sequence, s")
    parser.add_argument("--voices", choices=("auto", "speech", "noise"), default="auto")
    parser.add_argument("--echoes", type=int, default=0, help="maximum number of reflections")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    scenes = SceneOptions(options.seconds, options.voices, Room(options.echoes))
    plans = plan("walk", options.train, options.test, scenes, options.seed)
    make_data(options.folder, plans)
    print_any_text()
    print(f"{options.train + options.test} sequences of {options.seconds} s in {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
