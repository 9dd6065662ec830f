"""Write files so that nothing half-written ever bears a final name, and what has one stays.

What is said to be done is on disk, so neither SIGKILL nor a power failure loses it.
"""

import csv
import errno
import logging
import os
import platform
import re
import secrets
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from utils.errors import UserError

logger = logging.getLogger(__name__)

ABANDONED_S = 24 * 3600.0  # a file of another host that nobody has written to for this long
NO_SYNC = (errno.EINVAL, errno.ENOTSUP)  # what file systems say that cannot sync a folder
TEMPORARY = re.compile(r"\..*\.(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<begun>\d+)-[0-9a-f]{8}\b.*")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` at the end, remove it on any error.

    The temporary name keeps the suffix, from which writers learn the format, and names the process
    that writes it: a killed process cannot remove it, see `is_abandoned`.
    """
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        _sync_folder(path.parent.parent)
    pid = os.getpid()
    owner = f"{_host()}-{pid}-{_begun(pid)}-{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.stem[:30]}.{owner}{path.suffix}")
    try:
        yield temporary
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Give a whole file its final name; both are on disk when this returns."""
    with temporary.open("r+b") as file:
        _sync(file.fileno())
    temporary.replace(path)
    _sync_folder(path.parent)


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file, in place of one that was broken off; on disk when this returns.

    Only one process may write to the file.
    """
    there = path.exists()
    with path.open("r+b" if there else "w+b") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        if file.read(1) not in (b"", b"\n"):
            file.seek(0)
            end = file.read().rfind(b"\n") + 1
        file.seek(end)
        file.truncate()
        file.write(f"{line}\n".encode())
        file.flush()
        _sync(file.fileno())
    if not there:
        _sync_folder(path.parent)


def read_lines(path: Path) -> list[str]:
    """Return the lines that `append_line` wrote; none without a file.

    A process that is killed while it writes breaks off its line, which is left out with a warning.
    """
    *lines, rest = (path.read_bytes() if path.is_file() else b"").split(b"\n")
    if rest:
        logger.warning("%s: the last line was broken off; what it told of is done again", path)
    return [line.decode() for line in lines]


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
    """Make a folder if need be and fail at once where nothing can be written in it.

    Temporary files that killed processes left in it are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".{secrets.token_hex(8)}"
    try:
        probe.touch()
    finally:
        probe.unlink(missing_ok=True)
    for path in folder.glob(".*"):
        if TEMPORARY.fullmatch(path.name) and is_abandoned(path):
            path.unlink(missing_ok=True)


def is_abandoned(temporary: Path) -> bool:
    """Tell whether the process that wrote a temporary file of `replacing` has ended.

    Where that cannot be known, because it runs on another host or the name tells no process, the
    file counts as abandoned once it has not been written to for a day.
    """
    owner = TEMPORARY.fullmatch(temporary.name)
    if owner is not None and owner["host"] == _host() and os.name == "posix":
        return not _runs(int(owner["pid"]), owner["begun"])
    try:
        return time.time() - temporary.stat().st_mtime > ABANDONED_S
    except FileNotFoundError:
        return False


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of a folder, which one process has at a time; wait for the one that has it.

    Args:
        folder: Made if need be; the lock is a file in it.
        what: What is done in the folder, for the message: "preparing val".
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("another process is %s in %s; waiting for it to end", what, folder)
        lock.acquire()
    except NotImplementedError:  # some network file systems have no locks
        logger.warning("%s cannot be locked; only one process may be %s in it", folder, what)
    try:
        yield
    finally:
        lock.release()


def _sync(descriptor: int) -> None:
    """Wait until a file is on disk."""
    if sys.platform == "darwin":  # where fsync leaves it in the drive's cache
        import fcntl

        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
        except OSError as error:
            if error.errno not in (*NO_SYNC, errno.ENOTTY):
                raise
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk; only POSIX can be asked for it."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def _host() -> str:
    """Return eight digits for where process ids are valid: a machine, or a container on it."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux
        namespace = ""
    return f"{zlib.crc32(f'{platform.node()} {namespace}'.encode()):08x}"


def _runs(pid: int, begun: str) -> bool:
    """Tell whether a process still runs, and is not a later one with the same id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return _begun(pid) == begun


def _begun(pid: int) -> str:
    """Return when a process began, in ticks; 0 where the system does not tell, "" if it ended."""
    if sys.platform != "linux":
        return "0"
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else rest[18]
