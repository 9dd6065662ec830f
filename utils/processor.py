"""Processor cores and memory available to this process."""

import os
from pathlib import Path

LIMIT = "TALKNET_NUM_CORES"  # environment variable: a worker's share of the cores
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
    share = os.environ.get(LIMIT, "")
    return max(1, min(found, int(share))) if share.isdecimal() else found


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
