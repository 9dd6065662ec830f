"""Programs as a user starts them, in processes of their own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_python(*given: str | Path, processes: int = 1) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments in the project's folder; torchrun starts several at once."""
    launch = [sys.executable]
    if processes > 1:
        launch += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return subprocess.run(
        [*launch, *map(str, given)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1800,  # only against hanging: a slow machine with one core takes its time
        check=False,
    )
