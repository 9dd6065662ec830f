"""Prepare data sets: download and cut AVA, build a TalkSet, check own data; with progress bars."""

import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from model.face_finding import FaceFinder
from utils.datasets.ava import download as ava_download
from utils.datasets.ava import prepare as ava_prepare
from utils.datasets.ava.labels import LABELS_MD5, AvaMirrors
from utils.datasets.ava.options import AvaOptions
from utils.datasets.custom import check as custom_check
from utils.datasets.custom.tables import CustomOptions
from utils.datasets.splits import DataOptions
from utils.datasets.talkset.build import (
    TalkSetOptions,
    TalkSetReport,
    build_from_lists,
    build_talkset,
)
from utils.datasets.talkset.faces import FaceFinding
from utils.datasets.talkset.lists import PUBLISHED_EACH, read_lists
from utils.datasets.talkset.options import BuildOptions
from utils.files import replacing
from utils.progress import stages

logger = logging.getLogger(__name__)

LABELLED = ("train", "val")  # AVA's splits with public labels
VIDEOS = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".mpg", ".mpeg", ".m4v", ".ogv", ".wmv", ".ts")
UNITS = {"finding faces": "videos", "writing clips": "clips"}


def download_ava(options: AvaOptions, data: DataOptions) -> tuple[list[str], bool]:
    """Download AVA-ActiveSpeaker and cut it into stores.

    Returns:
        A summary as lines, and whether everything on the mirror is complete; False if a split is
        empty.
    """
    root = data.data_path
    md5 = {} if options.any_labels else LABELS_MD5
    sources = AvaMirrors(options.mirror.rstrip("/"), options.label_mirror.rstrip("/"), md5)
    with stages("movies") as report_progress:
        movies = _Movies(report_progress)
        found = ava_download.download(
            root, movies.grow, LABELLED, sources, options.num_downloads, movies.count
        )
    lines = [f"movies: {found.summary()}; see {root / ava_download.REPORT}.txt"]
    whole = not found.failed
    prepare = ava_prepare.AvaPrepareOptions(data.num_processes, options.crop_size, options.colour)
    for split in LABELLED:
        with stages("faces") as report_progress:
            cut = partial(report_progress, f"cutting {split}")
            report = ava_prepare.prepare(root, split, prepare, cut)
        lines.append(f"{report.summary()}; see {root / ava_prepare.REPORT}_{split}.txt")
        whole = whole and report.already + report.written > 0
    return lines, whole


class _Movies:
    """Sums the downloaded fractions of all movies."""

    def __init__(self, report: Callable[[str, float, float], None]) -> None:
        self._report = report
        self._shares: dict[str, float] = {}
        self._total = 0

    def count(self, total: int) -> None:
        """Set the number of movies."""
        self._total = total

    def grow(self, name: str, done: int, size: int | None) -> None:
        """Update the progress of one file; ignored until the movies are counted."""
        if self._total and size:
            self._shares[name] = done / size
            self._report("downloading AVA", sum(self._shares.values()), self._total)


def make_talkset(
    options: BuildOptions, data: DataOptions, roots: Sequence[Path], finder: FaceFinder, seed: int
) -> TalkSetReport:
    """Build a TalkSet, or continue building it.

    Args:
        options: Lists to use, or the number of clips.
        data: Folder of the TalkSet.
        roots: Folders of videos.
        finder: Finds the faces of the videos.
        seed: Random seed.
    """
    for root in roots:
        if not root.is_dir():
            raise FileNotFoundError(f"--build: expected a folder of videos, {root} is not a folder")
    on_gpu = finder.device != "cpu"  # one process keeps a GPU busy
    num_processes = 1 if on_gpu and not data.num_processes else data.num_processes
    faces = FaceFinding(finder, finder.settings, num_processes)
    folder = data.data_path
    with stages(UNITS) as report:
        if options.lists:
            each = options.clips_each or PUBLISHED_EACH
            clips = read_lists(options.list_files, np.random.default_rng(seed), each)
            return build_from_lists(clips, roots, folder, faces, report)
        contents = TalkSetOptions(options.counts, options.val_share, options.people, seed)
        return build_talkset(find_videos(roots), folder, faces, contents, report)


def find_videos(folders: Sequence[Path]) -> list[Path]:
    """Return the videos in folders and their subfolders, by suffix."""
    found = {path for folder in folders for path in folder.rglob("*")}
    videos = sorted(path for path in found if path.suffix.lower() in VIDEOS)
    if not videos:
        where = ", ".join(str(folder) for folder in folders)
        raise FileNotFoundError(f"{where}: expected videos ({' '.join(VIDEOS)}), found none")
    return videos


def check_own(
    data: DataOptions, options: CustomOptions, decode: bool, to: Path
) -> custom_check.CheckReport:
    """Check own data and write the report as JSON."""
    with stages("videos") as report_progress:
        report = custom_check.check(
            data.data_path, data.videos, options, decode, partial(report_progress, "checking")
        )
    with replacing(to) as temporary:
        temporary.write_text(json.dumps(report.as_dict(), indent=1) + "\n", encoding="utf-8")
    logger.info("report: %s", to)
    return report
