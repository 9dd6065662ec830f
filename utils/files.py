"""Write files atomically: a final name always belongs to a complete file.

A file is on disk when its function returns, so neither SIGKILL nor a power failure loses it.
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

ABANDONED_S = 24 * 3600.0  # age from which an unfinished file of another host is abandoned
NO_SYNC = (errno.EINVAL, errno.ENOTSUP)  # raised by file systems that cannot sync a folder
TEMPORARY = re.compile(r"\..*\.(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<begun>\d+)-[0-9a-f]{8}\b.*")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` at the end, remove it on any error.

    The temporary name keeps the suffix, from which writers infer the format, and contains the
    process id, so that files of killed processes can be recognised (`is_abandoned`).
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
    """Give a complete file its final name; both are on disk when this returns."""
    with temporary.open("r+b") as file:
        _sync(file.fileno())
    temporary.replace(path)
    _sync_folder(path.parent)


def append_line(path: Path, line: str) -> None:
    """Append a line to a text file, replacing an incomplete last line; on disk when this returns.

    Only one process may write to the file.
    """
    exists = path.exists()
    with path.open("r+b" if exists else "w+b") as file:
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
    if not exists:
        _sync_folder(path.parent)


def read_lines(path: Path) -> list[str]:
    """Return the lines that `append_line` wrote; an empty list if the file is missing.

    The last line is incomplete if a process was killed while writing; it is skipped with a warning.
    """
    *lines, rest = (path.read_bytes() if path.is_file() else b"").split(b"\n")
    if rest:
        logger.warning("%s: the last line is incomplete; its work is repeated", path)
    return [line.decode() for line in lines]


@contextmanager
def reading_table(path: Path) -> Iterator[TextIO]:
    """Open a user's table for the csv module; UTF-8, with or without a byte order mark.

    Raises:
        UserError: It has another encoding, or csv cannot read it.
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
    """Create a folder if missing and raise OSError if it is not writable.

    Temporary files of killed processes in it are removed.
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
    """Return whether the process that wrote a temporary file of `replacing` has ended.

    If that is unknown (another host, or no process in the name), a file counts as abandoned after
    a day without changes.
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
    """Hold the lock of a folder; wait if another process holds it.

    Args:
        folder: Created if missing; the lock is a file in it.
        what: What is done in the folder, for the message: "preparing val".
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("another process is %s in %s; waiting for it to finish", what, folder)
        lock.acquire()
    except NotImplementedError:  # some network file systems have no locks
        logger.warning("%s cannot be locked; only one process may be %s in it", folder, what)
    try:
        yield
    finally:
        lock.release()


def _sync(descriptor: int) -> None:
    """Wait until a file is on disk."""
    if sys.platform == "darwin":  # its fsync leaves data in the drive's cache
        import fcntl

        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
        except OSError as error:
            if error.errno not in (*NO_SYNC, errno.ENOTTY):
                raise
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk; only POSIX systems support it."""
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
    """Return eight digits that identify where process ids are valid: a machine or a container."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux
        namespace = ""
    return f"{zlib.crc32(f'{platform.node()} {namespace}'.encode()):08x}"


def _runs(pid: int, begun: str) -> bool:
    """Return whether a process still runs and is not a later one with the same id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it belongs to another user
        return True
    return _begun(pid) == begun


def _begun(pid: int) -> str:
    """Return the start time of a process in ticks; "0" if unknown, "" if it has ended."""
    if sys.platform != "linux":
        return "0"
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else rest[18]
