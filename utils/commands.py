"""How a command ends: its exit status, and what it says of the errors that stopped it.

The status is 0 where all is done, 1 where something failed or was interrupted, 2 for wrong usage.
An error that a user can mend is one line on stderr. Any other is a fault of the program or of what
it runs on; it keeps its traceback, in a log file or, with `--debug`, on the screen.
"""

import argparse
import errno
import io
import logging
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from utils.errors import ResourceError, UserError
from utils.flags import add_flags, read_flags

logger = logging.getLogger(__name__)

AnyOptions = TypeVar("AnyOptions")

# Errors of files and disks that the system raises without a file name, when reading or writing.
FILE_ERRORS = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EMFILE, errno.EPIPE)
)


@dataclass
class ErrorReport:
    """Context that logs the error raised inside instead of passing it on.

    Ctrl-C and the end of the program pass.
    """

    advice: str = ""  # what to do if the system refused a file
    subject: str = ""  # what was worked on, such as a video; the line begins with it
    folder: Path | None = None  # of tracebacks; the temporary folder if it cannot be written
    debug: bool = False  # print every traceback instead
    failed: bool = field(default=False, init=False)  # whether an error was reported
    line: str = field(default="", init=False)  # what was said of it, without the subject
    unexpected: bool = field(default=False, init=False)  # whether it is no error of the user

    def __enter__(self) -> "ErrorReport":
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self.failed = True
        users = is_users(error)
        line = ("" if users else "unexpected ") + one_line(error, self.advice)
        self.line, self.unexpected = line, not users
        if self.subject:
            line = f"{self.subject}: {line}"
        path = None if users or self.debug else write_traceback(error, self.folder)
        if path is not None:
            line += f"; the traceback is in {path}"
        shown = error if self.debug or not (users or path) else None
        logger.error("error: %s", line, exc_info=shown)
        return True


@contextmanager
def wrong_usage(parser: argparse.ArgumentParser) -> Iterator[None]:
    """Report a UserError raised inside as wrong usage; that ends the program."""
    try:
        yield
    except UserError as error:
        parser.error(str(error))


def exit_status(
    action: Callable[[], int | None],
    report: ErrorReport,
    interrupted: str = "what was finished before is kept",
) -> int:
    """Run `action`; return its status, or report the error that stopped it and return 1.

    Whatever is printed on the way, no name can be a reason to stop; see `print_any_text`.

    Args:
        action: Returns its status, or None if it is done.
        report: How errors are reported.
        interrupted: What becomes of the results if Ctrl-C stops it.
    """
    print_any_text()
    try:
        with report:
            return action() or 0
    except KeyboardInterrupt:
        logger.error("interrupted; %s", interrupted)
    return 1


def print_any_text() -> None:
    """Let stdout escape the characters that its encoding lacks, as stderr always does."""
    stdout = sys.stdout
    if isinstance(stdout, io.TextIOWrapper) and stdout.errors == "strict":
        stdout.reconfigure(errors="backslashreplace")


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Add the flag `--debug`."""
    parser.add_argument(
        "--debug",
        action="store_true",
        help="print the traceback of every error; else those of unexpected errors go to a log file",
    )


def run_command(
    action: Callable[[AnyOptions], int | None],
    options_type: type[AnyOptions],
    description: str | None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Read the options of a command that has no others, run `action`, return the exit status.

    Tracebacks go to the folder `save_path` of the options, if they have one.
    """
    parser = argparse.ArgumentParser(description=description)
    add_flags(parser, options_type, "options")
    add_debug(parser)
    parsed = parser.parse_args(arguments)
    with wrong_usage(parser):
        options = read_flags(parsed, options_type)
    report = ErrorReport(folder=getattr(options, "save_path", None), debug=parsed.debug)
    return exit_status(partial(action, options), report)


def is_users(error: Exception) -> bool:
    """Return whether the user can mend an error: it is about their input, files or machine."""
    if isinstance(error, UserError | ResourceError | FileNotFoundError | FileExistsError):
        return True
    return isinstance(error, OSError) and (error.filename is not None or error.errno in FILE_ERRORS)


def one_line(error: Exception, advice: str = "") -> str:
    """Return an error's message on one line, unexpected errors with their type.

    Args:
        error: What was raised.
        advice: Added if the system refused a file.
    """
    if isinstance(error, OSError) and error.strerror and is_users(error):
        name = error.filename2 or error.filename  # of two, the one that was to be written
        place = f"{name}: " if name else ""
        return f"{place}{error.strerror}" + (f"; {advice}" if advice else "")
    said = " ".join(str(error).split())
    return said if is_users(error) else f"{type(error).__name__}: {said}".removesuffix(": ")


def write_traceback(error: BaseException, folder: Path | None) -> Path | None:
    """Append the traceback of an error to a log file of this second; return its path, if any.

    Args:
        error: With those that caused it.
        folder: Where the file goes; None, or one that cannot be written, is the temporary folder.
    """
    name = f"talknet-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    lines = [f"command: {' '.join(sys.argv)}\nPython {sys.version}\n"]
    lines += traceback.format_exception(error)
    for place in (folder, None):
        with suppress(OSError):  # neither may be writable, or the disk may be full
            path = (place or Path(tempfile.gettempdir())) / name
            with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.writelines(lines)
            return path
    return None
