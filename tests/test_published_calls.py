"""Programs that call the published demo, and read its folders, work as they stand."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.networks.lr_asd import LRASD
from model.networks.talknet import TalkNet
from tests.made_video import write_video
from tests.parity.filled import filled, published_name
from tests.programs import ROOT

PRETRAIN = os.environ.get("TALKNET_PRETRAIN", "")
NOWHERE = "http://127.0.0.1:9"  # a proxy that answers nobody: nothing is downloaded

# Cuts a clip's sound, makes folders, calls the demo and reads what it wrote; needs nothing of ours.
CALLER = """
import pickle, subprocess, sys, wave
from pathlib import Path

import cv2

base, name, command = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
clip = base / name
(clip / "pywork").mkdir(parents=True, exist_ok=True)
(clip / "pyframes").mkdir(exist_ok=True)
(clip / "pyavi").mkdir(exist_ok=True)
(clip / "pyavi" / "audio.wav").write_bytes(b"")
subprocess.run(command, cwd=sys.argv[4], shell=True, check=True)
with open(clip / "pywork" / "tracks.pckl", "rb") as file:
    tracks = pickle.load(file)
with open(clip / "pywork" / "scores.pckl", "rb") as file:
    scores = pickle.load(file)
images = sorted((clip / "pyframes").glob("*.jpg"))
faces = [[] for _ in images]
for index, track in enumerate(tracks):
    assert sorted(track) == ["proc_track", "track"]
    assert sorted(track["track"]) == ["bbox", "frame"]
    assert track["track"]["bbox"].shape == (len(track["track"]["frame"]), 4)
    score_array = scores[index].tolist()
    for place, frame in enumerate(track["track"]["frame"].tolist()):
        near = score_array[max(place - 30, 0) : min(place + 30, len(score_array))]
        x, y, s = (track["proc_track"][key][place] for key in "xys")
        faces[frame].append((sum(near) / max(len(near), 1), float(x), float(y), float(s)))
with wave.open(str(clip / "pyavi" / "audio.wav")) as sound:
    form = sound.getnchannels(), sound.getframerate(), sound.getsampwidth(), sound.getnframes()
shape = cv2.imread(str(images[0])).shape
print(len(images), images[0].name, sum(map(len, faces)) > 30, form, shape)
assert not {"utils", "model", "talkNet"} & set(sys.modules)
"""


def demo_images(num_frames: int) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(ROOT / "demo" / "001.mp4")) as container:
        for _, frame in zip(range(num_frames), container.decode(video=0), strict=False):
            yield frame.to_ndarray(format="rgb24", width=640, height=360)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with two seconds of the demo, and files beside it that are no videos."""
    folder = tmp_path_factory.mktemp("clips")
    noise = np.random.default_rng(1).integers(-6000, 6000, 32000, dtype=np.int16)
    write_video(folder / "clip_0.mp4", demo_images(50), sound=noise)
    for suffix in (".json", ".srt"):
        (folder / f"clip_0{suffix}").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make weights under the names that they are published under."""
    folder = tmp_path_factory.mktemp("weights")
    for name, network in (("pretrain", TalkNet()), ("finetuning", LRASD())):
        state = filled(network).state_dict()
        published = {published_name(network, key): value for key, value in state.items()}
        torch.save(published, folder / f"{name}_TalkSet.model")
    return folder


def call(folder: Path, command: str, cwd: Path, environment: Mapping[str, str]) -> str:
    """Run the caller for clip_0 in `folder`; return what it prints last."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", CALLER, folder, "clip_0", command, cwd],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


FOUND = "50 000001.jpg True (1, 16000, 2, 32000) (360, 640, 3)"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clip_0", "clip_0.mp4"])
def test_calls_of_the_published_demo(clips: Path, weights: Path, name: str) -> None:
    environment = {
        "TALKNET_OFFICIAL_TREE": "1",
        "TALKNET_PRETRAIN": str(weights),
        "https_proxy": NOWHERE,
    }
    command = (
        f"{sys.executable} demoTalkNet.py --videoName {name} --videoFolder {clips} "
        "--pretrainModel pretrain_TalkSet.model --nDataLoaderThread 4"
    )
    assert call(clips, command, ROOT, environment) == FOUND


@pytest.mark.slow
def test_calls_under_the_name_of_lr_asd(clips: Path, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "weight").symlink_to(weights)
    command = (
        f"{sys.executable} {ROOT / 'Columbia_test.py'} --videoName clip_0 "
        f"--videoFolder {clips} --pretrainModel weight/finetuning_TalkSet.model"
    )
    environment = {"TALKNET_PRETRAIN": str(tmp_path), "https_proxy": NOWHERE}
    assert call(clips, command, tmp_path, environment) == FOUND


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.skipif(not PRETRAIN, reason="needs released weights")
def test_published_weights_are_found_without_the_file(clips: Path) -> None:
    command = f"{sys.executable} Columbia_test.py --videoName clip_0 --videoFolder {clips}"
    environment = {"TALKNET_PRETRAIN": PRETRAIN, "https_proxy": NOWHERE}
    assert call(clips, command, ROOT, environment) == FOUND
