"""Read CSV tables as saved by spreadsheets, in their various encodings and with any separator."""

import codecs
import csv
import logging
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path

from utils.errors import UserError

logger = logging.getLogger(__name__)

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
CHUNK_BYTES = 1 << 20  # decoded at once


class TableError(UserError):
    """A table cannot be read completely; the message does not name the table."""

    def __init__(self, line: int, found: str, expected: str) -> None:
        super().__init__(f"line {line}: found {found}; expected {expected}")
        self.line, self.found, self.expected = line, found, expected


def read_cells(path: Path, columns: Collection[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of every row that is not blank, beginning with the header.

    Args:
        path: UTF-8 with or without a byte order mark, UTF-16, or Windows-1252.
        columns: Expected names; the separator that yields most of them in the header is used.

    Raises:
        TableError: The file is not a valid table; rows before the error have been yielded.
    """
    with path.open(encoding=find_encoding(path), newline="") as file:
        first = file.readline()
        if first.strip()[:4].lower() == "sep=" and len(first.strip()) == 5:  # written by Excel
            separator, num_skipped, lines = first.strip()[4], 1, chain(file)
        else:
            separator, num_skipped = find_separator(first, columns), 0
            lines = chain([first] if first else [], file)
        reader = csv.reader(lines, delimiter=separator)
        try:
            for cells in reader:
                if any(cells):
                    yield reader.line_num + num_skipped, cells
        except csv.Error as error:
            raise TableError(
                reader.line_num + num_skipped, str(error), "rows of a table"
            ) from error


def find_encoding(path: Path) -> str:
    """Return the encoding of a text file.

    Raises:
        TableError: It is none of the supported encodings.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        candidates = ["utf-16"]
    elif b"\0" in head:  # in UTF-16, every other byte of Latin text is 0
        candidates = ["utf-16-be" if head[::2].count(0) > head[1::2].count(0) else "utf-16-le"]
    else:
        candidates = ["utf-8-sig", "cp1252"]
    for encoding in candidates:
        if _is_encoded(path, encoding):
            if encoding == "cp1252":
                logger.warning("%s is not UTF-8; read as Windows-1252", path)
            return encoding
    expected = "text in UTF-8, UTF-16 or Windows-1252; save the table as UTF-8"
    raise TableError(0, f"bytes that are not {' or '.join(candidates)}", expected)


def _is_encoded(path: Path, encoding: str) -> bool:
    """Return whether a whole file can be decoded."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def find_separator(header: str, columns: Collection[str]) -> str:
    """Return the separator of a header; a comma if no expected name is found."""

    def count(separator: str) -> int:
        names = next(csv.reader([header], delimiter=separator), [])
        return len({name.strip() for name in names} & set(columns))

    return max(SEPARATORS, key=count)
