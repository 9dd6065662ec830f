"""The local page as it is served, with the command's analysis or a made one.

What the made analysis does depends on the name of the network.
"""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.made_report import made_result
from tests.programs import ROOT
from utils.demo_options import DemoOptions
from utils.media.container import ReadOptions, VideoInfo
from utils.media.video import VideoSpan
from utils.output.results import ModelRecord
from utils.report.outputs import Found

MODELS = ("auto", "hang", "die", "die-once", "full")


def load_models(options: DemoOptions) -> Any:
    """Return what stands for models."""
    return SimpleNamespace(network_record=ModelRecord(options.model.model))


def analyse(
    video: VideoInfo, models: object, options: DemoOptions, watch: Callable[[float, int], None]
) -> Found:
    """Return a made result, or do what the network's name says."""
    time.sleep(0.3)  # progress is written at most every quarter of a second
    assert models is not None
    watch(1.0, 2)
    model = options.model.model
    mark = Path(os.environ.get("MADE_SERVED", "")) / "died"
    if model == "hang":
        time.sleep(3600)
    elif model == "die" or (model == "die-once" and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    elif model == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    result = made_result()
    facts = replace(result.video, path=str(video.path))
    return Found(replace(result, video=facts), VideoSpan(video, ReadOptions()))


@contextmanager
def served_command(folder: Path, *flags: str) -> Iterator[str]:
    """Start the command that serves the page; yield the address that it prints; stop it."""
    command = [sys.executable, "demoTalkNet.py", "--serve", "--port", "0"]
    command += ["--outputFolder", str(folder), *flags]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().split()[1]
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait() == 1
