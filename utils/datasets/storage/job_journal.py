"""What has been done of a long job, one line a piece of work, so that it can be taken up again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.files import append_line, read_lines, replacing


class Journal:
    """A text file of JSON lines: first the settings of the job, then what became of each piece.

    A line that was broken off is left out, so its piece is done again. Only one process may write,
    see `utils.files.locked`; reading changes nothing.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], what_to_do: str) -> None:
        """Open or begin a journal.

        Args:
            path: The file.
            settings: Must be the same as when the job was begun; JSON values.
            what_to_do: End of the error message where they are not.
        """
        self.path = path
        self.done: dict[str, Any] = {}  # what became of each piece, by its name
        wanted = json.loads(json.dumps(settings))
        lines = read_lines(path)
        if lines:
            found = _read_line(path, 1, lines[0])
            changed = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
            if changed:
                was = ", ".join(f"{name} {found.get(name)!r}" for name in sorted(changed))
                now = ", ".join(f"{name} {wanted.get(name)!r}" for name in sorted(changed))
                raise UserError(f"{path}: expected {was}, as it was begun, got {now}; {what_to_do}")
            for number, line in enumerate(lines[1:], start=2):
                self.done.update(_read_line(path, number, line))
        else:
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(wanted) + "\n", encoding="utf-8")

    def add(self, name: str, outcome: Any) -> None:  # noqa: ANN401 - any JSON value
        """Note that a piece is done; on disk when this returns."""
        self.done[name] = outcome
        append_line(self.path, json.dumps({name: outcome}, ensure_ascii=False))


def _read_line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
        if not isinstance(found, dict):
            raise UserError("no object")
    except ValueError as error:
        raise UserError(
            f"{path}, line {number}: expected a JSON object, found {line[:60]!r}; "
            "remove the file to begin anew"
        ) from error
    return found
