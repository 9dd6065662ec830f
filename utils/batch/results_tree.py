"""Where the results of many videos go: the sources' tree below one output folder."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.batch.listing import Listing
from utils.batch.shards import Shard
from utils.errors import UserError
from utils.files import locked, replacing

STATE = ".batch"  # folder in the output folder: what all runs over it must agree on, and locks


@dataclass(frozen=True)
class ResultsTree:
    """An output folder and the folder of videos whose tree it repeats."""

    output: Path  # absolute
    root: Path  # absolute; the videos lie below it

    def name(self, video: Path) -> str:
        """Return the path of a video below the root, with forward slashes."""
        return video.relative_to(self.root).as_posix()

    def folders(self, videos: Sequence[Path]) -> dict[Path, Path]:
        """Return the results folder of each video.

        It is the video's path without suffix. Videos of one folder that differ by their suffix
        alone keep it: a.mp4 and a.mkv have a_mp4 and a_mkv.

        Raises:
            UserError: Two videos would still share a folder.
        """
        plain = {video: self._folder(video, video.stem) for video in videos}
        shared = {folder for folder, count in Counter(plain.values()).items() if count > 1}
        found = {
            video: self._folder(video, video.name.replace(".", "_")) if folder in shared else folder
            for video, folder in plain.items()
        }
        owners: dict[Path, Path] = {}
        for video, folder in found.items():
            if folder in owners:
                raise UserError(
                    f"the results of {owners[folder]} and {video} would both go to {folder}; "
                    "rename one of them"
                )
            owners[folder] = video
        return found

    def _folder(self, video: Path, name: str) -> Path:
        return self.output / video.parent.relative_to(self.root) / name


def open_tree(listing: Listing, output: Path | None, shard: Shard) -> ResultsTree:
    """Return where results go, as in earlier runs over the same output folder.

    An output folder remembers the root of its first run, so that a later run of some of the videos
    finds their results, and into how many shards the videos are divided.

    Args:
        listing: The videos.
        output: None is beside each video.
        shard: The part of this process; the whole may be run at any time.

    Raises:
        UserError: The output folder belongs to other videos or to another number of shards.
    """
    folder = listing.root if output is None else output.absolute()
    with locked(folder / STATE, "reading the state of the output folder"):
        path = folder / STATE / "layout.json"
        layout = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        root = listing.root
        if output is not None:
            root = _same_root(Path(layout.get("root", root)), root, folder)
        count = layout.get("shards", 1)
        if 1 not in (shard.count, count) and shard.count != count:
            raise UserError(
                f"--shard {shard.number}/{shard.count}: expected {count} shards, as in earlier "
                f"runs over {folder}; if none of them still runs, remove {path}"
            )
        wanted = {"root": str(root), "shards": max(shard.count, count)}
        if wanted != layout:
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(wanted) + "\n", encoding="utf-8")
    return ResultsTree(folder, root)


def _same_root(earlier: Path, root: Path, output: Path) -> Path:
    """Return the root of earlier runs, which the videos must lie below."""
    if not root.is_relative_to(earlier):
        raise UserError(
            f"expected videos below {earlier}, whose results are in {output}, found videos below "
            f"{root}; give another --outputFolder"
        )
    return earlier
