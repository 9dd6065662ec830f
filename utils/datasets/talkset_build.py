"""Build a TalkSet: from any videos of talking heads, or from the published lists."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np

from utils.datasets.journal import Journal
from utils.datasets.store import Store, StoreWriter
from utils.datasets.talkset import (
    F_AUDIO,
    F_SILENCE,
    KINDS,
    T_AUDIO,
    T_SILENCE,
    TF_AUDIO,
    TalkClip,
    clip_to,
    is_held_out,
    read_clips,
    split_name,
)
from utils.datasets.talkset_compose import Composer, write_clips_of
from utils.datasets.talkset_media import find_media
from utils.datasets.talkset_plan import Planner, split_people
from utils.datasets.talkset_sources import FindFaces, Person, Source, find_sources, name_people
from utils.media import probe
from utils.structures import FPS

logger = logging.getLogger(__name__)

TRAIN, VAL = "train", "val"

Progress = Callable[[str, int, int], None]  # what is being done, pieces done, pieces in all


@dataclass(frozen=True)
class TalkSetOptions:
    """Which clips a TalkSet has."""

    num_t_audio: Annotated[int, "clips of a face and its own voice"] = 500
    num_f_audio: Annotated[int, "clips of a face and the voice of another"] = 500
    num_tf_audio: Annotated[int, "clips with own voice and that of another"] = 500
    num_t_silence: Annotated[int, "clips with own voice and silence"] = 500
    num_f_silence: Annotated[int, "clips of a still face, silence and the voice of another"] = 500
    val_share: Annotated[float, "share of clips, and of people, for validation"] = 0.1
    people: Annotated[Path | None, "CSV table of who is in which video: file,identity,kind"] = None
    seed: Annotated[int, "of every choice"] = 0

    def __post_init__(self) -> None:
        for kind, count in self.counts().items():
            if count < 0:
                raise ValueError(f"the number of {kind} clips must be 0 or more, got {count}")
        if not 0 <= self.val_share < 1:
            raise ValueError(f"--valShare must be in [0, 1), got {self.val_share}")

    def counts(self) -> dict[str, int]:
        """Return how many clips of each kind are wanted."""
        return {
            T_AUDIO: self.num_t_audio,
            F_AUDIO: self.num_f_audio,
            TF_AUDIO: self.num_tf_audio,
            T_SILENCE: self.num_t_silence,
            F_SILENCE: self.num_f_silence,
        }


@dataclass
class TalkSetReport:
    """What became of a TalkSet."""

    videos: int = 0
    broken: dict[str, str] = field(default_factory=dict)  # why, by video
    without_face: list[str] = field(default_factory=list)
    sources: int = 0
    source_s: float = 0.0
    talking_s: float = 0.0  # of sources whose voice is surely their own
    people: dict[str, list[str]] = field(default_factory=dict)  # by split
    clips: dict[str, dict[str, int]] = field(default_factory=dict)  # by split and kind
    missing: dict[str, dict[str, int]] = field(default_factory=dict)  # wanted, not to be had
    clip_s: dict[str, float] = field(default_factory=dict)  # by split
    speaking_s: dict[str, float] = field(default_factory=dict)  # by split


def build_talkset(
    videos: Sequence[Path],
    folder: Path,
    find_faces: FindFaces,
    options: TalkSetOptions | None = None,
    progress: Progress | None = None,
) -> TalkSetReport:
    """Build a TalkSet from videos of talking heads; stopped, it goes on where it was.

    FOLDER/sources holds all faces, FOLDER/train and FOLDER/val the clips, stores all three;
    train.txt and val.txt list them. The same videos, options and seed give the same clips.
    Videos that cannot be read are counted and passed over.

    Args:
        videos: Any that FFmpeg reads, with or without sound.
        folder: Where everything goes.
        find_faces: Gives the crops of a video; the project's own pipeline with any detector.
        options: Which clips.
        progress: Told what is being done and how far it is.
    """
    options = options or TalkSetOptions()
    report = TalkSetReport(videos=len(videos))
    people = name_people(videos, options.people)
    keys = {_key(path, videos): path for path in videos}
    sources = _all_sources(keys, people, folder, find_faces, _Told(report, progress))
    held = split_people(sources, options.val_share, np.random.default_rng([options.seed, 99]))
    plan: dict[str, list[TalkClip]] = {}
    for number, split in enumerate((TRAIN, VAL)):
        own = [source for source in sources if (source.person in held) == (split == VAL)]
        report.people[split] = sorted({source.person for source in own})
        clips = _plan(own, split, options, report)
        order = np.random.default_rng([options.seed, number]).permutation(len(clips))
        plan[split] = [clips[int(i)] for i in order]
    first = 0
    for split, clips in plan.items():
        plan[split] = [replace(clip, number=first + i) for i, clip in enumerate(clips)]
        first += len(clips)
    known = {source.name: source for source in sources}
    composer = Composer(folder / "sources", known, {}, own_voice=True)
    _write_all(plan, folder, composer, _Told(report, progress))
    return report


def build_from_lists(
    lists: Sequence[Path],
    roots: Sequence[Path],
    folder: Path,
    find_faces: FindFaces,
    progress: Progress | None = None,
) -> TalkSetReport:
    """Build a TalkSet from published lists; else like `build_talkset`.

    Numbers, where the lists have them, decide what is for validation, as published. All of T
    counts as speech. Clips whose files are missing or broken are counted and left out.

    Args:
        lists: Lines as docs/own_data.md describes them.
        roots: Folders of VoxCeleb2 and LRS3, searched in this order.
        folder: Where everything goes.
        find_faces: Gives the crops of a video.
        progress: Told what is being done and how far it is.
    """
    report = TalkSetReport()
    clips = [clip for path in lists for clip in read_clips(path)]
    names = {split_name(clip.video)[0] for clip in clips}
    found = {name: find_media(name, roots, True) for name in sorted(names)}
    videos = {name: path for name, path in found.items() if path is not None}
    report.broken = {name: "no such file" for name, path in found.items() if path is None}
    report.videos = len(names)
    people = name_people(list(videos.values()), None)
    sources = _all_sources(videos, people, folder, find_faces, _Told(report, progress))
    voices = {split_name(clip.audio)[0] for clip in clips}
    sounds = {name: find_media(name, roots, False) for name in sorted(voices)}
    known = _longest(sources, {str(path): name for name, path in videos.items()})
    plan: dict[str, list[TalkClip]] = {TRAIN: [], VAL: []}
    for place, clip in enumerate(clips):
        numbered = clip if clip.number >= 0 else replace(clip, number=place)
        kept = _shorten(numbered, known)
        split = VAL if is_held_out(numbered.number, len(clips)) else TRAIN
        if kept is None or sounds[split_name(clip.audio)[0]] is None:
            missing = report.missing.setdefault(split, {})
            missing[clip.kind] = missing.get(clip.kind, 0) + 1
        else:
            plan[split].append(kept)
    paths = {name: path for name, path in sounds.items() if path is not None}
    composer = Composer(folder / "sources", known, paths, own_voice=False)
    _write_all(plan, folder, composer, _Told(report, progress))
    return report


class _Told:
    """The report, and who is told how far things are."""

    def __init__(self, report: TalkSetReport, progress: Progress | None) -> None:
        self.report = report
        self._progress = progress

    def tell(self, what: str, done: int, total: int) -> None:
        """Tell how far things are."""
        if self._progress:
            self._progress(what, done, total)


def _key(path: Path, videos: Sequence[Path]) -> str:
    """Return what a video is called: its path below the folder that all videos share."""
    root = Path(os.path.commonpath([one.parent for one in videos]))
    return path.relative_to(root).as_posix()


def _all_sources(
    videos: Mapping[str, Path],
    people: Mapping[Path, Person],
    folder: Path,
    find_faces: FindFaces,
    told: _Told,
) -> list[Source]:
    """Return the sources of all videos, found now or before."""
    writer = StoreWriter(folder / "sources")
    redo = "remove the folder or build in another one"
    journal = Journal(folder / "sources" / "videos.jsonl", {"version": 1}, redo)
    report, sources = told.report, []
    for done, (key, path) in enumerate(sorted(videos.items()), start=1):
        person = people[path]
        begun = [person.name, person.talks, str(path)]
        outcome = journal.done.get(key)
        if outcome is None or outcome["begun"] != begun:
            try:
                video = probe(path)
            except (FileNotFoundError, ValueError, RuntimeError) as error:
                logger.info("%s", error)
                report.broken[key] = str(error)
                continue
            found = find_sources(video, key, person, find_faces, writer)
            outcome = {"begun": begun, "sources": found}
            journal.add(key, outcome)
        sources += [Source.from_json(record) for record in outcome["sources"]]
        if not outcome["sources"]:
            report.without_face.append(key)
        told.tell("finding faces", done, len(videos))
    writer.write_index()
    report.sources = len(sources)
    report.source_s = sum(source.num_frames for source in sources) / FPS
    report.talking_s = sum(source.num_frames for source in sources if source.talks) / FPS
    return sources


def _plan(
    sources: Sequence[Source], split: str, options: TalkSetOptions, report: TalkSetReport
) -> list[TalkClip]:
    """Return the clips of a split, kind by kind; note those that are not to be had."""
    clips: list[TalkClip] = []
    for number, kind in enumerate(KINDS):
        held_out = round(options.counts()[kind] * options.val_share)
        wanted = held_out if split == VAL else options.counts()[kind] - held_out
        seed = [options.seed, 1 + (split == VAL), number]
        found = Planner(sources, np.random.default_rng(seed)).clips(kind, wanted)
        if len(found) < wanted:
            report.missing.setdefault(split, {})[kind] = wanted - len(found)
        clips += found
    return clips


def _longest(sources: Sequence[Source], names: Mapping[str, str]) -> dict[str, Source]:
    """Return the longest source of each video, by the video's name in the lists."""
    longest: dict[str, Source] = {}
    for source in sources:
        name = names[source.video]
        if name not in longest or source.num_frames > longest[name].num_frames:
            longest[name] = source
    return longest


def _shorten(clip: TalkClip, known: Mapping[str, Source]) -> TalkClip | None:
    """Return the clip as long as its face is seen; None where that is not from its beginning."""
    name, start_s = split_name(clip.video)
    source = known.get(name)
    if source is None:
        return None
    first = round(start_s * FPS) - source.start
    left = source.num_frames - max(0, first)
    if first < -FPS // 5 or left < FPS:
        return None
    return clip_to(clip, left / FPS)


def _write_all(
    plan: Mapping[str, Sequence[TalkClip]], folder: Path, composer: Composer, told: _Told
) -> None:
    """Write the clips of both splits, those that are not there yet; fill in the report."""
    report = told.report
    total = sum(len(clips) for clips in plan.values())
    done = 0
    for split, clips in plan.items():
        if not clips:
            continue
        for clip, problem in zip(
            clips, write_clips_of(clips, folder, split, composer), strict=True
        ):
            done += 1
            if problem:
                logger.info("%s: %s", clip.line(), problem)
                missing = report.missing.setdefault(split, {})
                missing[clip.kind] = missing.get(clip.kind, 0) + 1
            told.tell("writing clips", done, total)
        written = Store(folder / split).entities
        report.clips[split] = dict(Counter(info.name.partition("_")[2] for info in written))
        report.clip_s[split] = sum(info.num_frames for info in written) / FPS
        report.speaking_s[split] = sum(info.num_speaking for info in written) / FPS
