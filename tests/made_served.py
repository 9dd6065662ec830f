"""The local page as it is served, with the command's analysis or a made one.

What the made analysis does depends on the name of the network.
"""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from demoTalkNet import make_parser
from tests.made_report import made_result
from tests.programs import ROOT
from utils.demo_options import DemoOptions
from utils.flags import read_groups
from utils.media.container import ReadOptions, VideoInfo
from utils.media.video import VideoSpan
from utils.output.results import ModelRecord
from utils.report.outputs import Found
from utils.server.app import make_app
from utils.server.guard import Guard
from utils.server.http_server import PageServer, listen
from utils.server.jobs import JobStore
from utils.server.runner import Runner, ServedWork

MAX_BYTES = 2_000_000
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


def made_app(folder: Path, host: str = "127.0.0.1", token: str = "") -> tuple[Guard, Runner]:
    """Return the guarded application with the made analysis, and what runs its jobs."""
    options = read_groups(make_parser().parse_args([]), DemoOptions)
    store = JobStore(folder)
    runner = Runner(store, ServedWork(options, load_models, analyse))
    return Guard(make_app(store, runner, MODELS, MAX_BYTES), host, token), runner


@contextmanager
def served(folder: Path, port: int = 0) -> Iterator[str]:
    """Serve the page with the made analysis; yield its address; stop as Ctrl-C does."""
    app, runner = made_app(folder)
    with listen("127.0.0.1", port) as listener:
        server = PageServer(app, runner.stopping)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server has ended"
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


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
