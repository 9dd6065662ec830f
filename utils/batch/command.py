"""Analyse many videos: list, skip, run, record, summarise."""

import logging
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from utils.batch.attempts import Attempts
from utils.batch.collect import collect
from utils.batch.listing import list_videos
from utils.batch.options import BatchOptions
from utils.batch.records import Missing, SourceVersion, find_missing
from utils.batch.results_tree import STATE, ResultsTree, open_tree
from utils.batch.serial_engine import Engine, SerialEngine
from utils.batch.status import StatusLog, Tally, summarise, write_failed
from utils.batch.work import VideoJob, VideoWork, Work, digests
from utils.batch.worker import Setting
from utils.demo_options import DemoOptions
from utils.errors import UserError
from utils.files import check_folder, locked
from utils.output.results import Result
from utils.progress import QUIET_S

logger = logging.getLogger(__name__)

REPLACED = ("--list", "--outputFolder", "--shard")  # flags that a repetition gives anew or not


@dataclass(frozen=True)
class Batch:
    """The videos of this process, and where everything goes."""

    tree: ResultsTree
    folders: Mapping[Path, Path]  # results folder by video
    name: str  # of the lock, the states and the list of failures; differs between shards
    skips: bool  # leaves out what is done
    arguments: tuple[Path, ...] = ()  # files, folders and patterns that named the videos

    @property
    def status_path(self) -> Path:
        """The states of the videos."""
        return self.tree.output / f"status{self.name}.jsonl"

    @property
    def failed_path(self) -> Path:
        """The list of videos that failed."""
        return self.tree.output / f"failed{self.name}.txt"


def run_demo(
    paths: Sequence[Path],
    batch: BatchOptions,
    options: DemoOptions,
    functions: tuple[Callable[..., Any], Callable[..., Result]],
    arguments: Sequence[str],
) -> int:
    """Do what the demo's command line says of many videos; return the exit status.

    Args:
        paths: Files, folders and patterns.
        batch: Which videos, by whom, how often; or which results are collected.
        options: How they are analysed.
        functions: Load the models, and make the outputs of one video; see `VideoWork`.
        arguments: The command line.
    """
    if batch.collect is not None:
        return collect(batch)
    planned = plan(paths, options.video.output_folder, batch)
    if len(planned.folders) > 1 and (options.video.tracks or options.array.array):
        raise UserError("--tracks and --array belong to one video; give one file")
    work: VideoWork[Any] = VideoWork(options, *functions, digests(options))
    return run_batch(planned, batch, work, arguments)


def run_batch(batch: Batch, options: BatchOptions, work: Work, arguments: Sequence[str]) -> int:
    """Analyse the videos of a batch; return the exit status, which is 1 if any of them failed.

    Args:
        batch: What `plan` found.
        options: By whom the videos are analysed, how often each is tried.
        work: How one of them is analysed.
        arguments: The command line, from which that of a repetition is made.
    """
    if not batch.folders:
        logger.info("no video belongs to this shard")
        return 0
    with locked(batch.tree.output / STATE / f"run{batch.name}", "analysing videos"):
        tally = _run(batch, options, work)
    for line in summarise(tally):
        logger.info("%s", line)
    write_failed(batch.failed_path, list(tally.failed))
    if tally.failed:
        logger.info("to repeat only those that failed: %s", repeat_command(batch, arguments))
    return int(bool(tally.failed))


def plan(paths: Sequence[Path], output: Path | None, options: BatchOptions) -> Batch:
    """Find the videos of this process and their results folders; fails before any work."""
    shard = options.part
    listing = list_videos(paths, options.list, output)
    tree = open_tree(listing, output, shard)
    check_folder(tree.output)
    folders = tree.folders(listing.paths)
    mine = {path: folder for path, folder in folders.items() if shard.holds(tree.name(path))}
    return Batch(tree, mine, shard.suffix, not options.redo, tuple(paths))


def _run(batch: Batch, options: BatchOptions, work: Work) -> Tally:
    """Run all jobs of a batch."""
    with make_engine(options, work, len(batch.folders)) as engine:
        loaded = engine.start()
        for line in loaded.lines:
            logger.info("%s", line)
        log = StatusLog(batch.status_path, loaded.versions)
        with closing(BatchBar(batch.folders, log.tally)) as shown:
            jobs = _jobs(batch, options, work.outputs, loaded.identity, log, shown)
            for job, outcome in engine.outcomes(Attempts(jobs, options.tries)):
                log.add(job, outcome)
                shown.finish(job.path)
                with shown.hidden():
                    if outcome.error:
                        logger.error("error: %s: %s", job.path, outcome.error)
                    else:
                        print(job.folder / "result.json", flush=True)
    return log.tally


def make_engine(options: BatchOptions, work: Work, num_videos: int) -> Engine:
    """Return the engine that the options name."""
    if not options.ray:
        return SerialEngine(work, Setting())
    from utils.batch.ray_engine import RayEngine

    return RayEngine(work, options, num_videos)


def _jobs(
    batch: Batch,
    options: BatchOptions,
    outputs: Sequence[str],
    identity: Mapping[str, Any],
    log: StatusLog,
    shown: "BatchBar",
) -> Iterator[VideoJob]:
    """Yield the jobs that are to be done, checking one video after the other."""
    for path, folder in batch.folders.items():
        missing = Missing(False, tuple(outputs), "")
        if batch.skips and path.is_file():
            missing = find_missing(folder, SourceVersion.of(path), identity, outputs)
            if missing.finished and not missing.files:
                log.skip(path, folder)
                shown.skip(path)
                continue
        if missing.reason.startswith(("changed", "wanted")):
            with shown.hidden():
                logger.info("%s: %s", path, missing.reason)
        yield VideoJob(path, folder, options.timeout, 1, missing.finished, missing.files)


class BatchBar:
    """One line for all videos: how many came to what, and the time left by the bytes done."""

    def __init__(self, videos: Mapping[Path, Path], tally: Tally) -> None:
        """Show a line; without a terminal, one every 30 s."""
        self._tally, self._count = tally, len(videos)
        self._sizes = {path: _size(path) for path in videos}
        self._bar = tqdm(
            total=sum(self._sizes.values()),
            bar_format="{l_bar}{bar}| [{elapsed}<{remaining}{postfix}]",
            mininterval=0.1 if sys.stderr.isatty() else QUIET_S,
        )
        self._show()

    def finish(self, path: Path) -> None:
        """Count a video that is done or has failed."""
        self._bar.update(self._sizes[path])
        self._show()

    def skip(self, path: Path) -> None:
        """Leave a video out of the time that is estimated."""
        self._bar.total = (self._bar.total or 0) - self._sizes[path]
        self._show()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the line away while others are printed."""
        self._bar.clear()
        yield
        self._bar.refresh()

    def close(self) -> None:
        """Leave the line as it stands."""
        self._bar.close()

    def _show(self) -> None:
        tally = self._tally
        self._bar.set_postfix_str(
            f"{tally.done} done, {tally.skipped} skipped, {len(tally.failed)} failed of "
            f"{self._count}",
            refresh=False,
        )


def _size(path: Path) -> int:
    """Return the bytes of a file; 1 if there is none, so that all videos count."""
    try:
        return max(1, path.stat().st_size)
    except OSError:
        return 1


def repeat_command(batch: Batch, arguments: Sequence[str]) -> str:
    """Return the command line that analyses only the videos that failed.

    Args:
        batch: What was run.
        arguments: The command line of this run, without the program's name.
    """
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, _, value = argument.partition("=")
        if name in REPLACED:
            if not value:
                next(rest, None)
        elif argument not in ("--redo", "--skipDone") and Path(argument) not in batch.arguments:
            kept.append(argument)
    given = ["--list", str(batch.failed_path), "--outputFolder", str(batch.tree.output)]
    return shlex.join(["python", "demoTalkNet.py", *given, *kept])
