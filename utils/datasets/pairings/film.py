"""Pair the faces of some people with audio as films do, to choose and to report networks by."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import UNLABELLED
from utils.datasets.pairings.pairings import MIN_SOURCE, speaking_frames
from utils.datasets.pairings.sound_augmentation import (
    FULL_SCALE,
    gain,
    limit_band,
    music,
    noise,
    reverberate,
)
from utils.datasets.storage.entity_store import EntityStore
from utils.datasets.talkset.sources import SourceFace
from utils.datasets.talkset.voice_activity import find_runs
from utils.errors import UserError
from utils.structures import FPS, SAMPLES_PER_FRAME

Samples = NDArray[np.float32]

# How often each situation is drawn for a person who talks. The first is ordinary video.
FILM_SITUATIONS = {
    "own": 5,  # the face's own voice
    "over": 1,  # another voice, 0 to 6 dB lower, over the whole track
    "other": 1,  # another person's voice alone: dubbing, a narrator, somebody off screen
    "shifted": 1,  # the own voice, 0.5 to 3 s early or late
    "silence": 1,
    "noise": 1,
    "music": 1,
}
MUTE_SITUATIONS = {"other": 2, "music": 1}  # of faces that do not talk
MIN_LENGTH, MAX_LENGTH = 25, 1500  # frames of a track
MAX_OFFSET = 6  # frames by which the audio of a recording is early or late
EDGE = 2  # frames at either side of a change that are not labelled
MIN_PAUSE = 25  # frames; shorter pauses are not labelled: nobody calls them silence


@dataclass(frozen=True)
class Conditions:
    """How a track is recorded."""

    offset: int = 0  # frames by which the audio is late
    noise_db: float | None = None  # level of the voice above a bed of noise
    face_size: int | None = None  # pixels of the face's height; None: as it is
    crf: int | None = None  # of H.264; None: not encoded again
    fps: int = FPS  # images a second that differ


@dataclass(frozen=True, eq=False)
class FilmPairing:
    """A track with audio made for it."""

    person: str
    situation: str
    conditions: Conditions
    crops: NDArray[np.uint8]  # (T, 112, 112)
    waveform: NDArray[np.int16]  # (640 T,)
    labels: NDArray[np.int8]  # (T,)


def draw_conditions(rng: np.random.Generator) -> Conditions:
    """Return conditions of everyday video; a third of all tracks stay as they are."""
    if rng.random() < 1 / 3:
        return Conditions()
    return Conditions(
        offset=int(np.clip(round(rng.normal(0, 2.5)), -MAX_OFFSET, MAX_OFFSET)),
        noise_db=float(rng.uniform(0, 20)) if rng.random() < 0.5 else None,
        face_size=int(rng.uniform(30, 60)) if rng.random() < 0.4 else None,
        crf=int(rng.integers(28, 40)) if rng.random() < 0.5 else None,
        fps=int(rng.choice((12, 15, 20))) if rng.random() < 0.25 else FPS,
    )


def filmed(crops: NDArray[np.uint8], conditions: Conditions) -> NDArray[np.uint8]:
    """Return crops (T, 112, 112) as a camera and a codec with these conditions give them."""
    size = crops.shape[1]
    shown = np.arange(len(crops)) * conditions.fps // FPS * FPS // conditions.fps
    crops = crops[np.minimum(shown, len(crops) - 1)]
    small = size
    if conditions.face_size is not None:  # a crop shows 0.9 of the height of a box
        small = max(16, round(0.9 * conditions.face_size) // 2 * 2)
        crops = _resized(crops, small, cv2.INTER_AREA)
    if conditions.crf is not None:
        crops = coded(crops, conditions.crf)
    return crops if small == size else _resized(crops, size, cv2.INTER_LINEAR)


def coded(images: NDArray[np.uint8], crf: int) -> NDArray[np.uint8]:
    """Return grey images (T, H, W) of even size after H.264 at a constant rate factor."""
    file = BytesIO()
    with av.open(file, "w", format="matroska") as container:
        # With AVX-512, x264's macroblock tree gives other images at each run.
        options = {"crf": str(crf), "threads": "1", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = images.shape[1:]
        stream.pix_fmt = "gray"
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="gray")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        decoded = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    return np.stack(decoded)


def _resized(crops: NDArray[np.uint8], size: int, interpolation: int) -> NDArray[np.uint8]:
    return np.stack([cv2.resize(crop, (size, size), interpolation=interpolation) for crop in crops])


class FilmPairer:
    """Yields the same pairings for each of some people, whatever the length of their videos.

    Args:
        store: Holds faces and audio.
        sources: The faces, each with an entity of its name in the store.
        seed: Of everything random.
        max_length: Frames of the longest track.
    """

    def __init__(
        self,
        store: EntityStore,
        sources: Sequence[SourceFace],
        seed: int = 0,
        max_length: int = MAX_LENGTH,
    ) -> None:
        self.store, self.sources = store, sources
        self.seed, self.max_length = seed, max_length
        self._places = {entity.name: index for index, entity in enumerate(store.entities)}
        self._talking: dict[str, list[SourceFace]] = defaultdict(list)
        self._mute: dict[str, list[SourceFace]] = defaultdict(list)
        for source in sources:
            if source.num_frames >= MIN_SOURCE:
                (self._talking if source.talks else self._mute)[source.person].append(source)
        if len(self._talking) < 2:
            raise UserError(
                f"expected at least two people who talk, found {len(self._talking)}; "
                "give more videos"
            )

    def __len__(self) -> int:
        talking, mute = sum(FILM_SITUATIONS.values()), sum(MUTE_SITUATIONS.values())
        num_mute = len(self._mute.keys() - self._talking.keys())
        return talking * len(self._talking) + mute * num_mute

    def __iter__(self) -> Iterator[FilmPairing]:
        for number, person in enumerate(sorted({*self._talking, *self._mute})):
            talks = person in self._talking
            counts = FILM_SITUATIONS if talks else MUTE_SITUATIONS
            for index, situation in enumerate(
                s for s, count in counts.items() for _ in range(count)
            ):
                rng = np.random.default_rng((self.seed, number, index))
                yield self._draw(person, situation, draw_conditions(rng), rng)

    def _draw(
        self, person: str, situation: str, conditions: Conditions, rng: np.random.Generator
    ) -> FilmPairing:
        source, start, stop = self._cut((self._talking.get(person) or self._mute[person]), rng)
        part = self.store.read(self._places[source.name], start, stop)
        own = situation in ("own", "over")
        speaks = speaking_frames(source)[start:stop] & own
        sound = self._sound(situation, source, (start, stop), rng)
        if rng.random() < 0.2:
            sound = reverberate(sound, rng)
        if rng.random() < 0.2:
            sound = limit_band(sound, rng)
        if conditions.noise_db is not None and situation != "silence":
            sound = sound + noise(len(sound), rng) * gain(-conditions.noise_db)
        level = FULL_SCALE * gain(rng.uniform(-35, -15))
        waveform = np.clip(np.rint(sound * level), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
        crops = filmed(part.faces, conditions)
        labels = _labels(speaks, EDGE + abs(conditions.offset) * own)
        late = conditions.offset * SAMPLES_PER_FRAME
        return FilmPairing(person, situation, conditions, crops, _late(waveform, late), labels)

    def _cut(
        self, sources: Sequence[SourceFace], rng: np.random.Generator
    ) -> tuple[SourceFace, int, int]:
        """Return a track of 1 to 60 s of some source; each length class is as likely."""
        frames = np.array([source.num_frames for source in sources])
        source = sources[int(rng.choice(len(sources), p=frames / frames.sum()))]
        most = min(self.max_length, source.num_frames)
        length = most
        if most > MIN_LENGTH and rng.random() < 0.7:
            length = round(float(np.exp(rng.uniform(np.log(MIN_LENGTH), np.log(most)))))
        start = int(rng.integers(source.num_frames - length + 1))
        return source, start, start + length

    def _sound(
        self, situation: str, source: SourceFace, turn: tuple[int, int], rng: np.random.Generator
    ) -> Samples:
        """Return what is heard in the frames of a turn, at power 1 where a voice speaks."""
        start, stop = turn
        num_frames = stop - start
        num_samples = num_frames * SAMPLES_PER_FRAME
        if situation == "silence":
            return rng.standard_normal(num_samples, dtype=np.float32) * gain(-rng.uniform(45, 90))
        if situation in ("noise", "music"):
            made = noise(num_samples, rng) if situation == "noise" else music(num_samples, rng)
            return made / np.float32(np.sqrt(np.mean(np.square(made)) + 1e-6))
        if situation == "shifted":
            shift = round(rng.uniform(0.5, 3.0) * FPS) * int(rng.choice((-1, 1)))
            return self._voice(source, start + shift, num_frames)
        own = self._voice(source, start, num_frames)
        if situation == "own":
            return own
        others = [person for person in self._talking if person != source.person]
        another = self._talking[str(rng.choice(others))]
        other = another[int(rng.integers(len(another)))]
        first = int(rng.integers(max(1, other.num_frames - num_frames + 1)))
        voice = self._voice(other, first, num_frames)
        return own + voice * gain(-rng.uniform(0, 6)) if situation == "over" else voice

    def _voice(self, source: SourceFace, start: int, num_frames: int) -> Samples:
        """Return audio of a source at power 1 where it speaks, its video repeated to and fro."""
        frames = np.arange(start, start + num_frames) % source.num_frames
        part = self.store.read(self._places[source.name], 0, source.num_frames)
        sound = part.waveform.astype(np.float32).reshape(-1, SAMPLES_PER_FRAME)
        speaks = speaking_frames(source)
        power = np.mean(np.square(sound[speaks])) if speaks.any() else np.mean(np.square(sound))
        return (sound[frames] / np.float32(np.sqrt(power + 1))).reshape(-1)


def _late(waveform: NDArray[np.int16], samples: int) -> NDArray[np.int16]:
    """Return the audio moved by some samples, with silence where it begins or ends early."""
    moved = np.zeros_like(waveform)
    if samples >= 0:
        moved[samples:] = waveform[: len(waveform) - samples]
    else:
        moved[:samples] = waveform[-samples:]
    return moved


def _labels(speaks: NDArray[np.bool_], edge: int) -> NDArray[np.int8]:
    """Return labels (T,), none beside a change."""
    labels = speaks.astype(np.int8)
    for start, stop in find_runs(~speaks):
        if stop - start < MIN_PAUSE and start > 0 and stop < len(speaks):
            labels[start:stop] = UNLABELLED
    for change in np.flatnonzero(np.diff(speaks.astype(np.int8))) + 1:
        labels[max(0, change - edge) : change + edge] = UNLABELLED
    return labels
