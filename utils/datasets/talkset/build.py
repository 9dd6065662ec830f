"""Build a TalkSet from videos of talking heads or from the published lists."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from utils.datasets.storage.entity_store import EntityStore
from utils.datasets.talkset.compose import ClipComposer, write_split
from utils.datasets.talkset.faces import FaceFinding, Progress, find_all
from utils.datasets.talkset.lists import KINDS, TalkClip, clip_to, is_held_out, split_name
from utils.datasets.talkset.media import find_media
from utils.datasets.talkset.options import TALKSET_EACH
from utils.datasets.talkset.plan import ClipPlanner, split_people
from utils.datasets.talkset.sources import SourceFace, VideoPerson, name_people, names_below
from utils.errors import UserError
from utils.structures import FPS

logger = logging.getLogger(__name__)

TRAIN, VAL = "train", "val"


@dataclass(frozen=True)
class TalkSetOptions:
    """The clips of a TalkSet."""

    counts: Mapping[str, int] = field(  # number of clips by kind
        default_factory=lambda: dict.fromkeys(KINDS, TALKSET_EACH)
    )
    val_share: float = 0.1  # share of clips, and of people, for validation
    people: Path | None = None  # CSV table of the person in each video: file,identity,kind
    seed: int = 0

    def __post_init__(self) -> None:
        for kind, count in self.counts.items():
            if kind not in KINDS or count < 0:
                raise UserError(
                    f"expected kinds {', '.join(KINDS)} and counts of 0 or more, "
                    f"got {kind!r} and {count}"
                )
        if not 0 <= self.val_share < 1:
            raise UserError(f"--valShare must be in [0, 1), got {self.val_share}")


@dataclass
class TalkSetReport:
    """Result of building a TalkSet."""

    videos: int = 0
    broken: dict[str, str] = field(default_factory=dict)  # reason by video
    without_face: list[str] = field(default_factory=list)
    sources: int = 0
    source_s: float = 0.0
    talking_s: float = 0.0  # of sources whose audio is certainly their own voice
    people: dict[str, list[str]] = field(default_factory=dict)  # by split
    clips: dict[str, dict[str, int]] = field(default_factory=dict)  # by split and kind
    missing: dict[str, dict[str, int]] = field(default_factory=dict)  # not available; as `clips`
    clip_s: dict[str, float] = field(default_factory=dict)  # by split
    speaking_s: dict[str, float] = field(default_factory=dict)  # by split


def build_talkset(
    videos: Sequence[Path],
    folder: Path,
    faces: FaceFinding,
    options: TalkSetOptions | None = None,
    progress: Progress | None = None,
) -> TalkSetReport:
    """Build a TalkSet from videos of talking heads; an interrupted run can be resumed.

    Writes three stores: FOLDER/sources with all faces, FOLDER/train and FOLDER/val with the clips.
    train.txt and val.txt list the clips. The same videos, options and seed give the same clips.
    Unreadable videos are reported and skipped.

    Args:
        videos: Videos that FFmpeg can read, with or without audio.
        folder: Target folder.
        faces: How faces are found.
        options: Which clips to make.
        progress: Called with the current stage, and the number of items done and in total.
    """
    options = options or TalkSetOptions()
    report = TalkSetReport(videos=len(videos))
    people = name_people(videos, options.people)
    keys = {name.as_posix(): path for path, name in names_below(videos).items()}
    sources = _find_sources(keys, people, folder, faces, _BuildProgress(report, progress))
    held_out = split_people(sources, options.val_share, np.random.default_rng([options.seed, 99]))
    plan: dict[str, list[TalkClip]] = {}
    for number, split in enumerate((TRAIN, VAL)):
        chosen = [source for source in sources if (source.person in held_out) == (split == VAL)]
        report.people[split] = sorted({source.person for source in chosen})
        clips = _plan(chosen, split, options, report)
        order = np.random.default_rng([options.seed, number]).permutation(len(clips))
        plan[split] = [clips[int(i)] for i in order]
    first = 0
    for split, clips in plan.items():
        plan[split] = [replace(clip, number=first + i) for i, clip in enumerate(clips)]
        first += len(clips)
    by_name = {source.name: source for source in sources}
    if by_name:
        composer = ClipComposer(folder / "sources", by_name, {}, own_voice=True)
        _write_all(plan, folder, composer, _BuildProgress(report, progress))
    return report


def build_from_lists(
    clips: Sequence[TalkClip],
    roots: Sequence[Path],
    folder: Path,
    faces: FaceFinding,
    progress: Progress | None = None,
) -> TalkSetReport:
    """Build a TalkSet from the clips of published lists, otherwise like `build_talkset`.

    As published, a clip's number (or its position, if the list has no numbers) decides whether it
    is for validation, and all of T counts as speech. Clips whose files are missing or broken are
    counted and skipped.

    Args:
        clips: The result of `read_lists`.
        roots: Folders of VoxCeleb2 and LRS3, searched in this order.
        folder: Target folder.
        faces: How faces are found.
        progress: Called with the current stage, and the number of items done and in total.
    """
    report = TalkSetReport()
    names = {split_name(clip.video)[0] for clip in clips}
    found = {name: find_media(name, roots, True) for name in sorted(names)}
    videos = {name: path for name, path in found.items() if path is not None}
    report.broken = {name: "no such file" for name, path in found.items() if path is None}
    report.videos = len(names)
    people = name_people(list(videos.values()), None)
    sources = _find_sources(videos, people, folder, faces, _BuildProgress(report, progress))
    audio_names = {split_name(clip.audio)[0] for clip in clips}
    audio_files = {name: find_media(name, roots, False) for name in sorted(audio_names)}
    by_name = _longest(sources, {str(path): name for name, path in videos.items()})
    plan: dict[str, list[TalkClip]] = {TRAIN: [], VAL: []}
    num_clips = max([len(clips), *(clip.number + 1 for clip in clips)])  # of the whole lists
    for index, clip in enumerate(clips):
        numbered = clip if clip.number >= 0 else replace(clip, number=index)
        kept = _shorten(numbered, by_name)
        split = VAL if is_held_out(numbered.number, num_clips) else TRAIN
        if kept is None or audio_files[split_name(clip.audio)[0]] is None:
            missing = report.missing.setdefault(split, {})
            missing[clip.kind] = missing.get(clip.kind, 0) + 1
        else:
            plan[split].append(kept)
    paths = {name: path for name, path in audio_files.items() if path is not None}
    if by_name:
        composer = ClipComposer(folder / "sources", by_name, paths, own_voice=False)
        _write_all(plan, folder, composer, _BuildProgress(report, progress))
    return report


class _BuildProgress:
    """The report and the progress callback of a build."""

    def __init__(self, report: TalkSetReport, progress: Progress | None) -> None:
        self.report = report
        self._progress = progress

    def update(self, stage: str, done: int, total: int) -> None:
        """Report progress, if there is a callback."""
        if self._progress:
            self._progress(stage, done, total)


def _find_sources(
    videos: Mapping[str, Path],
    people: Mapping[Path, VideoPerson],
    folder: Path,
    faces: FaceFinding,
    progress: _BuildProgress,
) -> list[SourceFace]:
    """Return the sources of all videos; fill in the report."""
    found = find_all(videos, people, folder / "sources", faces, progress.update)
    report, sources = progress.report, found.sources
    report.broken |= found.broken
    report.without_face = found.without_face
    report.sources = len(sources)
    report.source_s = sum(source.num_frames for source in sources) / FPS
    report.talking_s = sum(source.num_frames for source in sources if source.talks) / FPS
    return sources


def _plan(
    sources: Sequence[SourceFace], split: str, options: TalkSetOptions, report: TalkSetReport
) -> list[TalkClip]:
    """Return the clips of a split, kind by kind; report how many are missing."""
    clips: list[TalkClip] = []
    for number, kind in enumerate(KINDS):
        held_out = round(options.counts.get(kind, 0) * options.val_share)
        count = held_out if split == VAL else options.counts.get(kind, 0) - held_out
        seed = [options.seed, 1 + (split == VAL), number]
        found = ClipPlanner(sources, np.random.default_rng(seed)).clips(kind, count)
        if len(found) < count:
            report.missing.setdefault(split, {})[kind] = count - len(found)
        clips += found
    return clips


def _longest(sources: Sequence[SourceFace], names: Mapping[str, str]) -> dict[str, SourceFace]:
    """Return the longest source of each video, by the video's name in the lists."""
    longest: dict[str, SourceFace] = {}
    for source in sources:
        name = names[source.video]
        if name not in longest or source.num_frames > longest[name].num_frames:
            longest[name] = source
    return longest


def _shorten(clip: TalkClip, sources: Mapping[str, SourceFace]) -> TalkClip | None:
    """Return the clip while its face is visible; None if it is not visible at the start."""
    name, start_s = split_name(clip.video)
    source = sources.get(name)
    if source is None:
        return None
    first = round(start_s * FPS) - source.start
    remaining = source.num_frames - max(0, first)
    if first < -FPS // 5 or remaining < FPS:
        return None
    return clip_to(clip, remaining / FPS)


def _write_all(
    plan: Mapping[str, Sequence[TalkClip]],
    folder: Path,
    composer: ClipComposer,
    progress: _BuildProgress,
) -> None:
    """Write the missing clips of both splits; fill in the report."""
    report = progress.report
    total = sum(len(clips) for clips in plan.values())
    done = 0
    for split, clips in plan.items():
        if not clips:
            continue
        for clip, problem in zip(clips, write_split(clips, folder, split, composer), strict=True):
            done += 1
            if problem:
                logger.info("%s: %s", clip.line(), problem)
                missing = report.missing.setdefault(split, {})
                missing[clip.kind] = missing.get(clip.kind, 0) + 1
            progress.update("writing clips", done, total)
        written = EntityStore(folder / split).entities
        report.clips[split] = dict(Counter(info.name.partition("_")[2] for info in written))
        report.clip_s[split] = sum(info.num_frames for info in written) / FPS
        report.speaking_s[split] = sum(info.num_speaking for info in written) / FPS
