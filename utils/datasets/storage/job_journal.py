"""A journal of a long job, one line per item, so that the job can be resumed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.files import append_line, read_lines, replacing


class JobJournal:
    """A text file of JSON lines: the settings of the job, then the outcome of each item.

    An incomplete last line is ignored, so its item is done again. Only one process may write,
    see `utils.files.locked`; reading changes nothing.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], advice: str) -> None:
        """Open or create a journal.

        Args:
            path: The file.
            settings: JSON values; must be the same as when the job was started.
            advice: What to do if they differ; ends the error message.
        """
        self.path = path
        self.done: dict[str, Any] = {}  # outcome of each item by its name
        expected = json.loads(json.dumps(settings))
        lines = read_lines(path)
        if lines:
            found = _read_line(path, 1, lines[0])
            changed = [
                name for name in {**found, **expected} if found.get(name) != expected.get(name)
            ]
            if changed:
                was = ", ".join(f"{name} {found.get(name)!r}" for name in sorted(changed))
                now = ", ".join(f"{name} {expected.get(name)!r}" for name in sorted(changed))
                raise UserError(
                    f"{path}: expected {was}, as in the earlier run, got {now}; {advice}"
                )
            for number, line in enumerate(lines[1:], start=2):
                self.done.update(_read_line(path, number, line))
        else:
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(expected) + "\n", encoding="utf-8")

    def add(self, name: str, outcome: Any) -> None:  # noqa: ANN401 - any JSON value
        """Record the outcome of an item; it is on disk when this returns."""
        self.done[name] = outcome
        append_line(self.path, json.dumps({name: outcome}, ensure_ascii=False))


def _read_line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
        if not isinstance(found, dict):
            raise UserError("not an object")
    except ValueError as error:
        raise UserError(
            f"{path}, line {number}: expected a JSON object, found {line[:60]!r}; "
            "remove the file to start over"
        ) from error
    return found
