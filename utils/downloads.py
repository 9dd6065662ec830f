"""Download files and verify them; incomplete files never get the final name."""

import hashlib
import logging
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from utils.errors import ResourceError
from utils.files import publish

logger = logging.getLogger(__name__)

TIMEOUT_S = 8.0  # to connect, and between two pieces; short, so that being offline shows quickly
ATTEMPTS = 3  # per address, as long as each attempt transfers something
PIECE = 1 << 18  # bytes read at once
DRIVE = "gdrive:"  # followed by the id of a file on Google Drive

Progress = Callable[[int, int | None], None]  # bytes so far, total bytes if known


@dataclass(frozen=True)
class Expected:
    """Expected checksum and size of a file."""

    sha256: str | None = None  # hexadecimal digits, or only the first of them
    num_bytes: int | None = None


class FetchError(Exception):
    """One address did not provide the file; the message gives the reason in a few words."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def download(
    addresses: Sequence[str], target: Path, expected: Expected, progress: Progress | None = None
) -> None:
    """Download `target` from the first address that provides the expected file.

    The data are written to `target` with `.part` appended. It is kept if the connection breaks, and
    resumed by the next call if a checksum can verify the result.

    Raises:
        ResourceError: No address provided the file; the message gives the reason for each.
    """
    part = target.with_name(target.name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for address in addresses:
        if not expected.sha256:
            part.unlink(missing_ok=True)
        try:
            fetch_checked(address, part, expected, progress)
        except FetchError as failure:
            logger.debug("%s: %s", address, failure)
            reasons.append(f"{address} ({failure})")
            continue
        publish(part, target)
        return
    raise ResourceError(f"could not download {target.name} from {', '.join(reasons)}")


def fetch_checked(address: str, part: Path, expected: Expected, progress: Progress | None) -> None:
    """Download into `part` and verify it; a resumed file that is wrong is downloaded again once.

    Raises:
        FetchError: The address did not provide the expected file.
    """
    resumed = part.exists()
    _fetch(address, part, progress)
    problem = _problem(part, expected)
    if problem and resumed:
        part.unlink()
        _fetch(address, part, progress)
        problem = _problem(part, expected)
    if problem:
        part.unlink(missing_ok=True)
        raise FetchError(problem)


def _problem(path: Path, expected: Expected) -> str | None:
    """Return what is wrong with a downloaded file, or None."""
    if not path.exists():
        return "received nothing"
    with path.open("rb") as file:
        head = file.read(512).lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "received a web page instead of the file"
    num_bytes = path.stat().st_size
    if expected.num_bytes is not None and num_bytes != expected.num_bytes:
        return f"expected {expected.num_bytes} bytes, got {num_bytes}"
    if expected.sha256 is not None:
        digest = sha256_of(path)
        if not digest.startswith(expected.sha256):
            return f"expected SHA-256 {expected.sha256[:12]}, got {digest[:12]}"
    return None


def _fetch(address: str, part: Path, progress: Progress | None) -> None:
    if address.startswith(DRIVE):
        _fetch_from_drive(address.removeprefix(DRIVE), part, progress)
        return
    for attempt in range(1, ATTEMPTS + 1):
        before = part.stat().st_size if part.exists() else 0
        try:
            for start, total, piece in _pieces(address, before):
                with part.open("r+b" if part.exists() else "wb") as file:
                    file.seek(start)
                    file.truncate()
                    file.write(piece)
                if progress:
                    progress(start + len(piece), total)
            return
        except FetchError:
            progressed = part.exists() and part.stat().st_size > before
            if attempt == ATTEMPTS or not progressed:
                raise


def _pieces(address: str, start: int) -> Iterator[tuple[int, int | None, bytes]]:
    """Yield (position, total size, bytes) from `start`, or from 0 if the server cannot resume."""
    request = urllib.request.Request(address, headers={"User-Agent": "talknet"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    opener = urllib.request.build_opener()  # a shared opener would keep the first proxy settings
    try:
        with opener.open(request, timeout=TIMEOUT_S) as response:
            if response.status != 206:  # the server sends the whole file
                start = 0
            length = response.headers.get("Content-Length")
            total = start + int(length) if length else None
            while piece := response.read(PIECE):
                yield start, total, piece
                start += len(piece)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing left to send; the file is verified afterwards
            return
        raise FetchError(f"HTTP {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise FetchError(str(reason) or type(error).__name__) from error
    if total is not None and start < total:
        raise FetchError(f"connection closed after {start} of {total} bytes")


def _fetch_from_drive(file_id: str, part: Path, progress: Progress | None) -> None:
    """Download a file from Google Drive with gdown, which handles its warnings and quotas."""
    import gdown

    try:
        gdown.download(
            id=file_id, output=str(part), quiet=True, progress=progress, timeout=TIMEOUT_S
        )
    except (OSError, gdown.exceptions.DownloadError) as error:
        reason = getattr(error.args[0], "reason", error) if error.args else error
        raise FetchError(" ".join(str(reason).split())[:200]) from error
