"""What the processor offers this process."""

import os


def num_cores() -> int:
    """Return how many cores this process may use, which on a cluster are not all."""
    if hasattr(os, "sched_getaffinity"):  # not every system has it
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
