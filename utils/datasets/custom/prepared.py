"""The record of prepared custom data, and removal of entities that are no longer in the tables."""

import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.datasets.custom.tables import CustomEntity
from utils.datasets.storage.entity_store import entity_path
from utils.datasets.storage.job_journal import JobJournal

NOTHING: dict[str, Any] = {"read": False, "rows": 0, "names": [], "frames": 0, "problems": []}

Rows = Sequence[CustomEntity]  # all entities of one video in one table


class PreparedVideos:
    """The videos that were prepared, a checksum of their rows, and the names of their entities.

    Args:
        folder: Folder of the store.
        settings: Must be the same as in the first run.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        advice = f"change it back, or remove the folder {folder} to start over"
        self._folder = folder
        self._journal = JobJournal(folder / "prepared.jsonl", settings, advice)
        self._kept: dict[str, list[str]] = {}
        self._outdated: list[str] = []

    def outcome(self, key: str) -> Mapping[str, Any]:
        """Return the outcome of a video that is done."""
        found: Mapping[str, Any] = self._journal.done[key]
        return found

    def is_done(self, rows: Rows) -> bool:
        """Return whether a video was prepared from these rows and its entities still exist."""
        outcome = self._journal.done.get(key_of(rows), NOTHING)
        same = outcome["read"] and outcome["rows"] == checksum(rows)
        return same and all(self._path(name).exists() for name in outcome["names"])

    def add(self, key: str, outcome: Mapping[str, Any]) -> None:
        """Record the outcome of a video."""
        self._journal.add(key, {**outcome, "kept": self._kept.get(key, [])})

    def remove_outdated(self, videos: Sequence[Rows], unread: Collection[str]) -> list[str]:
        """Remove stored entities whose rows are missing or have changed; return those kept.

        Unreadable rows may belong to a video or entity that is missing from the table. Its stored
        entities are kept until all rows can be read.

        Args:
            videos: All rows of the tables.
            unread: Names of tables with unreadable rows.
        """
        current = {key_of(rows): rows for rows in videos}
        for key, outcome in list(self._journal.done.items()):
            rows = current.get(key, [])
            old = list(outcome.get("kept", []))
            if not rows or not self.is_done(rows):
                old += outcome["names"]
            incomplete = any(key.startswith(f"{table}: ") for table in unread)
            present = {f"{entity.video}:{entity.name}" for entity in rows}
            kept = [name for name in old if incomplete and name.rpartition(":")[0] not in present]
            for name in set(old) - set(kept):
                if self._path(name).exists():
                    self._path(name).unlink()
                    self._outdated.append(name)
            self._kept[key] = kept
            now = outcome if rows else NOTHING
            if {**now, "kept": kept} != {"kept": [], **outcome} and (
                not rows or self.is_done(rows)
            ):
                self.add(key, now)
        return [name for names in self._kept.values() for name in names]

    def count_removed(self) -> int:
        """Return the number of stored entities that were removed and not written again."""
        return sum(not self._path(name).exists() for name in set(self._outdated))

    def _path(self, name: str) -> Path:
        return entity_path(self._folder, name)


def key_of(rows: Rows) -> str:
    """Return the key of a video in the journal."""
    return f"{Path(rows[0].file).name}: {rows[0].video}"


def checksum(rows: Rows) -> int:
    """Return a checksum of the rows of a video."""
    value = 0
    for entity in rows:
        value = zlib.crc32(f"{entity.name}\n{entity.person}\n".encode(), value)
        for values in (entity.times, entity.boxes, entity.labels):
            value = zlib.crc32(values.tobytes(), value)
    return value
