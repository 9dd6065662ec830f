"""A made analysis for the local page: what it does depends on the name of the network."""

import errno
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.made_report import made_result
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
