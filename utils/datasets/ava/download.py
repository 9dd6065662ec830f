"""Download AVA-ActiveSpeaker: the official labels and the labelled movies."""

import errno
import json
import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from http.client import HTTPException
from pathlib import Path

from utils import downloads
from utils.datasets.ava.dataset import AvaFolder
from utils.datasets.ava.labels import AvaMirrors, Progress, download_labels, file_progress, md5_of
from utils.errors import ResourceError, UserError
from utils.files import check_folder, publish, replacing
from utils.media.container import probe

logger = logging.getLogger(__name__)

LISTS = {  # lists of the movies' file names, by folder of the mirror
    "trainval": "annotations/ava_file_names_trainval_v2.1.txt",
    "test": "annotations/ava_file_names_test_v2.1.txt",
}
REPORT = "download_report"
GONE, REFUSED = (404, 410), 403  # HTTP status; 403 may be due to a proxy or a wrong address


@dataclass
class DownloadReport:
    """Outcome of each movie, by file name."""

    already: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    gone: dict[str, str] = field(default_factory=dict)  # not on the mirror any more; reason
    broken: dict[str, str] = field(default_factory=dict)  # complete, but not a video; reason
    failed: dict[str, str] = field(default_factory=dict)  # may succeed in another run; reason

    def summary(self) -> str:
        """Return the number of movies by outcome."""
        advice = " (run again to retry)" if self.failed else ""
        return (
            f"{len(self.already)} movies existed, {len(self.fetched)} downloaded, "
            f"{len(self.gone)} gone, {len(self.broken)} broken, {len(self.failed)} failed{advice}"
        )

    def text(self) -> str:
        """Return the report as text."""
        lines = [self.summary()]
        for kind in ("gone", "broken", "failed"):
            reasons: dict[str, str] = getattr(self, kind)
            lines += [f"  {kind} {name}: {reason}" for name, reason in sorted(reasons.items())]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Movie:
    """A file of the mirror."""

    name: str
    folder: str  # on the mirror and in orig_videos
    md5: str | None = None


def download(
    root: Path,
    progress: Progress,
    splits: Sequence[str] = ("train", "val"),
    sources: AvaMirrors | None = None,
    num_at_once: int = 8,
    count: Callable[[int], None] | None = None,
) -> DownloadReport:
    """Download missing labels and movies; an interrupted download can be resumed.

    A new movie is kept if its size is that of the mirror, its MD5 that of the list (if listed),
    and it opens as a video. The labels of test are not public: its table must exist in csv/.

    Args:
        root: The data set's folder.
        progress: Called with the bytes of each file, for several files in turn. When a movie is
            finished or has failed, it is called with 1 of 1.
        splits: Any of train, val, test.
        sources: Addresses.
        num_at_once: Movies downloaded in parallel.
        count: Called once with the number of movies.

    Raises:
        ResourceError: Labels or list cannot be downloaded, or the disk is full.
    """
    sources = sources or AvaMirrors()
    folder = AvaFolder(root)
    check_folder(root / "csv")
    for split in splits:
        if not folder.labels(split).is_file():
            download_labels(folder, split, sources, progress)
    report = DownloadReport()
    movies = _list_movies(folder, splits, sources, progress, report)
    if count:
        count(len(movies))
    hook = _ProgressHook(progress)
    pool = ThreadPoolExecutor(num_at_once)
    try:
        tasks = {pool.submit(_fetch, movie, root, sources, hook): movie.name for movie in movies}
        for task in as_completed(tasks):
            _add(report, tasks[task], *task.result())
            hook.of(tasks[task])(1, 1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise ResourceError(
            f"the disk of {root} is full; downloaded files are kept: free some space and run again"
        ) from error
    finally:
        hook.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        _write_report(root / REPORT, report)
    return report


class _ProgressHook:
    """Reports the progress of several threads, one at a time, and can stop them."""

    def __init__(self, progress: Progress) -> None:
        self.stop = threading.Event()
        self._progress = progress
        self._lock = threading.Lock()

    def of(self, name: str) -> downloads.Progress:
        """Return the hook for one file."""

        def report(done: int, total: int | None) -> None:
            if self.stop.is_set():
                raise _StoppedError
            with self._lock:
                self._progress(name, done, total)

        return report


class _StoppedError(Exception):
    """Another download failed or the user interrupted; partial files are kept."""


def _list_movies(
    folder: AvaFolder,
    splits: Sequence[str],
    sources: AvaMirrors,
    progress: Progress,
    report: DownloadReport,
) -> list[_Movie]:
    """Return the labelled movies; those that are not on the mirror's lists are reported as gone."""
    videos: dict[str, None] = {}
    for split in splits:
        with folder.labels(split).open(encoding="utf-8-sig") as file:
            videos |= dict.fromkeys(line.partition(",")[0] for line in file)
    videos.pop("video_id", None)
    listed: dict[str, _Movie] = {}
    for name in ("test", "trainval") if "test" in splits else ("trainval",):
        table = folder.root / "csv" / f"{name}_file_list.txt"
        if not table.is_file():
            address = f"{sources.movies}/{LISTS[name]}"
            downloads.download(
                [address], table, downloads.Expected(), file_progress(progress, table)
            )
        listed |= {movie.name.partition(".")[0]: movie for movie in read_list(table, name)}
    for video in videos:
        if video not in listed:
            report.gone[video] = "it is not on the mirror's list of movies"
    return [listed[video] for video in videos if video in listed]


def read_list(path: Path, folder: str) -> list[_Movie]:
    """Read a list of movies: a file name per line, optionally followed by a comma and the MD5."""
    movies = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        name, _, md5 = (part.strip() for part in line.partition(","))
        if not name or name == "file_name":
            continue
        if "/" in name or "\\" in name or name.startswith("."):
            raise UserError(f"{path}, line {number}: expected a file name, found {name!r}")
        movies.append(_Movie(name, folder, md5.lower() or None))
    return movies


def _fetch(movie: _Movie, root: Path, sources: AvaMirrors, hook: _ProgressHook) -> tuple[str, str]:
    """Download a movie; return the report's field that it belongs to, and the reason."""
    address = f"{sources.movies}/{movie.folder}/{movie.name}"
    path = root / "orig_videos" / movie.folder / movie.name
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        num_bytes = _num_bytes(address)
    except urllib.error.HTTPError as error:
        return _outcome_of_status(error.code, path)
    except (OSError, HTTPException) as error:
        return "failed", str(getattr(error, "reason", error))
    if path.is_file() and num_bytes in (None, path.stat().st_size):
        return "already", ""
    part = path.with_name(path.name + ".part")
    problem = _fetch_part(address, part, num_bytes, hook.of(movie.name))
    if not problem and movie.md5 and md5_of(part) != movie.md5:
        part.unlink()
        problem = f"expected MD5 {movie.md5}, got another"
    if problem:
        return "failed", problem
    try:
        probe(part)
    except UserError as error:
        part.unlink()
        return "broken", str(error)
    publish(part, path)
    return "fetched", ""


def _outcome_of_status(code: int, path: Path) -> tuple[str, str]:
    """Return the outcome of a movie and the reason if the mirror answers with an HTTP error."""
    if code in (*GONE, REFUSED) and path.is_file():
        return "already", ""
    reason = f"HTTP {code}" + (", access denied" if code == REFUSED else "")
    return ("gone" if code in GONE else "failed"), reason


def _fetch_part(
    address: str, part: Path, num_bytes: int | None, progress: downloads.Progress
) -> str:
    """Download a file, resuming an earlier attempt; return what failed, or an empty string."""
    if part.exists() and num_bytes is not None and part.stat().st_size > num_bytes:
        part.unlink()
    try:
        downloads.fetch_checked(address, part, downloads.Expected(num_bytes=num_bytes), progress)
    except downloads.FetchError as failure:
        return str(failure)
    except _StoppedError:
        return "stopped"
    return ""


def _num_bytes(address: str) -> int | None:
    """Return the size of a file on the server, None if unknown."""
    request = urllib.request.Request(address, headers={"User-Agent": "talknet"}, method="HEAD")
    with urllib.request.urlopen(request, timeout=downloads.TIMEOUT_S) as response:
        length = response.headers.get("Content-Length")
    return int(length) if length else None


def _add(report: DownloadReport, name: str, outcome: str, reason: str) -> None:
    """Add the outcome of a movie to the report."""
    names = getattr(report, outcome)
    if isinstance(names, list):
        names.append(name)
    else:
        logger.warning("%s: %s", name, reason)
        names[name] = reason


def _write_report(stem: Path, report: DownloadReport) -> None:
    """Write a report as JSON and as text."""
    contents = {".json": json.dumps(asdict(report), indent=1) + "\n", ".txt": report.text()}
    for suffix, text in contents.items():
        with replacing(stem.with_suffix(suffix)) as temporary:
            temporary.write_text(text, encoding="utf-8")
