"""Processor cores available to this process."""

import os


def num_cores() -> int:
    """Return the number of cores this process may use; on a cluster, fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # missing on some systems
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
