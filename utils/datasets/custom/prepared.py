"""What a store holds of own data, and what of that the tables do not have any more."""

import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.datasets.custom.tables import CustomEntity
from utils.datasets.storage.entity_store import entity_path
from utils.datasets.storage.job_journal import JobJournal

NOTHING: dict[str, Any] = {"read": False, "rows": 0, "names": [], "frames": 0, "problems": []}

Rows = Sequence[CustomEntity]  # all that one table says of one video


class PreparedVideos:
    """Which videos were cut into a store, by what rows, and the names of the entities they gave.

    Args:
        folder: Of the store.
        settings: Must be the same as when it was begun.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        redo = f"set it back, or remove the folder {folder} to prepare anew"
        self._folder = folder
        self._journal = JobJournal(folder / "prepared.jsonl", settings, redo)
        self._kept: dict[str, list[str]] = {}
        self._outdated: list[str] = []

    def outcome(self, key: str) -> Mapping[str, Any]:
        """Return what became of a video that is done."""
        found: Mapping[str, Any] = self._journal.done[key]
        return found

    def is_done(self, rows: Rows) -> bool:
        """Tell whether a video was cut by these very rows and all that it gave is still there."""
        outcome = self._journal.done.get(key_of(rows), NOTHING)
        same = outcome["read"] and outcome["rows"] == checksum(rows)
        return same and all(self._path(name).exists() for name in outcome["names"])

    def add(self, key: str, outcome: Mapping[str, Any]) -> None:
        """Note what became of a video."""
        self._journal.add(key, {**outcome, "kept": self._kept.get(key, [])})

    def remove_outdated(self, videos: Sequence[Rows], unread: Collection[str]) -> list[str]:
        """Remove stored entities whose rows are gone or have changed; return what is kept.

        Rows that cannot be read may be those of a video or entity that the table seems to lack.
        What is stored of such is kept, and removed once all rows can be read.

        Args:
            videos: All that the tables have now.
            unread: Names of tables with rows that cannot be read.
        """
        there = {key_of(rows): rows for rows in videos}
        for key, outcome in list(self._journal.done.items()):
            rows = there.get(key, [])
            old = list(outcome.get("kept", []))
            if not rows or not self.is_done(rows):
                old += outcome["names"]
            doubtful = any(key.startswith(f"{table}: ") for table in unread)
            has = {f"{one.video}:{one.name}" for one in rows}
            kept = [one for one in old if doubtful and one.rpartition(":")[0] not in has]
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
        """Return how many stored entities were removed and not written anew."""
        return sum(not self._path(name).exists() for name in set(self._outdated))

    def _path(self, name: str) -> Path:
        return entity_path(self._folder, name)


def key_of(rows: Rows) -> str:
    """Return what a video is called in the journal."""
    return f"{Path(rows[0].file).name}: {rows[0].video}"


def checksum(rows: Rows) -> int:
    """Return a number that changes with the rows of a video."""
    found = 0
    for entity in rows:
        found = zlib.crc32(f"{entity.name}\n{entity.person}\n".encode(), found)
        for values in (entity.times, entity.boxes, entity.labels):
            found = zlib.crc32(values.tobytes(), found)
    return found
