"""Find the videos that arguments and lists name: files, folders, patterns."""

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.errors import UserError
from utils.media.video_files import VIDEO_SUFFIXES

SUFFIXES = frozenset(
    [
        *(*VIDEO_SUFFIXES, ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv"),
        *(".3gp", ".ogv", ".mxf", ".vob"),
    ]
)
OWN_FILES = ("video_out.mp4", "proxy.mp4")  # beside a result.json they are results, not sources
OWN_FOLDERS = ("pyavi", "pycrop", "pyframes", "pywork")


@dataclass(frozen=True)
class Listing:
    """Videos, and the folder that they are placed by."""

    paths: tuple[Path, ...]  # absolute, each once, in the order found
    root: Path  # deepest folder that all arguments have in common


def is_pattern(path: Path) -> bool:
    """Tell whether an argument is a pattern: nothing bears its name, and it has wildcards."""
    return glob.has_magic(str(path)) and not os.path.lexists(path)


def names_many(paths: Sequence[Path], results: Path | None) -> bool:
    """Tell whether arguments need a tree of results.

    Folders and patterns do, and files of one name that lie in different folders.

    Args:
        paths: The arguments.
        results: Folder that results go to; None is beside each video.
    """
    alike = len({path.stem for path in paths}) < len({path.absolute() for path in paths})
    return any(path.is_dir() or is_pattern(path) for path in paths) or (
        alike and results is not None
    )


def list_videos(arguments: Sequence[Path], list_file: Path | None, results: Path | None) -> Listing:
    """Return the videos of all arguments and of a list.

    Files are taken whatever their extension, folders are searched recursively by extension.

    Args:
        arguments: Files, folders, patterns.
        list_file: Has a file or folder on each line; - is stdin.
        results: Folder that results go to; never searched.

    Raises:
        UserError: A pattern or a folder holds no video, or nothing is named at all.
    """
    own = None if results is None else results.absolute()
    found: dict[Path, None] = {}
    bases: list[Path] = []
    for path in (*arguments, *([] if list_file is None else read_list(list_file))):
        paths, base = _expand(path, own)
        found.update(dict.fromkeys(paths))
        bases.append(base)
    if not found:
        raise UserError(f"expected videos in {list_file or 'the arguments'}, found none")
    return Listing(tuple(found), Path(os.path.commonpath(bases)))


def read_list(path: Path) -> list[Path]:
    """Return the paths in a list, one on each line; empty lines are left out."""
    content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    lines = os.fsdecode(content.removeprefix(b"\xef\xbb\xbf")).split("\n")
    return [Path(line.rstrip("\r")) for line in lines if line.strip()]


def _expand(path: Path, own: Path | None) -> tuple[list[Path], Path]:
    """Return the videos that an argument names and the folder that it is placed by."""
    if path.is_dir():
        folder = path.absolute()
        found = list(_search(folder, own))
        if not found:
            raise UserError(
                f"{path.name}: expected videos in the folder {path}, found none with an extension "
                f"of {', '.join(sorted(SUFFIXES))}"
            )
        return found, folder
    if is_pattern(path):
        names = glob.glob(str(path), recursive=True)  # noqa: PTH207 - the pattern may be absolute
        matches = sorted(Path(name).absolute() for name in names)
        found = [one for one in matches if one.is_file() and not _is_result(one)]
        if not found:
            raise UserError(f"{path}: expected a pattern of videos, found no file that matches")
        return found, _fixed_part(path.absolute())
    return [path.absolute()], path.absolute().parent


def _search(folder: Path, own: Path | None) -> Iterator[Path]:
    """Yield the videos below a folder in order; hidden ones and results are left out."""
    for where, folders, files in os.walk(folder):
        place = Path(where)
        here = [name for name in folders if not name.startswith(".") and place / name != own]
        if "result.json" in files:
            here = [name for name in here if name not in OWN_FOLDERS]
        folders[:] = sorted(here)
        for name in sorted(files):
            path = place / name
            wanted = path.suffix.lower() in SUFFIXES and not name.startswith(".")
            if wanted and path.is_file() and not _is_result(path):
                yield path


def _is_result(path: Path) -> bool:
    """Tell whether a file is an output of an earlier analysis."""
    return path.name in OWN_FILES and path.with_name("result.json").exists()


def _fixed_part(pattern: Path) -> Path:
    """Return the folder before the first wildcard."""
    fixed = [part for part in pattern.parents if not glob.has_magic(str(part))]
    return fixed[0]
