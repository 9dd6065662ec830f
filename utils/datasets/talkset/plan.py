"""Choose the clips of a TalkSet from its sources."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from utils.datasets.talkset.lists import (
    F_AUDIO,
    F_SILENCE,
    MAX_S,
    T_AUDIO,
    T_SILENCE,
    TF_AUDIO,
    TalkClip,
    change,
    clip_to,
    make_clip,
)
from utils.datasets.talkset.sources import SourceFace
from utils.datasets.talkset.voice_activity import STEPS_PER_S, find_runs
from utils.structures import FPS, STEPS_PER_FRAME

MIN_S = 1.0  # shorter clips are not used, as in the published loader
MIN_SILENCE = 20  # steps; a shorter silence beside speech is not used for TSilence
PART_S = 3.0  # maximum length of speech, and of silence, in TSilence
STILL_SHARE = 0.6  # share of a silence in which the mouth must be still
ATTEMPTS = 200  # to draw a new clip
BRIDGED = 8  # frames; shorter motions do not end a silence

Item = TypeVar("Item")
Range = tuple[int, int]
People = list[tuple[str, list[SourceFace]]]  # name and sources of each person


@dataclass(frozen=True)
class SourceWindow:
    """Frames [start, stop) of a source."""

    source: SourceFace
    start: int
    stop: int

    @property
    def length_s(self) -> float:
        """Duration."""
        return (self.stop - self.start) / FPS

    @property
    def name(self) -> str:
        """Name in a list."""
        return f"{self.source.name}@{self.start / FPS:.2f}"


def split_people(
    sources: Sequence[SourceFace], share: float, generator: np.random.Generator
) -> set[str]:
    """Return the held-out persons: about `share` of the speech, and at least two talkers.

    Persons who occur in the same video are kept together. With two or three talkers, one is held
    out; with fewer, none is required.
    """
    groups = _groups({source.person for source in sources})
    talk: dict[str, float] = defaultdict(float)
    for source in sources:
        if source.talks:
            talk[groups[source.person]] += source.num_frames
    names = sorted(set(groups.values()))
    order = [names[int(i)] for i in generator.permutation(len(names))]
    target = share * sum(talk.values())
    min_talkers = min(2, max(0, len(talk) // 2)) if share > 0 else 0
    held_out: set[str] = set()
    num_talkers, num_frames = 0, 0.0
    for name in sorted(order, key=lambda group: talk[group] > 2 * target):
        enough = num_frames >= target and num_talkers >= min_talkers
        if share > 0 and not enough and len(held_out) + 1 < len(names):
            held_out.add(name)
            num_frames += talk[name]
            num_talkers += talk[name] > 0
    return {person for person, group in groups.items() if group in held_out}


def _groups(people: set[str]) -> dict[str, str]:
    """Return the group of each name; a name may be several separated by semicolons."""
    group: dict[str, str] = {}

    def find(name: str) -> str:
        while group.setdefault(name, name) != name:
            group[name] = name = group[group[name]]  # path halving of a union-find
        return name

    for person in sorted(people):
        first, *others = person.split(";")
        for other in others:
            group[find(other)] = find(first)
    return {person: find(person.split(";")[0]) for person in people}


class ClipPlanner:
    """Draws clips from the sources of one split: first a person, then one of their sources."""

    def __init__(self, sources: Sequence[SourceFace], generator: np.random.Generator) -> None:
        self._generator = generator
        talkers = [source for source in sources if source.talks]
        self._talkers = _by_person(talkers)
        self._faces = _by_person(sources)
        self._pauses = _by_person([source for source in talkers if any(_pauses(source))])
        self._still = _by_person([source for source in sources if any(_still_windows(source))])
        self._seen: set[tuple[str, str, str]] = set()

    def clips(self, kind: str, count: int) -> list[TalkClip]:
        """Return `count` different clips of a kind, or fewer if no more are found."""
        draw: dict[str, Callable[[], TalkClip | None]] = {
            T_AUDIO: self._together,
            F_AUDIO: self._foreign,
            TF_AUDIO: self._partly_foreign,
            T_SILENCE: self._with_silence,
            F_SILENCE: self._silent,
        }
        found = []
        for _ in range(count):
            for _ in range(ATTEMPTS):
                clip = draw[kind]()
                if clip and clip.length_s >= MIN_S and self._is_new(clip):
                    found.append(clip)
                    break
            else:
                break
        return found

    def _is_new(self, clip: TalkClip) -> bool:
        key = (clip.kind, clip.audio.rpartition("@")[0], clip.video)
        new = key not in self._seen
        self._seen.add(key)
        return new

    def _together(self) -> TalkClip | None:
        """Draw a voice and its face."""
        window = self._speech(self._talkers)
        return make_clip(T_AUDIO, window.name, window.name, window.length_s) if window else None

    def _foreign(self) -> TalkClip | None:
        """Draw a face, usually talking, and another person's voice."""
        source = self._draw(self._faces)
        if source is None:
            return None
        whole = self._within(source, 0, source.num_frames)
        window = self._speech_window(source) if source.talks else whole
        return self._joined(F_AUDIO, window) if window else None

    def _partly_foreign(self) -> TalkClip | None:
        """Draw a voice and its face; a part gets another person's voice."""
        window = self._speech(self._talkers)
        return self._joined(TF_AUDIO, window) if window else None

    def _with_silence(self) -> TalkClip | None:
        """Draw speech, and silence of the same face before or after it."""
        source = self._draw(self._pauses)
        if source is None:
            return None
        (t0, t1), (f0, f1) = self._pick(list(_pauses(source)))
        first, last = min(t0, f0), max(t1, f1)
        start = -(-first // STEPS_PER_FRAME)
        window = SourceWindow(source, start, last // STEPS_PER_FRAME)
        base, length_s = start * STEPS_PER_FRAME, window.length_s
        t, f = (
            (max(0, a - base) / STEPS_PER_S, (b - base) / STEPS_PER_S)
            for a, b in ((t0, t1), (f0, f1))
        )
        clip = TalkClip(T_SILENCE, window.name, window.name, length_s, t, f)
        return clip_to(clip, min(MAX_S, length_s))

    def _silent(self) -> TalkClip | None:
        """Draw a still face; a part gets another person's voice."""
        source = self._draw(self._still)
        if source is None:
            return None
        start, stop = self._pick(list(_still_windows(source)))
        return self._joined(F_SILENCE, self._within(source, start, stop))

    def _joined(self, kind: str, window: SourceWindow) -> TalkClip | None:
        """Add another person's voice; if there is none, the same person's from another video."""
        for _ in range(ATTEMPTS):
            voice = self._speech(self._talkers)
            if voice is None:
                return None
            other = voice.source.person != window.source.person
            alone = len(self._talkers) == 1 and voice.source.video != window.source.video
            length_s = min(window.length_s, voice.length_s)
            if (other or alone) and length_s >= MIN_S:
                if kind == F_AUDIO:
                    return make_clip(kind, voice.name, window.name, length_s)
                return change(kind, voice.name, window.name, length_s, self._generator)
        return None

    def _speech(self, people: People) -> SourceWindow | None:
        """Draw a window that begins and ends with speech."""
        source = self._draw(people)
        return self._speech_window(source) if source else None

    def _speech_window(self, source: SourceFace) -> SourceWindow | None:
        """Draw a window of a source that begins and ends with speech."""
        if not source.voice:
            return None
        longest = int(MAX_S * STEPS_PER_S)
        start, stop = self._pick(source.voice)
        start = int(self._generator.integers(start, max(start, stop - longest) + 1))
        limit = start + longest
        ends = [min(b, limit) for a, b in source.voice if start < b and a < limit]
        window = SourceWindow(source, start // STEPS_PER_FRAME, max(ends) // STEPS_PER_FRAME)
        return window if window.length_s >= MIN_S else None

    def _within(self, source: SourceFace, start: int, stop: int) -> SourceWindow:
        """Draw a window of 6 s, or less if the range is shorter."""
        longest = int(MAX_S * FPS)
        start = int(self._generator.integers(start, max(start, stop - longest) + 1))
        return SourceWindow(source, start, min(stop, start + longest))

    def _draw(self, people: People) -> SourceFace | None:
        """Draw a person, then a source with probability proportional to its length."""
        if not people:
            return None
        _, sources = self._pick(people)
        weights = np.array([source.num_frames for source in sources], np.float64)
        return sources[int(self._generator.choice(len(sources), p=weights / weights.sum()))]

    def _pick(self, items: Sequence[Item]) -> Item:
        return items[int(self._generator.integers(len(items)))]


def _by_person(sources: Sequence[SourceFace]) -> People:
    """Return the sources grouped by person, sorted by name."""
    people: dict[str, list[SourceFace]] = {}
    for source in sorted(sources, key=lambda item: (item.person, item.name)):
        people.setdefault(source.person, []).append(source)
    return list(people.items())


def _masks(source: SourceFace) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return masks of voice activity, by step, and of a still mouth, by frame."""
    voice, still = np.zeros(source.num_steps, np.bool_), np.zeros(source.num_frames, np.bool_)
    for mask, runs in ((voice, source.voice), (still, source.still)):
        for start, stop in runs:
            mask[start:stop] = True
    return voice, still


def _pauses(source: SourceFace) -> Iterator[tuple[Range, Range]]:
    """Yield ranges of speech and of adjacent silence with a still face, in steps."""
    voice, still = _masks(source)
    longest = int(PART_S * STEPS_PER_S)
    for start, stop in find_runs(~voice):
        frames = still[start // STEPS_PER_FRAME : -(-stop // STEPS_PER_FRAME)]
        if stop - start < MIN_SILENCE or frames.mean() < STILL_SHARE:
            continue
        for first, last in source.voice:
            speech, silence = None, None
            if last == start:
                speech, silence = (max(first, last - longest), last), (start, start + longest)
            elif first == stop:
                speech, silence = (first, min(last, first + longest)), (stop - longest, stop)
            if speech and silence:
                pause = (max(start, silence[0]), min(stop, silence[1]))
                if speech[1] - speech[0] + pause[1] - pause[0] >= MIN_S * STEPS_PER_S:
                    yield speech, pause


def _still_windows(source: SourceFace) -> Iterator[Range]:
    """Yield ranges, in frames, without voice activity and with a still mouth."""
    voice, still = _masks(source)
    still &= ~voice.reshape(-1, STEPS_PER_FRAME).any(axis=1)
    for start, stop in find_runs(still, BRIDGED):
        if stop - start >= MIN_S * FPS:
            yield start, stop
