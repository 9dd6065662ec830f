"""Read tables of text as spreadsheets save them: whatever encoding and separator."""

import codecs
import csv
import logging
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path

from utils.errors import UserError

logger = logging.getLogger(__name__)

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
PIECE = 1 << 20  # bytes decoded at once


class TableError(UserError):
    """A table cannot be read, or not to its end; says what was found, without the table's name."""

    def __init__(self, line: int, found: str, expected: str) -> None:
        super().__init__(f"line {line}: found {found}; expected {expected}")
        self.line, self.found, self.expected = line, found, expected


def read_cells(path: Path, columns: Collection[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of every row that is not blank, the header first.

    Args:
        path: UTF-8 with or without a byte order mark, UTF-16, or Windows-1252.
        columns: Names of the header; the separator is the one that finds most of them.

    Raises:
        TableError: What it holds is no such table; the rows before have been yielded.
    """
    with path.open(encoding=find_encoding(path), newline="") as file:
        first = file.readline()
        if first.strip()[:4].lower() == "sep=" and len(first.strip()) == 5:  # Excel's own line
            separator, lead, lines = first.strip()[4], 1, chain(file)
        else:
            separator, lead = find_separator(first, columns), 0
            lines = chain([first] if first else [], file)
        reader = csv.reader(lines, delimiter=separator)
        try:
            for cells in reader:
                if any(cells):
                    yield reader.line_num + lead, cells
        except csv.Error as error:
            raise TableError(reader.line_num + lead, str(error), "rows of a table") from error


def find_encoding(path: Path) -> str:
    """Return how the text of a file is encoded.

    Raises:
        TableError: It is none of the encodings that are known.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        candidates = ["utf-16"]
    elif b"\0" in head:  # of Latin letters in UTF-16, every other byte is 0
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
    """Tell whether a whole file can be decoded."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def find_separator(header: str, columns: Collection[str]) -> str:
    """Return what separates the names in a header; a comma if that cannot be told."""

    def count(separator: str) -> int:
        names = next(csv.reader([header], delimiter=separator), [])
        return len({name.strip() for name in names} & set(columns))

    return max(SEPARATORS, key=count)
