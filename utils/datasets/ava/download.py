"""Fetch AVA-ActiveSpeaker: the official labels and the movies that have any."""

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

LISTS = {  # file names of the movies, in the mirror's folder of that name
    "trainval": "annotations/ava_file_names_trainval_v2.1.txt",
    "test": "annotations/ava_file_names_test_v2.1.txt",
}
REPORT = "download_report"
GONE, REFUSED = (404, 410), 403  # HTTP; what is refused may be there: a proxy, a wrong address


@dataclass
class DownloadReport:
    """What became of the movies, by file name."""

    already: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    gone: dict[str, str] = field(default_factory=dict)  # the mirror has them no more: why
    broken: dict[str, str] = field(default_factory=dict)  # came whole, but are no videos: why
    failed: dict[str, str] = field(default_factory=dict)  # may come, or be let through, later: why

    def summary(self) -> str:
        """Return how many movies there are of each kind."""
        again = " (start again to try those once more)" if self.failed else ""
        return (
            f"{len(self.already)} movies were there, {len(self.fetched)} fetched, "
            f"{len(self.gone)} gone, {len(self.broken)} broken, {len(self.failed)} failed{again}"
        )

    def text(self) -> str:
        """Return the report in words."""
        lines = [self.summary()]
        for kind in ("gone", "broken", "failed"):
            reasons: dict[str, str] = getattr(self, kind)
            lines += [f"  {kind} {name}: {why}" for name, why in sorted(reasons.items())]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Movie:
    """One file of the mirror."""

    name: str
    folder: str  # of the mirror, and under orig_videos
    md5: str | None = None


def download(
    root: Path,
    progress: Progress,
    splits: Sequence[str] = ("train", "val"),
    sources: AvaMirrors | None = None,
    num_at_once: int = 8,
    count: Callable[[int], None] | None = None,
) -> DownloadReport:
    """Fetch labels and movies that are not there yet; stopped anywhere, it can be started again.

    A movie counts as there if its size is the mirror's, its MD5 that of the list where the list
    has one, and it opens as a video. Test has no public labels: its table must lie in csv/.

    Args:
        root: The data set's folder.
        progress: Told how each file grows; several grow at once. Where a movie is done with,
            whatever became of it, it is told 1 of 1.
        splits: Of train, val, test.
        sources: Addresses.
        num_at_once: Movies that are fetched side by side.
        count: Told how many movies there are, before the first.

    Raises:
        ResourceError: Labels or list cannot be had, or the disk is full.
    """
    sources = sources or AvaMirrors()
    folder = AvaFolder(root)
    check_folder(root / "csv")
    for split in splits:
        if not folder.labels(split).is_file():
            download_labels(folder, split, sources, progress)
    report = DownloadReport()
    movies = _wanted(folder, splits, sources, progress, report)
    if count:
        count(len(movies))
    hook = _ProgressHook(progress)
    pool = ThreadPoolExecutor(num_at_once)
    try:
        tasks = {pool.submit(_fetch, movie, root, sources, hook): movie.name for movie in movies}
        for task in as_completed(tasks):
            _note(report, tasks[task], *task.result())
            hook.of(tasks[task])(1, 1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise ResourceError(
            f"the disk of {root} is full; what was fetched is kept: make room and start again"
        ) from error
    finally:
        hook.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        _write_report(root / REPORT, report)
    return report


class _ProgressHook:
    """Tells the progress of several threads, one at a time, and stops them."""

    def __init__(self, progress: Progress) -> None:
        self.stop = threading.Event()
        self._progress = progress
        self._lock = threading.Lock()

    def of(self, name: str) -> downloads.Progress:
        """Return the hook for one file."""

        def move(done: int, total: int | None) -> None:
            if self.stop.is_set():
                raise _StoppedError
            with self._lock:
                self._progress(name, done, total)

        return move


class _StoppedError(Exception):
    """The other downloads failed or the user gave up; what has come so far is kept."""


def _wanted(
    folder: AvaFolder,
    splits: Sequence[str],
    sources: AvaMirrors,
    progress: Progress,
    report: DownloadReport,
) -> list[_Movie]:
    """Return the movies that the labels name; those that no list has are gone."""
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
            report.gone[video] = "the mirror's list of movies does not have it"
    return [listed[video] for video in videos if video in listed]


def read_list(path: Path, folder: str) -> list[_Movie]:
    """Read a list of movies: one file name a line, or name and MD5 with a comma between."""
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
    """Fetch a movie; return the report's field that it belongs to, and why."""
    address = f"{sources.movies}/{movie.folder}/{movie.name}"
    path = root / "orig_videos" / movie.folder / movie.name
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        num_bytes = _num_bytes(address)
    except urllib.error.HTTPError as error:
        return _without(error.code, path)
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


def _without(code: int, path: Path) -> tuple[str, str]:
    """Return what becomes of a movie that the mirror does not give, by HTTP's status."""
    if code in (*GONE, REFUSED) and path.is_file():
        return "already", ""
    why = f"HTTP {code}" + (", the server refuses it" if code == REFUSED else "")
    return ("gone" if code in GONE else "failed"), why


def _fetch_part(
    address: str, part: Path, num_bytes: int | None, progress: downloads.Progress
) -> str:
    """Fetch a file, going on where an earlier try broke off; return what is wrong, or nothing."""
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
    """Return the size of a file on the server, None where it does not say."""
    request = urllib.request.Request(address, headers={"User-Agent": "talknet"}, method="HEAD")
    with urllib.request.urlopen(request, timeout=downloads.TIMEOUT_S) as response:
        length = response.headers.get("Content-Length")
    return int(length) if length else None


def _note(report: DownloadReport, name: str, outcome: str, why: str) -> None:
    """Add what became of a movie to the report."""
    place = getattr(report, outcome)
    if isinstance(place, list):
        place.append(name)
    else:
        logger.warning("%s: %s", name, why)
        place[name] = why


def _write_report(stem: Path, report: DownloadReport) -> None:
    """Write a report as JSON and as text."""
    contents = {".json": json.dumps(asdict(report), indent=1) + "\n", ".txt": report.text()}
    for suffix, text in contents.items():
        with replacing(stem.with_suffix(suffix)) as temporary:
            temporary.write_text(text, encoding="utf-8")
