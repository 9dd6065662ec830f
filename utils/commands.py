"""How a command ends: one line on stderr says what went wrong, and an exit status that it did.

The status is 0 where all is done, 1 where something failed or was interrupted, 2 for wrong usage.
"""

import argparse
import io
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from utils.flags import add_flags, read_flags

logger = logging.getLogger(__name__)

AnyOptions = TypeVar("AnyOptions")


@contextmanager
def wrong_usage(parser: argparse.ArgumentParser) -> Iterator[None]:
    """Tell a ValueError raised inside as wrong usage; that ends the program."""
    try:
        yield
    except ValueError as error:
        parser.error(str(error))


def exit_status(
    action: Callable[[], int | None],
    interrupted: str = "what was finished before is kept",
    advice: str = "",
) -> int:
    """Take action and return the exit status: its own, or 1 after logging why it stopped.

    Whatever is printed on the way, no name can be a reason to stop; see `print_any_text`.

    Args:
        action: Returns its status, or None where it is done.
        interrupted: What becomes of its results where Ctrl-C stops it.
        advice: What to do where a file cannot be read or written.
    """
    print_any_text()
    try:
        return action() or 0
    except KeyboardInterrupt:
        logger.error("interrupted; %s", interrupted)
    except (OSError, ValueError, RuntimeError) as error:
        logger.error("error: %s", one_line(error, advice))
    return 1


def print_any_text() -> None:
    """Let stdout escape the characters that its encoding lacks, as stderr always does."""
    stdout = sys.stdout
    if isinstance(stdout, io.TextIOWrapper) and stdout.errors == "strict":
        stdout.reconfigure(errors="backslashreplace")


def run_command(
    action: Callable[[AnyOptions], int | None],
    options_type: type[AnyOptions],
    description: str | None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Read the options of a command that has no others, take action, return the exit status."""
    parser = argparse.ArgumentParser(description=description)
    add_flags(parser, options_type, "options")
    parsed = parser.parse_args(arguments)
    with wrong_usage(parser):
        options = read_flags(parsed, options_type)
    return exit_status(partial(action, options))


def one_line(error: Exception, advice: str = "") -> str:
    """Return what an error says, on one line; `advice` is added where the system refused a file."""
    if isinstance(error, OSError) and error.strerror:
        name = error.filename2 or error.filename  # of two, the one that was to be written
        place = f"{name}: " if name else ""
        return f"{place}{error.strerror}" + (f"; {advice}" if advice else "")
    return " ".join(str(error).split())
