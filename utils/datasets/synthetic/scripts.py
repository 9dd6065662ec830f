"""Scripts of generated clips: utterances, their times, and views."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from utils.datasets.synthetic.portraits import PORTRAITS
from utils.datasets.synthetic.voices import RATE, Voice, speak
from utils.structures import FPS

WIDTH, HEIGHT = 1280, 720
OFF_SCREEN = "off_screen"
OFF_SCREEN_GAIN = 0.6
VOICES = {
    "collins": Voice("en-us+f3", 55, 158),
    "hopper": Voice("en-gb+f5", 38, 150),
    OFF_SCREEN: Voice("en-us+m3", 40, 160),
}
SENTENCES = (
    "The first program was a table of numbers on a roll of paper.",
    "Did you hear the weather report this morning?",
    "I would rather ask for forgiveness than for permission.",
    "We were above the clouds before anyone had finished counting.",
    "No, I do not think so.",
    "A nanosecond is about this long, if you make it out of wire.",
    "Well, that depends on what you want to measure.",
    "Please read the list again, slowly, from the beginning.",
    "Somebody left the window open, and all the papers are gone.",
    "Yes. Exactly.",
    "It took us eleven days, four engines, and a lot of patience.",
    "The moth was still in the relay when we opened the panel.",
)


@dataclass(frozen=True)
class SpeakingTurn:
    """An utterance of a person."""

    person: str  # name of a portrait, or OFF_SCREEN
    text: str
    pause_s: float  # after the previous turn; negative for an overlap


@dataclass(frozen=True)
class ShotView:
    """People and light of a shot."""

    positions: Mapping[str, tuple[float, float, float]]  # by name: x, y of the face, scale
    light: tuple[int, int, int]  # RGB of the wall at the lamp
    lamp: tuple[float, float]  # position as fractions of the image's sides


@dataclass(frozen=True)
class Script:
    """Contents of a clip."""

    turns: tuple[SpeakingTurn, ...]
    views: tuple[ShotView, ...]
    cuts: tuple[int, ...]  # indices of the turns before which the next view begins
    seed: int = 0  # of head motion and blinks
    duration_s: float | None = None  # None: until shortly after the last utterance


BOTH = {"collins": (392.0, 325.0, 1.85), "hopper": (1008.0, 345.0, 1.1)}
DEMO = Script(
    turns=(
        SpeakingTurn(
            "collins", "Hello! I sit on the left, and right now, I am the one who speaks.", 1.0
        ),
        SpeakingTurn(
            "hopper", "And now it is my turn. My lips move with my voice, and yours rest.", 0.5
        ),
        SpeakingTurn("collins", "We can also speak both at the same time, like this,", 0.45),
        SpeakingTurn("hopper", "and then both of us are marked, of course.", -1.5),
        SpeakingTurn(OFF_SCREEN, "I am behind the camera. Nobody whom you see is speaking.", 1.7),
        SpeakingTurn(
            "hopper", "After a cut everything begins anew, and I am found once more.", 1.1
        ),
    ),
    views=(
        ShotView(BOTH, (176, 186, 200), (0.5, 0.3)),
        ShotView({"hopper": (600.0, 370.0, 1.62)}, (196, 178, 150), (0.7, 0.25)),
    ),
    cuts=(5,),
)


def random_script(seed: int, persons: int, num_turns: int, duration_s: float | None) -> Script:
    """Return a random script; the seed determines it."""
    generator = np.random.default_rng(seed)
    names = [str(name) for name in generator.permutation(list(PORTRAITS))[:persons]]
    speakers = [*names, OFF_SCREEN] if num_turns > 2 else names
    weights = np.array([1.0] * len(names) + [0.4] * (len(speakers) - len(names)))
    turns = tuple(
        SpeakingTurn(
            str(generator.choice(speakers, p=weights / weights.sum())),
            str(generator.choice(SENTENCES)),
            float(generator.uniform(-0.6 if index else 0.4, 1.4)),
        )
        for index in range(num_turns)
    )
    views = tuple(_random_view(generator, names) for _ in range(2))
    cuts = (int(generator.integers(1, num_turns)),) if num_turns > 1 else ()
    return Script(turns, views, cuts, seed, duration_s)


def _random_view(generator: np.random.Generator, names: Sequence[str]) -> ShotView:
    """Return a view of all or one of `names`, near their default positions."""
    visible = names if generator.random() < 0.6 else [str(generator.choice(list(names)))]
    positions = {}
    for name in visible:
        x, y, scale = BOTH[name]
        zoom = float(
            generator.uniform(0.9, 1.05) if len(visible) > 1 else generator.uniform(1.0, 1.5)
        )
        x = x if len(visible) > 1 else WIDTH / 2
        positions[name] = (x + float(generator.uniform(-20, 10)), y + 20 * zoom, scale * zoom)
    red, green, blue = (int(level) for level in generator.integers(120, 215, 3))
    return ShotView(positions, (red, green, blue), (float(generator.uniform(0.2, 0.8)), 0.3))


@dataclass(frozen=True)
class SpokenTurn:
    """A turn of the script with its speech and start in the clip."""

    person: str
    text: str
    start_s: float
    waveform: NDArray[np.float32]  # (N,) at 44.1 kHz

    @property
    def stop_s(self) -> float:
        """End of the speech."""
        return self.start_s + len(self.waveform) / RATE


def rehearse(script: Script) -> tuple[list[SpokenTurn], list[int], int]:
    """Return the turns with speech, the first frame of every view, and the number of frames."""
    spoken: list[SpokenTurn] = []
    clock_s = 0.0
    for turn in script.turns:
        start_s = max(0.0, clock_s + turn.pause_s)
        waveform = speak(turn.text, VOICES[turn.person])
        spoken.append(SpokenTurn(turn.person, turn.text, start_s, waveform))
        clock_s = max(clock_s, spoken[-1].stop_s)
    starts = [0]
    for index in script.cuts:
        turn_s = spoken[index].start_s
        starts.append(max(starts[-1] + 1, round((turn_s - min(0.5, abs(turn_s) / 2)) * FPS)))
    length_s = clock_s + 0.7 if script.duration_s is None else script.duration_s
    num_frames = round(length_s * FPS)
    return spoken, [start for start in starts if start < num_frames], num_frames
