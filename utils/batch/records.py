"""Which results are whole and made of what; they are not made again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.files import replacing

RECORD = "made_from.json"  # beside result.json, written last


@dataclass(frozen=True)
class SourceVersion:
    """A version of a video file."""

    num_bytes: int
    modified_ns: int

    @staticmethod
    def of(path: Path) -> "SourceVersion":
        """Return the version that is there now."""
        status = path.stat()
        return SourceVersion(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Missing:
    """What a finished or unfinished video lacks."""

    finished: bool  # the result itself is whole and current
    files: tuple[str, ...]  # outputs that are not there
    reason: str  # why it is made, in a few words; empty if nothing is missing


def write_record(
    folder: Path, source: SourceVersion, identity: Mapping[str, Any], files: Sequence[str]
) -> None:
    """State that the outputs of a video are whole, and what they were made of.

    Args:
        folder: Of the results.
        source: The version of the video, taken before it was read.
        identity: What results depend on beside the video.
        files: The outputs, relative to the folder; those of an earlier record of the same version
            are kept.
    """
    earlier = _read(folder)
    kept: Mapping[str, int] = {}
    if earlier and earlier["source"] == vars(source) and earlier["identity"] == _plain(identity):
        kept = {name: size for name, size in earlier["files"].items() if _has(folder, name, size)}
    sizes = {name: (folder / name).stat().st_size for name in files}
    content = {"source": vars(source), "identity": identity, "files": {**kept, **sizes}}
    with replacing(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(content, default=str) + "\n", encoding="utf-8")


def find_missing(
    folder: Path, source: SourceVersion, identity: Mapping[str, Any], files: Sequence[str]
) -> Missing:
    """Return what has to be made of a video.

    Args:
        folder: Of the results.
        source: The version of the video.
        identity: What results depend on beside the video.
        files: The outputs that are wanted, relative to the folder.
    """
    record = _read(folder)
    if record is None:
        return Missing(False, tuple(files), "new")
    now, before = _plain(identity), record["identity"]
    changed = sorted(key for key in {*now, *before} if now.get(key) != before.get(key))
    if record["source"] != vars(source):
        changed.insert(0, "the file")
    if changed:
        return Missing(False, tuple(files), f"changed: {', '.join(changed)}")
    sizes = record["files"]
    lacking = tuple(name for name in files if not _has(folder, name, sizes.get(name)))
    if "result.json" in lacking:
        return Missing(False, tuple(files), "result.json is not the one that was made")
    return Missing(True, lacking, f"wanted too: {', '.join(lacking)}" if lacking else "")


def _read(folder: Path) -> dict[str, Any] | None:
    """Return a record; None if there is none or it is damaged."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(record, dict) and {"source", "identity", "files"} <= record.keys()
    return record if whole else None


def _has(folder: Path, name: str, size: int | None) -> bool:
    """Tell whether an output is there in the size that was recorded."""
    try:
        return (folder / name).stat().st_size == size
    except OSError:
        return False


def _plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return what comes back from JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(identity, default=str))
    return plain
