"""Made videos and the work on them, for worker processes: text files that say what to do."""

import ctypes
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from utils.batch.work import VideoJob
from utils.errors import ResourceError, UserError
from utils.files import replacing


@dataclass(frozen=True)
class MadeWork:
    """Reads what to do from the video itself; the result is its text and the setting."""

    setting: str = "a"
    outputs: tuple[str, ...] = ("result.json",)
    weights: Path | None = None  # read when the models are loaded

    def load(self) -> str:
        """Load what stands for models."""
        if self.weights is None:
            return "no weights"
        text = self.weights.read_text()
        if text == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if text == "bad":
            raise ResourceError("the weights cannot be had")
        return text

    def describe(self, models: str) -> tuple[Mapping[str, str], tuple[str, ...]]:
        """Return what results depend on."""
        return {"setting": self.setting, "weights": models}, (f"network: {models}",)

    def open(self, path: Path) -> tuple[str, float]:
        """Return the text of a video and the length that it claims, its second word."""
        text = path.read_text()
        words = text.split()
        return text, float(words[1]) if len(words) > 1 else 1.0

    def run(self, job: VideoJob, video: str, models: str) -> tuple[str, ...]:
        """Do what the first word says, then write the outputs."""
        text = video
        word = text.split()[0]
        print("printed:", word)
        if word == "hang" or (word == "hang-once" and job.attempt == 1):
            time.sleep(3600)
        elif word == "crash":
            ctypes.string_at(0)
        elif word == "corrupt":
            raise UserError(f"{job.path}: no video")
        elif word == "fault":
            raise ZeroDivisionError("a fault of the program")
        elif word == "slow":
            time.sleep(0.05)
        for name in job.missing or self.outputs:
            with replacing(job.folder / name) as temporary:
                temporary.write_text(f"{text} {self.setting} {models} {name}")
        return ("silent",) if word == "silent" else ()
