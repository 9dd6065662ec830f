"""Make data sets: fetch and cut AVA, build a TalkSet, check own data; with bars on stderr."""

import json
from dataclasses import asdict
from pathlib import Path

from model.contract import FaceDetector
from model.face_finding import face_finder
from utils.datasets import ava_download, ava_prepare, own_check
from utils.datasets.talkset_build import TalkSetOptions, build_from_lists, build_talkset
from utils.progress import bar
from utils.training_settings import BuildOptions

LABELLED = ("train", "val")  # AVA's splits with public labels
VIDEOS = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".mpg", ".mpeg", ".m4v", ".ogv", ".wmv", ".ts")


def download_ava(root: Path) -> list[str]:
    """Fetch AVA-ActiveSpeaker and cut it into stores; return what became of it, in words."""
    files: dict[str, int] = {}
    with bar("downloading AVA", float("inf"), "MB") as advance:

        def move(name: str, done: int, total: int | None) -> None:  # noqa: ARG001
            files[name] = done
            advance(sum(files.values()) / 1e6)

        found = ava_download.download(root, move, LABELLED)
    lines = [
        f"movies: {len(found.already)} were there, {len(found.fetched)} fetched, "
        f"{len(found.gone)} gone, {len(found.broken)} broken, {len(found.failed)} failed"
    ]
    for split in LABELLED:
        with bar(f"cutting {split}", 1.0, "of the faces") as advance:

            def cut(done: float, total: float) -> None:
                advance(done / total if total else 1.0)

            lines.append(ava_prepare.prepare(root, split, ava_prepare.PrepareOptions(), cut).text())
    return lines


def make_talkset(options: BuildOptions, folder: Path, detector: FaceDetector, every: int) -> str:
    """Build a TalkSet; return what became of it, as JSON.

    Args:
        options: From which videos or lists, and how many clips.
        folder: Where the TalkSet goes.
        detector: Finds the faces of the videos.
        every: Look for them in each so many frames.
    """
    assert options.build is not None
    if not options.build.is_dir():
        raise FileNotFoundError(f"--build: expected a folder of videos, found no {options.build}")
    find = face_finder(detector, every)
    with bar("building the TalkSet", 1.0, "of a step") as advance:

        def progress(_: str, done: int, total: int) -> None:
            advance(done / max(1, total))

        if options.lists:
            lists = [Path(name.strip()) for name in options.lists.split(",")]
            report = build_from_lists(lists, [options.build], folder, find, progress)
        else:
            report = build_talkset(
                find_videos(options.build), folder, find, _clips(options), progress
            )
    return json.dumps(asdict(report), indent=1)


def find_videos(folder: Path) -> list[Path]:
    """Return the videos in a folder and those below it, by their suffixes."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEOS)
    if not found:
        raise FileNotFoundError(f"{folder}: expected videos ({' '.join(VIDEOS)}), found none")
    return found


def _clips(options: BuildOptions) -> TalkSetOptions:
    each = options.clips_each
    return TalkSetOptions(
        each, each, each, each, each, val_share=options.val_share, people=options.people
    )


def check_own(path: Path) -> own_check.Report:
    """Check own data."""
    with bar("checking", float("inf"), "videos") as advance:
        return own_check.check(path, progress=advance)
