"""Processor cores and memory available to this process."""

import ctypes
import gc
import math
import os
import sys
from pathlib import Path

LIMIT = "TALKNET_NUM_CORES"  # environment variable: a worker's share of the cores
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # of a container: processor time per period, both in us
ARENA_MAX = -8  # of glibc's mallopt: how many pools of memory threads allocate from
MEMORY_INFO = Path("/proc/meminfo")
MEMORY_LIMITS = (  # of a container or a job, and what it uses
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def num_cores() -> int:
    """Return the number of cores this process may use; on a cluster, fewer than the machine has."""
    found = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not every system has it
        found = len(os.sched_getaffinity(0))
    found = min(found, _container_cores() or found)
    share = os.environ.get(LIMIT, "")
    return max(1, min(found, int(share))) if share.isdecimal() else found


def use_cores(limit: int | None) -> None:
    """Let the libraries of this process, and processes it starts, use at most `limit` cores each.

    Call it before torch is imported. With None they count the cores themselves, but are told of a
    container's limit, which they do not know. Threads of torch without work sleep: by default they
    spin, which more than doubles the time of scoring if the cores are shared with other processes.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if limit is not None:
        os.environ[LIMIT] = str(limit)
        os.environ["OMP_NUM_THREADS"] = str(num_cores())
    elif _container_cores() is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(num_cores()))
    else:
        return
    import cv2

    cv2.setNumThreads(num_cores())
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(num_cores())


def share_memory() -> None:
    """Let all threads allocate from one pool of memory, if the C library has several.

    Images are made by one thread and dropped by another; in pools of their own, their memory is
    seldom used again: the marked video of 720p then takes 90 MB more.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's; others have one pool
        if mallopt is not None:
            mallopt(ARENA_MAX, 1)


def release_memory() -> None:
    """Give the memory that is no longer used back to the system, between two videos.

    The C library keeps it otherwise, in pieces that the next video uses badly: each one would take
    one or two MB more than the one before.
    """
    gc.collect()  # finished pipelines refer to themselves
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
        if trim is not None:
            trim(0)


def encoder_threads() -> int:
    """Return how many threads an encoder of videos is given; 0 lets it choose by the cores."""
    cores = num_cores()
    return 0 if cores == os.cpu_count() else cores


def _container_cores() -> int | None:
    """Return the cores that a container's limit on processor time amounts to, rounded up."""
    try:
        time_us, period_us = CPU_LIMIT.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return max(1, math.ceil(int(time_us) / int(period_us))) if time_us.isdecimal() else None


def available_memory() -> int | None:
    """Return how many bytes of memory are free for this process; None if the system tells not."""
    try:
        lines = MEMORY_INFO.read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return None
    sizes = dict(line.split(":", 1) for line in lines)
    found = int(sizes["MemAvailable"].split()[0]) * 1024
    for limit, used in MEMORY_LIMITS:
        try:
            texts = [Path(path).read_text(encoding="ascii").strip() for path in (limit, used)]
        except OSError:
            continue
        if all(text.isdecimal() for text in texts):  # a limit may be "max"
            found = min(found, max(0, int(texts[0]) - int(texts[1])))
    return found
