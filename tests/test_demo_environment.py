"""The command works wherever it is installed and started, and in parallel."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from model.networks.light_asd import LightASD
from tests.made_video import write_video
from tests.parity.filled import filled, published_name
from tests.programs import ROOT

OUTPUTS = {
    *("result.json", "scores.csv", "speech.csv", "speech.rttm", "speech.vtt", "people.csv"),
    *("timeline.png", "report.html", "video_out.mp4"),
}
PARTS = ("demoTalkNet.py", "talkNet.py", "utils", "model", "pretrain")  # of an installation


@pytest.fixture
def arguments(tmp_path: Path) -> list[str | Path]:
    """Arguments for a video with a name beyond ASCII, and boxes and weights for it."""
    video, boxes, weights = (tmp_path / name for name in ("日本 é.mp4", "boxes.csv", "a.model"))
    images = [np.full((64, 96, 3), 90, np.uint8)] * 25
    write_video(video, images, sound=np.zeros(16000, np.int16))
    rows = [f"née,{frame},20,10,60,50" for frame in range(25)]
    boxes.write_text("\n".join(["track,frame,x1,y1,x2,y2", *rows]) + "\n", encoding="utf-8")
    network = filled(LightASD())
    state = {published_name(network, key): value for key, value in network.state_dict().items()}
    torch.save(state, weights)
    return [video, "--tracks", boxes, "--pretrainModel", weights, "--embedder", "none"]


def start(
    folder: Path, given: list[str | Path], environment: Mapping[str, str], *flags: str
) -> "subprocess.Popen[bytes]":
    command = [sys.executable, *flags, "demoTalkNet.py", *map(str, given)]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def written(folder: Path) -> set[str]:
    """Return the names in a folder of results; its tables must be readable."""
    result = json.loads((folder / "result.json").read_text())
    assert [len(track["scores"]) for track in result["tracks"]] == [25]
    return {path.name for path in folder.iterdir()}


def snapshot(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_bare_environment_and_a_read_only_installation(
    tmp_path: Path, arguments: list[str | Path]
) -> None:
    """Neither language nor home folder nor assertions are needed, nor a place to write beside."""
    installed = tmp_path / "installed"
    for name in PARTS:
        source, target = ROOT / name, installed / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    for path in (*installed.rglob("*"), installed):
        path.chmod(path.stat().st_mode & ~0o222)
    before = snapshot(installed)
    plain = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **plain}
    done = start(installed, arguments, environment, "-O")
    out, errors = done.communicate(timeout=300)
    for path in (installed, *installed.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)  # for pytest to remove it
    assert done.returncode == 0, errors
    folder = Path(arguments[0]).with_suffix("")
    assert out == os.fsencode(folder / "result.json") + b"\n"
    assert written(folder) == OUTPUTS
    assert snapshot(installed) == before


@pytest.mark.slow
def test_two_processes_write_into_one_folder(arguments: list[str | Path]) -> None:
    both = [start(ROOT, arguments, os.environ) for _ in range(2)]
    for done in both:
        _, errors = done.communicate(timeout=300)
        assert done.returncode == 0, errors
    assert written(Path(arguments[0]).with_suffix("")) == OUTPUTS
