"""Workers on a Ray cluster, or on this machine started by Ray.

Each actor owns a worker process, so a video that hangs or crashes costs that process alone, and the
time limit is the same as without Ray. Ray starts actors, shares CPUs and GPUs among them, and says
when one is gone with its machine.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from utils.batch.attempts import Attempts
from utils.batch.options import BatchOptions
from utils.batch.ray_address import ADVICE, check_cluster, use_token
from utils.batch.work import LoadedWorker, Outcome, VideoJob, Work
from utils.batch.worker import ROOT, Setting, Worker, check_same
from utils.errors import ResourceError
from utils.processor import available_memory, num_cores

logger = logging.getLogger(__name__)

WORKER_BYTES = 1_200_000_000  # a worker needs 0.6 to 0.8 GB for 720p; larger images need more
STORE_BYTES = 100_000_000  # of Ray's object store; only paths and outcomes pass through it
MOST_DEATHS = 3  # of actors in a row, for each worker, before one is ready
MOST_STARTS = 4  # of Ray, which gives up after 30 s
TOO_SLOW = "timed out"  # what that says
# Workers that ask for no part of a GPU see none, however many they are.
NO_GPU = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
# Beginnings of the names of variables that workers on other machines get too.
NAMES = ("TALKNET_", "CUDA_DEVICE_ORDER", "OMP_WAIT_POLICY")


class VideoActor:
    """Lives in a process of Ray and owns a worker process."""

    def __init__(self, work: Work, setting: Setting) -> None:
        """Prepare a worker."""
        self._worker = Worker(work, setting)

    def start(self) -> LoadedWorker:
        """Load the models."""
        return self._worker.start()

    def run(self, job: VideoJob) -> Outcome:
        """Do a job."""
        return self._worker.run(job)


@dataclass(frozen=True)
class WorkerShare:
    """What each worker gets, and how many there are."""

    num_workers: int
    threads: int
    gpus: float = 0.0


def share_machine(options: BatchOptions, num_videos: int) -> WorkerShare:
    """Divide this machine among workers: one thread each, unless memory or videos are fewer."""
    cores, memory = num_cores(), available_memory()
    most = min(cores, num_videos)
    if memory is not None:
        most = min(most, memory // WORKER_BYTES)
    num_workers = options.workers or max(1, most)
    return WorkerShare(num_workers, max(1, cores // num_workers), options.gpus_per_worker)


def share_cluster(
    nodes: Sequence[Mapping[str, float]], options: BatchOptions, num_videos: int
) -> WorkerShare:
    """Count the workers of one thread that a cluster holds.

    Args:
        nodes: Resources of each machine: CPU, GPU, memory (bytes).
        options: May give the number, and says what part of a GPU each takes.
        num_videos: There are not more workers than videos.
    """
    counts = []
    for node in nodes:
        limits = [node.get("CPU", 0.0), node.get("memory", 0.0) / WORKER_BYTES]
        if options.gpus_per_worker:
            limits.append(node.get("GPU", 0.0) / options.gpus_per_worker)
        counts.append(int(min(limits)))
    found = options.workers or min(sum(counts), num_videos)
    return WorkerShare(max(1, found), 1, options.gpus_per_worker)


class RayEngine:
    """The engine of a cluster."""

    def __init__(self, work: Work, options: BatchOptions, num_videos: int) -> None:
        """Prepare an engine; nothing is started before it is entered."""
        if options.ray != "local":
            use_token()
        try:
            import ray
        except ModuleNotFoundError:
            raise ResourceError(
                "--ray needs Ray: python -m pip install -r requirements-cluster.txt"
            ) from None
        self._ray: Any = ray
        self._work, self._options, self._num_videos = work, options, num_videos
        self._share = WorkerShare(1, 1)
        self._starting: dict[Any, Any] = {}  # actor by the answer that it owes
        self._running: dict[Any, tuple[Any, VideoJob]] = {}  # the same, and what it does
        self._idle: list[Any] = []
        self._first: LoadedWorker | None = None
        self._deaths = 0  # since an actor was ready
        self._refused = ""  # why the last worker could not load the models

    def __enter__(self) -> "RayEngine":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        local = self._options.ray == "local"
        more: dict[str, Any] = {}
        if local:
            self._share = share_machine(self._options, self._num_videos)
            cpus = self._share.num_workers * self._share.threads
            more = {"num_cpus": cpus, "object_store_memory": STORE_BYTES}
            more["include_dashboard"] = False
        else:
            check_cluster(self._options.ray)
        self._connect(more)
        if not local:
            nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            self._share = share_cluster(nodes, self._options, self._num_videos)
        return self

    def _connect(self, more: Mapping[str, Any]) -> None:
        """Start Ray or connect to a cluster; a busy machine may need several tries to start it."""
        cluster = self._options.ray
        for start in range(1, MOST_STARTS + 1):
            try:
                self._ray.init(
                    address=cluster,
                    runtime_env={"env_vars": {"PYTHONPATH": str(ROOT), **NO_GPU}},
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **more,
                )
            except Exception as error:  # Ray has no narrower one for a start that is too slow
                self._ray.shutdown()
                wrong = isinstance(error, ConnectionError | RuntimeError | ValueError)
                if wrong and cluster != "local":
                    raise ResourceError(
                        f"--ray {cluster}: expected a running Ray cluster, found: {error}; {ADVICE}"
                    ) from None
                if TOO_SLOW in str(error).lower():
                    logger.warning("Ray did not start within its own time limit")
                    if start < MOST_STARTS:
                        continue
                    raise ResourceError(
                        f"--ray {cluster}: Ray did not start in {MOST_STARTS} tries of 30 s: this "
                        "machine is too busy; wait, or use --shard instead"
                    ) from None
                raise
            return

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ray.shutdown()

    def start(self) -> LoadedWorker:
        """Start all workers; return what the first of them has loaded."""
        share = self._share
        logger.info("workers: %d, %d thread(s) each", share.num_workers, share.threads)
        for _ in range(share.num_workers):
            self._create()
        while self._first is None:
            self._receive()
        return self._first

    def outcomes(self, attempts: Attempts) -> Iterator[tuple[VideoJob, Outcome]]:
        """Yield each job with its final outcome as soon as that is known."""
        while True:
            while self._idle and (job := attempts.next()) is not None:
                actor = self._idle.pop()
                self._running[actor.run.remote(job)] = (actor, job)
            if not self._running and not attempts.waits():
                return
            for job, outcome in self._receive():
                if outcome is None:
                    attempts.put_back(job)
                elif attempts.settle(job, outcome):
                    yield job, outcome

    def _create(self) -> None:
        """Ask for a new actor; it starts as soon as some machine has room for it."""
        share = self._share
        kind = self._ray.remote(VideoActor)
        setting = Setting(share.threads, environment=_variables())
        actor = kind.options(num_cpus=share.threads, num_gpus=share.gpus).remote(
            self._work, setting
        )
        self._starting[actor.start.remote()] = actor

    def _receive(self) -> list[tuple[VideoJob, Outcome | None]]:
        """Wait for an answer; return the jobs that ended, without outcome if not tried."""
        errors = self._ray.exceptions
        waiting = [*self._starting, *self._running]
        if not waiting:
            raise ResourceError(f"no worker can load the models: {self._refused}")
        (answer, *_), _ = self._ray.wait(waiting, num_returns=1)
        actor, job = self._running.pop(answer, (None, None))
        actor = actor or self._starting.pop(answer)
        try:
            found = self._ray.get(answer)
            if job is None:
                self._first = self._first or found
                check_same(self._first, found)
        except errors.RayTaskError as error:  # it cannot load the models (any more)
            self._refuse(actor, str(error.cause))
            return [] if job is None else [(job, None)]
        except ResourceError as error:
            self._refuse(actor, str(error))
            return []
        except errors.RayActorError:  # it is gone, or its machine
            self._deaths += 1
            if self._deaths > MOST_DEATHS * self._share.num_workers:
                raise ResourceError(
                    f"{self._deaths} workers died in a row; use fewer --workers or machines with "
                    "more memory"
                ) from None
            self._create()
            lost = Outcome(error="the worker or its machine went away, again and again", lost=True)
            return [] if job is None else [(job, lost)]
        self._deaths = 0
        self._idle.append(actor)
        return [] if job is None else [(job, found)]

    def _refuse(self, actor: Any, reason: str) -> None:  # noqa: ANN401 - a handle of Ray
        """Use a worker no more."""
        self._ray.kill(actor)
        self._refused = reason
        logger.warning("a worker is not used: %s", reason)


def _variables() -> dict[str, str]:
    """Return the environment variables that workers on other machines need."""
    return {name: value for name, value in os.environ.items() if name.startswith(NAMES)}
