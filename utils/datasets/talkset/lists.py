"""TalkSet's lists of clips: a face with its own voice, with another's, or in silence.

After TalkNet (Tao et al., 2021), section 4.1. From these combinations, a network learns whether
lips and audio belong together.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import SPEAKING
from utils.datasets.talkset.options import TALKSET_KINDS
from utils.errors import UserError
from utils.files import reading_table, replacing
from utils.structures import FPS, STEPS_PER_FRAME

KINDS = TALKSET_KINDS
T_AUDIO, F_AUDIO, TF_AUDIO, T_SILENCE, F_SILENCE = KINDS
MAX_S = 6.0  # length of a clip; longer ones are cut
STEPS_PER_S = FPS * STEPS_PER_FRAME
PUBLISHED_EACH = 30000  # clips of each kind
MAX_STILL_S = 3.0  # longer silences of the published list are skipped
SILENCE_FIELDS = 4  # number of fields in a line of silence only
LINE = "kind audio video length start_T end_T start_F end_F number"


@dataclass(frozen=True)
class TalkClip:
    """A line of a list. Times are seconds from the start of the clip.

    Names may end in @SECONDS, the start of the clip in that file. During T, the audio is that of
    the face; during F, that of `audio`. In TSilence, F is silence of the face; in FSilence, T is.
    """

    kind: str
    audio: str
    video: str
    length_s: float
    t: tuple[float, float]
    f: tuple[float, float]
    number: int = -1  # -1 if the list has no numbers

    def line(self) -> str:
        """Return the clip as a line of a list."""
        times = " ".join(f"{time:.2f}" for time in (self.length_s, *self.t, *self.f))
        names = f"{quote(self.audio, safe='/@:+=,')} {quote(self.video, safe='/@:+=,')}"
        number = f" {self.number:06d}" if self.number >= 0 else ""
        return f"{self.kind} {names} {times}{number}"


class SpeechLine(NamedTuple):
    """A line of the published Vox_list: a voice and a face, from the same video or not."""

    same: bool
    audio: str
    video: str
    length_s: float


class SilenceLine(NamedTuple):
    """A line of the published LRS3 lists: silence, and speech before or after it, in one video."""

    video: str
    start_s: float
    middle_s: float  # the change between speech and silence; equals `stop_s` without speech
    stop_s: float
    speech_first: bool


def split_name(name: str) -> tuple[str, float]:
    """Return the file of a name and the start of the clip in it, s."""
    file, at, start = name.rpartition("@")
    return (file, float(start)) if at else (name, 0.0)


def read_clips(path: Path) -> Iterator[TalkClip]:
    """Yield the clips of a list, with or without numbers."""
    for location, fields in _lines(path):
        try:
            if len(fields) not in (8, 9) or fields[0] not in KINDS:
                raise UserError("invalid kind or number of fields")
            length_s, *times = (float(field) for field in fields[3:8])
            number = int(fields[8]) if len(fields) == 9 else -1
            starts_s = [split_name(unquote(name))[1] for name in fields[1:3]]
            if not all(0 <= time < math.inf for time in (length_s, *times, *starts_s)):
                raise UserError("a time out of range")
        except ValueError as error:
            raise _invalid(location, LINE, fields, error) from None
        names = (unquote(fields[1]), unquote(fields[2]))
        t, f = (times[0], times[1]), (times[2], times[3])
        yield TalkClip(fields[0], *names, length_s, t, f, number)


def write_clips(path: Path, clips: Iterable[TalkClip]) -> None:
    """Write a list."""
    with replacing(path) as temporary:
        temporary.write_text("".join(clip.line() + "\n" for clip in clips), encoding="utf-8")


def read_speech(path: Path) -> Iterator[SpeechLine]:
    """Yield the lines of the published Vox_list: 1 or 0, audio, video, seconds."""
    for location, fields in _lines(path):
        try:
            same, audio, video, length = fields
            if same not in ("0", "1"):
                raise UserError("expected 1 or 0")
            yield SpeechLine(same == "1", audio, video, float(length))
        except ValueError as error:
            raise _invalid(location, "1 or 0, audio, video, seconds", fields, error) from None


def read_silence(path: Path) -> Iterator[SilenceLine]:
    """Yield the lines of the published LRS3 lists, with speech or silence only."""
    for location, fields in _lines(path):
        try:
            if fields[0] in ("01", "10"):
                order, video, *times, _ = fields
                start, middle, stop = (int(time) / 100 for time in times)
                yield SilenceLine(video, start, middle, stop, order == "10")
            else:
                video, first, last, _ = fields
                stop = int(last) / 100
                yield SilenceLine(video, int(first) / 100, stop, stop, False)
        except ValueError as error:
            expected = "[01 or 10,] video, times in 1/100 s, id"
            raise _invalid(location, expected, fields, error) from None


def read_lists(
    paths: Sequence[Path], generator: np.random.Generator, each: int = PUBLISHED_EACH
) -> list[TalkClip]:
    """Return the clips of published lists, whose kind is recognised by their first lines.

    Lists of clips are used unchanged. From input lists (Vox_list, LRS3_ST, LRS3_S), clips are
    generated as published.

    Args:
        paths: The files.
        generator: Source of randomness for input lists.
        each: Maximum number of clips per kind generated from input lists.
    """
    clips: list[TalkClip] = []
    speech: list[SpeechLine] = []
    mixed: list[SilenceLine] = []
    still: list[SilenceLine] = []
    for path in paths:
        _, first = next(_lines(path), ("", [""]))
        if not first[0]:
            raise UserError(f"{path}: expected a list with lines, found none")
        if first[0] in ("0", "1"):
            speech += read_speech(path)
        elif first[0] in ("01", "10"):
            mixed += read_silence(path)
        elif len(first) == SILENCE_FIELDS and first[0] not in KINDS:
            still += read_silence(path)
        else:
            clips += read_clips(path)
    if clips and (speech or mixed or still):
        raise UserError("lists of clips and input lists cannot be combined; build two TalkSets")
    return clips or published_clips(speech, mixed, still, generator, each)


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield location and fields of all lines that are not blank."""
    with reading_table(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"{path}, line {number}", line.split()


def _invalid(location: str, expected: str, fields: Sequence[str], error: ValueError) -> UserError:
    found = " ".join(fields)[:100]
    return UserError(f"{location}: expected {expected}, found {found!r} ({error})")


def published_clips(
    speech: Sequence[SpeechLine],
    mixed: Sequence[SilenceLine],
    still: Sequence[SilenceLine],
    generator: np.random.Generator,
    each: int = PUBLISHED_EACH,
) -> list[TalkClip]:
    """Return the clips of the published lists, shuffled and numbered.

    Args:
        speech: Lines of Vox_list.
        mixed: Lines of the list of speech and silence (LRS3_ST).
        still: Lines of the list of silence (LRS3_S).
        generator: Source of randomness for change points, orders and voices.
        each: Maximum number of clips per kind.
    """
    same = [line for line in speech if line.same][:each]
    other = [line for line in speech if not line.same][:each]
    clips = [make_clip(T_AUDIO, line.audio, line.video, floor_s(line.length_s)) for line in same]
    clips += [make_clip(F_AUDIO, line.audio, line.video, floor_s(line.length_s)) for line in other]
    for line in other:
        length_s = floor_s(line.length_s)
        clips.append(change(TF_AUDIO, line.audio, line.video, length_s, generator))
    clips += [_mixed_clip(line) for line in mixed[:each]]
    short = [line for line in still if line.stop_s - line.start_s <= MAX_STILL_S][:each]
    longest_s = max((line.length_s for line in speech), default=0.0)
    for silence in short:
        length_s = floor_s(silence.stop_s - silence.start_s)
        if length_s <= longest_s:
            voice = speech[int(generator.integers(len(speech)))]
            while voice.length_s < length_s:
                voice = speech[int(generator.integers(len(speech)))]
            name = f"{silence.video}@{silence.start_s:.2f}"
            clips.append(change(F_SILENCE, voice.audio, name, length_s, generator))
    order = generator.permutation(len(clips))
    return [replace(clips[int(i)], number=number) for number, i in enumerate(order)]


def _mixed_clip(line: SilenceLine) -> TalkClip:
    """Return the TSilence clip of a line."""
    length_s = floor_s(line.stop_s - line.start_s)
    middle_s = floor_s(line.middle_s - line.start_s)
    parts = ((0.0, middle_s), (middle_s, length_s))
    t, f = parts if line.speech_first else parts[::-1]
    name = f"{line.video}@{line.start_s:.2f}"
    return clip_to(TalkClip(T_SILENCE, name, name, length_s, t, f), MAX_S)


def make_clip(kind: str, audio: str, video: str, length_s: float) -> TalkClip:
    """Return a clip whose audio does not change: TAudio or FAudio."""
    whole, none = (0.0, length_s), (0.0, 0.0)
    t, f = (whole, none) if kind == T_AUDIO else (none, whole)
    return clip_to(TalkClip(kind, audio, video, length_s, t, f), MAX_S)


def change(
    kind: str, audio: str, video: str, length_s: float, generator: np.random.Generator
) -> TalkClip:
    """Return a clip with T and F in random order; the change is at 25 to 75 % of its length."""
    point_s = floor_s(length_s * (0.25 + 0.5 * generator.random()))
    parts = ((0.0, point_s), (point_s, length_s))
    t, f = parts if generator.random() < 0.5 else parts[::-1]
    return clip_to(TalkClip(kind, audio, video, length_s, t, f), MAX_S)


def clip_to(clip: TalkClip, length_s: float) -> TalkClip:
    """Return a clip cut to a length."""
    times = [min(time, length_s) for time in (*clip.t, *clip.f)]
    length_s = min(clip.length_s, length_s)
    return replace(clip, length_s=length_s, t=(times[0], times[1]), f=(times[2], times[3]))


def floor_s(time_s: float) -> float:
    """Return a time floored to 10 ms."""
    return math.floor(time_s * STEPS_PER_S + 1e-6) / STEPS_PER_S


def is_held_out(number: int, num_clips: int) -> bool:
    """Return whether a published clip is for validation: the last tenth of each fifth of a list."""
    period = max(10, num_clips // len(KINDS))
    return number % period >= period * 9 // 10


def num_frames(clip: TalkClip) -> int:
    """Return the number of whole frames of a clip at 25 frames/s."""
    return int(clip.length_s * FPS + 1e-6)


def make_labels(clip: TalkClip, voice: NDArray[np.bool_] | None = None) -> NDArray[np.int8]:
    """Return the labels (T,) of a clip at 25 frames/s.

    Args:
        clip: The clip.
        voice: (4 T,) activity of the face's own voice; None if all of T is speech.
    """
    steps = np.zeros(num_frames(clip) * STEPS_PER_FRAME)
    start, stop = (round(time * STEPS_PER_S) for time in clip.t)
    if clip.kind == T_AUDIO:
        steps[:] = SPEAKING
    elif clip.kind in (TF_AUDIO, T_SILENCE):
        steps[start:stop] = SPEAKING
    if voice is not None:
        steps *= voice
    means = steps.reshape(-1, STEPS_PER_FRAME).mean(axis=1)
    return np.asarray(np.rint(means), np.int8)
