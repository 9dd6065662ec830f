"""Exit status and error messages of the commands.

The status is 0 on success, 1 after an error or an interruption, 2 for wrong usage. An error that
the user can fix is one line on stderr. Any other error keeps its traceback, in a log file or, with
`--debug`, on the screen.
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

# Errors of files and disks that carry no file name when they are raised by reading or writing.
FILE_ERRORS = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EMFILE, errno.EPIPE)
)


@dataclass
class ErrorReport:
    """Context that logs an error raised inside instead of propagating it.

    KeyboardInterrupt and SystemExit propagate.
    """

    advice: str = ""  # what to do if a file cannot be opened or written
    subject: str = ""  # what was being processed, such as a video; begins the message
    folder: Path | None = None  # for tracebacks; the temporary folder if it is not writable
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
        fixable = is_user_error(error)
        line = ("" if fixable else "unexpected ") + one_line(error, self.advice)
        self.line, self.unexpected = line, not fixable
        if self.subject:
            line = f"{self.subject}: {line}"
        path = None if fixable or self.debug else write_traceback(error, self.folder)
        if path is not None:
            line += f"; the traceback is in {path}"
        exc_info = error if self.debug or not (fixable or path) else None
        logger.error("error: %s", line, exc_info=exc_info)
        return True


@contextmanager
def wrong_usage(parser: argparse.ArgumentParser) -> Iterator[None]:
    """Report a UserError raised inside as wrong usage and exit with status 2."""
    try:
        yield
    except UserError as error:
        parser.error(str(error))


def exit_status(
    action: Callable[[], int | None],
    report: ErrorReport,
    interrupted: str = "completed results are kept",
) -> int:
    """Run `action`; return its status, or report the error and return 1.

    Args:
        action: Returns its status, or None for 0.
        report: How errors are reported.
        interrupted: What happens to the results on Ctrl-C, for the message.
    """
    print_any_text()
    try:
        with report:
            return action() or 0
    except KeyboardInterrupt:
        logger.error("interrupted; %s", interrupted)
    return 1


def print_any_text() -> None:
    """Make stdout escape characters that its encoding lacks, as stderr does; no name then fails."""
    stdout = sys.stdout
    if isinstance(stdout, io.TextIOWrapper) and stdout.errors == "strict":
        stdout.reconfigure(errors="backslashreplace")


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Add the flag `--debug`."""
    parser.add_argument(
        "--debug",
        action="store_true",
        help="print tracebacks; without it, those of unexpected errors are written to a log file",
    )


def run_command(
    action: Callable[[AnyOptions], int | None],
    options_type: type[AnyOptions],
    description: str | None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Parse the options, run `action`, return the exit status.

    Tracebacks are written to the folder `save_path` of the options, if they have one.
    """
    parser = argparse.ArgumentParser(description=description)
    add_flags(parser, options_type, "options")
    add_debug(parser)
    parsed = parser.parse_args(arguments)
    with wrong_usage(parser):
        options = read_flags(parsed, options_type)
    report = ErrorReport(folder=getattr(options, "save_path", None), debug=parsed.debug)
    return exit_status(partial(action, options), report)


def is_user_error(error: Exception) -> bool:
    """Return whether the user can fix an error: it concerns their input, files or machine."""
    if isinstance(error, UserError | ResourceError | FileNotFoundError | FileExistsError):
        return True
    return isinstance(error, OSError) and (error.filename is not None or error.errno in FILE_ERRORS)


def one_line(error: Exception, advice: str = "") -> str:
    """Return an error's message on one line; unexpected errors with their type.

    Args:
        error: The exception.
        advice: Appended if a file could not be opened or written.
    """
    if isinstance(error, OSError) and error.strerror and is_user_error(error):
        name = error.filename2 or error.filename  # of two, the destination
        place = f"{name}: " if name else ""
        return f"{place}{error.strerror}" + (f"; {advice}" if advice else "")
    message = " ".join(str(error).split())
    if is_user_error(error):
        return message
    return f"{type(error).__name__}: {message}".removesuffix(": ")


def write_traceback(error: BaseException, folder: Path | None) -> Path | None:
    """Append the traceback of an error to a log file; return its path, or None if that failed.

    Args:
        error: The exception, with its causes.
        folder: Folder of the file; the temporary folder if None or not writable.
    """
    name = f"talknet-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    lines = [f"command: {' '.join(sys.argv)}\nPython {sys.version}\n"]
    lines += traceback.format_exception(error)
    for place in (folder, None):
        with suppress(OSError):  # not writable, or the disk is full
            path = (place or Path(tempfile.gettempdir())) / name
            with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.writelines(lines)
            return path
    return None
