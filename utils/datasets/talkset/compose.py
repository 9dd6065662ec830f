"""Compose the clips of a TalkSet: a face, its own or another's audio, and the labels."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import SPEAKING, EntityInfo, EntityPart
from utils.datasets.storage.entity_store import EntityStore, EntityStoreWriter
from utils.datasets.talkset.lists import (
    F_AUDIO,
    T_AUDIO,
    T_SILENCE,
    TalkClip,
    make_labels,
    num_frames,
    read_clips,
    split_name,
    write_clips,
)
from utils.datasets.talkset.media import probe_audio
from utils.datasets.talkset.sources import SourceFace
from utils.errors import UserError
from utils.files import check_folder
from utils.media.audio import Sound
from utils.media.container import ReadOptions
from utils.structures import FPS, SAMPLE_RATE, STEPS_PER_FRAME


class ClipComposer:
    """Makes entities of clips.

    Args:
        folder: The store of sources.
        sources: The sources by their names in the clips.
        audio_files: Audio files by those names, if audio is not read from the sources' videos.
        own_voice: Label only voice activity as speech; else all of T.
    """

    def __init__(
        self,
        folder: Path,
        sources: Mapping[str, SourceFace],
        audio_files: Mapping[str, Path],
        own_voice: bool,
    ) -> None:
        self._store = EntityStore(folder)
        self._index = {info.name: i for i, info in enumerate(self._store.entities)}
        self._sources = sources
        self._audio_files = audio_files
        self._own_voice = own_voice

    def compose(self, clip: TalkClip) -> tuple[EntityInfo, EntityPart]:
        """Return the entity of a clip."""
        name, start_s = split_name(clip.video)
        source = self._sources[name]
        first = round(start_s * FPS)
        if self._audio_files:  # published lists have times of the videos
            first = max(0, first - source.start)
        length = min(num_frames(clip), source.num_frames - first)
        part = self._store.read(self._index[source.name], first, first + length)
        waveform = self._mix(clip, source, first, part)
        labels = make_labels(clip, self._voice(source, first, length))[:length]
        info = EntityInfo(
            name=entity_name(clip),
            video=str(self._store.entities[self._index[source.name]].video),
            num_frames=length,
            fps=Fraction(FPS),
            num_speaking=int((labels == SPEAKING).sum()),
            person=source.person,
        )
        return info, replace(part, waveform=waveform, labels=labels)

    def person(self, clip: TalkClip) -> str:
        """Return the person whose face a clip shows."""
        return self._sources[split_name(clip.video)[0]].person

    def _voice(self, source: SourceFace, first: int, length: int) -> NDArray[np.bool_] | None:
        """Return the voice activity of the source at each step; None if it is not considered."""
        if not self._own_voice:
            return None
        voice = np.zeros(source.num_steps, np.bool_)
        for start, stop in source.voice:
            voice[start:stop] = True
        return voice[first * STEPS_PER_FRAME : (first + length) * STEPS_PER_FRAME]

    def _mix(
        self, clip: TalkClip, source: SourceFace, first: int, part: EntityPart
    ) -> NDArray[np.int16]:
        """Return the waveform of a clip."""
        waveform = part.waveform.copy()
        name, start_s = split_name(clip.audio)
        own = clip.audio == clip.video and name not in self._audio_files
        if clip.kind == T_SILENCE or (clip.kind == T_AUDIO and own):
            return waveform
        if name in self._audio_files:
            path, begin_s = self._audio_files[name], start_s
        else:
            voice = self._sources[name]
            path, begin_s = Path(voice.video), voice.start / FPS + start_s
        lead_s = 0.0
        if clip.kind == T_AUDIO:  # the face's own voice; its source may begin later than the clip
            lead_s = (source.start + first) / FPS - split_name(clip.video)[1]
        other = read_audio(path, begin_s + lead_s, len(waveform))
        if clip.kind in (T_AUDIO, F_AUDIO):
            return other
        start, stop = (round(time * SAMPLE_RATE) for time in clip.f)
        waveform[start:stop] = other[start:stop]
        return waveform


def read_audio(path: Path, start_s: float, num_samples: int) -> NDArray[np.int16]:
    """Return samples of a file's audio from `start_s` on, padded with silence."""
    audio = Sound(probe_audio(path), ReadOptions(start_s, num_samples / SAMPLE_RATE))
    samples = audio.read(0, num_samples)
    audio.close()
    return samples


def write_split(
    clips: Sequence[TalkClip], folder: Path, split: str, composer: ClipComposer
) -> Iterator[str]:
    """Write a split's list and its clips; yield after each clip what failed, or an empty string.

    Existing clips are kept if the list is the same; clips whose person has changed are written
    again.
    """
    check_folder(folder)
    path = folder / f"{split}.txt"
    repeated = [name for name, count in Counter(map(entity_name, clips)).items() if count > 1]
    if repeated:
        raise UserError(
            f"expected unique numbers of the clips of a kind, found {repeated[0]} more than once; "
            "lists with the same numbers cannot be combined"
        )
    if path.is_file() and [clip.line() for clip in read_clips(path)] != [c.line() for c in clips]:
        raise UserError(
            f"{path} lists other clips than those of these videos and options; remove it and "
            f"{folder / split}, or build in another folder (sources are kept and reused)"
        )
    write_clips(path, clips)
    writer = EntityStoreWriter(folder / split)
    people = {info.name: info.person for info in writer.stored()}
    for clip in clips:
        problem = ""
        if people.get(entity_name(clip)) != composer.person(clip):
            try:
                info, part = composer.compose(clip)
            except (UserError, FileNotFoundError) as error:
                problem = str(error)
            else:
                writer.add(info, part.faces, part.waveform, part.labels, part.timestamps)
        yield problem
    writer.write_index()


def entity_name(clip: TalkClip) -> str:
    """Return the name of a clip in the store."""
    return f"{clip.number:06d}_{clip.kind}"
