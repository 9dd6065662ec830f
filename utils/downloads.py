"""Download files: whole and checked, or not at all."""

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

TIMEOUT_S = 8.0  # to connect, and between two pieces; short, so that offline is soon known
ATTEMPTS = 3  # at one address, as long as each brings something
PIECE = 1 << 18  # bytes read at once
DRIVE = "gdrive:"  # followed by the id of a file on Google Drive

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all if known


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it is there."""

    sha256: str | None = None  # or only its first digits
    num_bytes: int | None = None


class FetchError(Exception):
    """One address did not give the file; says why in a few words."""


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
    """Fetch `target` from the first address that gives the expected file.

    It grows as `target` with `.part` added, which stays when the line breaks and is taken up again
    by the next call if a checksum can tell that the pieces belong together.

    Raises:
        ResourceError: No address gave it; one line that says why each did not.
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
    """Fetch into `part` and check it; what fails the check is removed, and fetched anew once.

    Raises:
        FetchError: The address did not give the expected file.
    """
    taken_up = part.exists()
    _fetch(address, part, progress)
    problem = _problem(part, expected)
    if problem and taken_up:
        part.unlink()
        _fetch(address, part, progress)
        problem = _problem(part, expected)
    if problem:
        part.unlink(missing_ok=True)
        raise FetchError(problem)


def _problem(path: Path, expected: Expected) -> str | None:
    """Say what is wrong with a fetched file, or None."""
    if not path.exists():
        return "nothing came"
    with path.open("rb") as file:
        head = file.read(512).lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "a web page came instead of the file"
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
            brought = part.exists() and part.stat().st_size > before
            if attempt == ATTEMPTS or not brought:
                raise


def _pieces(address: str, start: int) -> Iterator[tuple[int, int | None, bytes]]:
    """Yield (where it belongs, size of the whole, bytes) from `start` on, or from 0 if need be."""
    request = urllib.request.Request(address, headers={"User-Agent": "talknet"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    opener = urllib.request.build_opener()  # a shared one would keep the proxies of its first use
    try:
        with opener.open(request, timeout=TIMEOUT_S) as response:
            if response.status != 206:  # the whole file, whatever was asked for
                start = 0
            length = response.headers.get("Content-Length")
            total = start + int(length) if length else None
            while piece := response.read(PIECE):
                yield start, total, piece
                start += len(piece)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing is left to send: the check will tell
            return
        raise FetchError(f"HTTP {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise FetchError(str(reason) or type(error).__name__) from error
    if total is not None and start < total:
        raise FetchError(f"broke off after {start} of {total} bytes")


def _fetch_from_drive(file_id: str, part: Path, progress: Progress | None) -> None:
    """Fetch a file from Google Drive, which gdown talks through its warnings and quotas."""
    import gdown

    try:
        gdown.download(
            id=file_id, output=str(part), quiet=True, progress=progress, timeout=TIMEOUT_S
        )
    except (OSError, gdown.exceptions.DownloadError) as error:
        reason = getattr(error.args[0], "reason", error) if error.args else error
        raise FetchError(" ".join(str(reason).split())[:200]) from error
