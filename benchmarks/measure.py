"""Time functions against each other and report the results."""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def parse(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    repeats: int = 5,
    threads: int | None = None,
) -> argparse.Namespace:
    """Add the flags common to all timings, parse, and set the number of threads."""
    import torch

    cores = "processor cores to use" + ("; default: all" if threads is None else "")
    parser.add_argument(
        "--repeats", type=int, default=repeats, help="runs of each; the median is reported"
    )
    parser.add_argument("--threads", type=int, default=threads, help=cores)
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    return options


def measure(functions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median time of each function in seconds.

    They run in turn, after one warm-up run each, so that other load on the machine affects all of
    them alike: the ratios are more reliable than the times.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def report(rows: Sequence[Mapping[str, object]], path: Path | None) -> None:
    """Print rows as an aligned table; write them and the machine to `path` as JSON.

    Args:
        rows: Values by column; a missing column is left empty.
        path: JSON file; None to print only.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns] + [[_cell(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"machine": describe_machine(), "rows": [dict(row) for row in rows]})
        path.write_text(text + "\n", encoding="utf-8")


def describe_machine() -> dict[str, str | int]:
    """Return the processor, cores, system and versions that a time depends on."""
    import torch

    description: dict[str, str | int] = {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
    if torch.cuda.is_available():
        description["gpu"] = torch.cuda.get_device_name()
    return description


def _processor() -> str:
    """Return the processor's name, on Linux from /proc/cpuinfo."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
