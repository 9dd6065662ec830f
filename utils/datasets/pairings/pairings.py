"""Pair faces with sounds: their own, another's, shifted or none; who speaks follows from that."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample

from utils.datasets.entities import UNLABELLED, EntityPart
from utils.datasets.pairings.sound_augmentation import gain, noise, record
from utils.datasets.storage.entity_store import EntityStore
from utils.datasets.talkset.sources import SourceFace
from utils.errors import UserError
from utils.structures import SAMPLE_RATE, SAMPLES_PER_FRAME, STEPS_PER_FRAME

Samples = NDArray[np.float32]

# How a voice goes with a face, and how often where the face is one that talks.
SITUATIONS = {
    "own": 0.48,  # speaking wherever a voice is heard
    "other": 0.12,  # the voice of another
    "elsewhere": 0.07,  # the same voice, of another recording
    "shifted": 0.11,  # by 0.3 to 2 s
    "silent": 0.06,
    "faint": 0.03,  # so much quieter than around it that nobody can be heard
    "noise": 0.03,
    "over": 0.06,  # another over the own voice; speaking where the own one is heard
    "pauses": 0.05,  # another in the pauses of the own voice
}
WITHOUT_VOICE = {"other": 0.75, "silent": 0.10, "noise": 0.15}  # for faces that never talk
TALKING_SHARE = 0.82  # of all faces
MAX_TURNS = 7  # situations one after the other; one or few are the most frequent
MIN_TURN = 10  # frames
EDGE = 2  # frames on either side of a change of label that are not judged
MIN_SOURCE = 12  # frames
SPEEDS = (0.8, 1.25)  # of what is played faster or slower, picture and sound alike
SPED_SHARE = 0.6  # of pairings, faces and voices
SEAM = 12  # frames on either side of two parts' joint that show it, in picture and sound alike


class SourcePart(NamedTuple):
    """Frames [start, stop) of a source, played in some frames more or fewer."""

    source: int
    start: int
    stop: int
    num_frames: int

    @property
    def played(self) -> NDArray[np.intp]:
        """Which of its frames are shown, one after the other."""
        places = (np.arange(self.num_frames) + 0.5) * (self.stop - self.start) / self.num_frames
        return places.astype(np.intp)


@dataclass(frozen=True, eq=False)
class Pairing:
    """A face and a sound that was made for it."""

    parts: list[SourcePart]  # of one person, one after the other
    waveform: NDArray[np.int16]  # (640 T,)
    labels: NDArray[np.int8]  # (T,)
    own: NDArray[np.bool_]  # (T,) where the voice is the face's own, in speech and in pauses
    seams: NDArray[np.bool_]  # (T,) where voice and face must not be compared


class _PairedFace(NamedTuple):
    """A face before it has a sound, with its own voice."""

    person: str
    talks: bool
    parts: list[SourcePart]
    voice: Samples  # (640 T,), of power 1 where it speaks
    speaks: NDArray[np.bool_]  # (T,)


class Pairer:
    """Draws pairings from the sources of some people.

    Those with few files come up no less often than those with many; who is seen for longer at a
    time does, for free speech is rarer than single sentences. What is drawn depends on the
    generator alone.

    Args:
        store: Holds faces and sounds.
        sources: What is known of them, each with an entity of its name in the store.
        length: T, frames of a pairing.
        sped_share: How many are played faster or slower.
    """

    def __init__(
        self,
        store: EntityStore,
        sources: Sequence[SourceFace],
        length: int,
        sped_share: float = SPED_SHARE,
    ) -> None:
        self.store, self.sources, self.length = store, sources, length
        self.sped_share = sped_share
        self._places = {entity.name: index for index, entity in enumerate(store.entities)}
        self._talking: dict[str, list[int]] = defaultdict(list)
        self._quiet: dict[str, list[int]] = defaultdict(list)
        for index, source in enumerate(sources):
            if source.num_frames >= MIN_SOURCE:
                (self._talking if source.talks else self._quiet)[source.person].append(index)
        if len(self._talking) < 2:
            raise UserError(
                f"expected at least two people who talk, found {len(self._talking)}; "
                "give more videos, or hold fewer people out"
            )
        weights = np.sqrt([self._mean_length(own) for own in self._talking.values()])
        self._weights = weights / weights.sum()

    def draw(self, rng: np.random.Generator, situation: str | None = None) -> Pairing:
        """Return a new pairing, in several situations or in the one given."""
        talks = situation is not None or not self._quiet or rng.random() < TALKING_SHARE
        group = self._talking if talks else self._quiet
        person = self._talker(rng) if talks else str(rng.choice(list(self._quiet)))
        parts = self._splice(rng, group[person])
        face = _PairedFace(person, talks, parts, *self._voice_of(parts))
        turns = [0, self.length]
        if situation is None:
            num_turns = rng.integers(1, rng.integers(1, MAX_TURNS + 1) + 1)
            inner = rng.integers(MIN_TURN, self.length - MIN_TURN, num_turns - 1)
            turns = sorted({0, self.length, *inner.tolist()})
        sound = np.zeros(self.length * SAMPLES_PER_FRAME, np.float32)
        own = np.zeros(self.length, np.bool_)
        chances = SITUATIONS if talks else WITHOUT_VOICE
        shares = np.array(list(chances.values())) / sum(chances.values())
        for start, stop in pairwise(turns):
            chosen = situation or str(rng.choice(list(chances), p=shares))
            samples = slice(start * SAMPLES_PER_FRAME, stop * SAMPLES_PER_FRAME)
            sound[samples] = self._sound(chosen, face, (start, stop), rng)
            if chosen in ("own", "over", "pauses"):
                own[start:stop] = True
        labels = _labels(own & face.speaks)
        return Pairing(parts, record(sound, rng), labels, own, _seams(parts, self.length))

    def crops(self, pairing: Pairing) -> NDArray[np.uint8]:
        """Return the crops (T, 112, 112) of a pairing."""
        return np.concatenate([self._read(part).faces[part.played] for part in pairing.parts])

    def _mean_length(self, own: Sequence[int]) -> float:
        return float(np.mean([self.sources[index].num_frames for index in own]))

    def _sound(
        self, situation: str, face: _PairedFace, turn: tuple[int, int], rng: np.random.Generator
    ) -> Samples:
        """Return what is heard in the frames of a turn."""
        start, stop = turn
        samples = slice(start * SAMPLES_PER_FRAME, stop * SAMPLES_PER_FRAME)
        own = face.voice[samples]
        if situation in ("own", "faint"):
            return own * gain(0 if situation == "own" else -rng.uniform(28, 55))
        if situation in ("silent", "noise"):
            level = gain(rng.uniform(-30, 3)) if situation == "noise" else np.float32(0)
            return noise(len(own), rng) * level
        if situation == "shifted":
            shift = round(rng.uniform(0.3, 2.0) * SAMPLE_RATE) * int(rng.choice((-1, 1)))
            return np.roll(face.voice, shift)[samples]
        sources = self._talking[self._talker(rng, face.person)]
        if situation == "elsewhere":
            seen = {part.source for part in face.parts}
            sources = [one for one in self._talking[face.person] if one not in seen] or sources
        another = self._voice_of(self._splice(rng, sources))[0][samples]
        if situation == "over":
            another = own + another * gain(rng.uniform(-12, 0))
        elif situation == "pauses":
            another = own + another * np.repeat(~face.speaks[start:stop], SAMPLES_PER_FRAME)
        return another

    def _talker(self, rng: np.random.Generator, but: str | None = None) -> str:
        """Return somebody who talks."""
        people = list(self._talking)
        while (person := people[rng.choice(len(people), p=self._weights)]) == but:
            pass
        return person

    def _splice(self, rng: np.random.Generator, own: Sequence[int]) -> list[SourcePart]:
        """Return parts of a person's sources at one speed, as long together as a pairing."""
        parts: list[SourcePart] = []
        sped = rng.random() < self.sped_share
        speed = float(np.exp(rng.uniform(*np.log(SPEEDS)))) if sped else 1.0
        left = self.length
        while left:
            source = own[int(rng.integers(len(own)))]
            num_frames = self.sources[source].num_frames
            played = min(int(num_frames / speed), left)
            length = min(round(played * speed), num_frames)
            start = int(rng.integers(num_frames - length + 1))
            parts.append(SourcePart(source, start, start + length, played))
            left -= played
        return parts

    def _voice_of(self, parts: Sequence[SourcePart]) -> tuple[Samples, NDArray[np.bool_]]:
        """Return the sound that belongs to parts, of power 1 where it speaks, and where that is."""
        sounds, speaks = [], []
        for part in parts:
            source = self.sources[part.source]
            spoken = speaking_frames(source)[part.start : part.stop][part.played]
            sound = _played(self._read(part).waveform, part.num_frames)
            loud = sound.reshape(-1, SAMPLES_PER_FRAME)[spoken]
            power = np.mean(np.square(loud)) if source.talks and spoken.any() else np.inf
            sounds.append(sound / np.float32(np.sqrt(power + 1)))
            speaks.append(spoken & source.talks)
        return np.concatenate(sounds), np.concatenate(speaks)

    def _read(self, part: SourcePart) -> EntityPart:
        name = self.sources[part.source].name
        return self.store.read(self._places[name], part.start, part.stop)


def _played(waveform: NDArray[np.int16], num_frames: int) -> Samples:
    """Return a sound that lasts as many frames, higher where that is fewer."""
    count = num_frames * SAMPLES_PER_FRAME
    if count == len(waveform):
        return waveform.astype(np.float32)
    return np.asarray(resample(waveform.astype(np.float32), count), np.float32)


def _seams(parts: Sequence[SourcePart], length: int) -> NDArray[np.bool_]:
    """Return which frames (T,) lie beside the joint of two parts."""
    seams = np.zeros(length, np.bool_)
    for joint in np.cumsum([part.num_frames for part in parts])[:-1]:
        seams[max(0, joint - SEAM) : joint + SEAM] = True
    return seams


def speaking_frames(source: SourceFace) -> NDArray[np.bool_]:
    """Tell for each frame of a source whether a voice is heard in at least half of it."""
    steps = np.zeros(source.num_steps, np.bool_)
    for start, stop in source.voice:
        steps[start:stop] = True
    heard = steps.reshape(-1, STEPS_PER_FRAME).sum(axis=1)
    return np.asarray(heard >= STEPS_PER_FRAME // 2, np.bool_)


def _labels(speaks: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Return labels (T,), none beside a change."""
    labels = speaks.astype(np.int8)
    for change in np.flatnonzero(np.diff(labels)) + 1:
        labels[max(0, change - EDGE) : change + EDGE] = UNLABELLED
    return labels
