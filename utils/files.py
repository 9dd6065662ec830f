"""Write files so that nothing half-written ever bears a final name; read tables."""

import csv
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from utils.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` at the end, remove it on any error.

    The temporary name keeps the suffix, from which writers learn the format.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem[:30]}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def reading_table(path: Path) -> Iterator[TextIO]:
    """Open a table that somebody made, for the csv module; it is UTF-8, with or without a mark.

    Raises:
        UserError: It is in another encoding, or csv cannot read it.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield file
    except UnicodeDecodeError:
        raise UserError(
            f"{path}: expected UTF-8 text, found other bytes; save the file as UTF-8"
        ) from None
    except csv.Error as error:
        raise UserError(f"{path}: expected comma-separated values, found: {error}") from None


def check_folder(folder: Path) -> None:
    """Make a folder if need be and fail at once where nothing can be written in it."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".{secrets.token_hex(8)}"
    try:
        probe.touch()
    finally:
        probe.unlink(missing_ok=True)
