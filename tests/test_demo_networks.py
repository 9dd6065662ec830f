"""The demo scores two faces with every network, and rejects options that do not fit."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from demoTalkNet import main
from model.checkpoints import training as checkpoints
from model.checkpoints.build import build_network, network_class
from model.contract import ContextNetwork
from model.names import network_names
from tests.made_video import write_video

NUM_FRAMES = 60
FACES = {"anna": (5, 55), "ben": (15, 40)}  # frames [start, stop)
SMALL: dict[str, dict[str, Any]] = {
    "asc": {"length": 3, "num_speakers": 2},
    "asc_encoder": {"clip_length": 3},
    "asdnet": {"length": 4, "num_speakers": 2},
    "asdnet_encoder": {"video_backbone": "mobilenetv2", "clip_length": 4, "width": 0.45},
    "ava_asd": {"num_frames": 2, "size": 36},
    "loconet": {"num_layers": 1},
}

Saved = Callable[..., Path]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Save a network with fresh weights, small by default, and return the file."""
    folder = tmp_path_factory.mktemp("weights")

    def save(name: str, variant: dict[str, Any] | None = None) -> Path:
        variant = SMALL.get(name, {}) if variant is None else variant
        path = folder / f"{name}_{'_'.join(map(str, variant.values()))}.model"
        if not path.is_file():
            with torch.random.fork_rng([]):
                torch.manual_seed(0)
                checkpoints.save(path, build_network(name, variant), {})
        return path

    return save


def images() -> Iterator[NDArray[np.uint8]]:
    scene = np.random.default_rng(0).integers(60, 120, (64, 128, 3), dtype=np.uint8)
    for index in range(NUM_FRAMES):
        image = scene.copy()
        image[30 : 32 + index % 5, 30:50] = 200
        image[30 : 32 + index % 3, 80:100] = 30
        yield image


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("video")
    time = np.arange(16000 * NUM_FRAMES // 25) / 16000
    sound = 6000 * np.sin(2 * np.pi * (200 + 300 * time) * time) * (1 + np.sin(20 * time)) / 2
    write_video(folder / "two.mp4", images(), sound=sound.astype(np.int16))
    write_video(folder / "mute.mp4", images())
    silence = np.zeros(len(time), np.int16)
    write_video(folder / "silent.mkv", images(), sound=silence, audio_codec="pcm_s16le")
    rows = [
        f"{name},{frame},{left},10,{left + 40},50"
        for (name, (start, stop)), left in zip(FACES.items(), (20, 70), strict=True)
        for frame in range(start, stop)
    ]
    (folder / "boxes.csv").write_text("\n".join(["track,frame,x1,y1,x2,y2", *rows]) + "\n")
    return folder


def scored(made: Path, to: Path, video: str, *given: object) -> dict[str, Any]:
    """Run the command on a video and return its result."""
    arguments = [made / video, "--tracks", made / "boxes.csv", "--outputFolder", to, "--noVideo"]
    assert main([*map(str, arguments), *map(str, given)]) == 0
    result: dict[str, Any] = json.loads((to / Path(video).stem / "result.json").read_text())
    return result


def weights_of(name: str, saved: Saved) -> list[object]:
    """Return the flags that name a network and its weights."""
    kind = network_class(name)
    encoder = kind.encoder_name if issubclass(kind, ContextNetwork) else ""
    if not encoder:
        return ["--model", name, "--pretrainModel", saved(name)]
    variant = dict(SMALL[name])
    return [
        *("--model", name, "--pretrainModel", saved(name, variant)),
        *("--encoderModel", saved(encoder)),
    ]


@pytest.mark.parametrize("name", network_names())
def test_every_network_scores_two_faces(
    name: str, made: Path, saved: Saved, tmp_path: Path
) -> None:
    given = weights_of(name, saved)
    result = scored(made, tmp_path, "two.mp4", *given)
    assert [(one["start_frame"], len(one["scores"])) for one in result["tracks"]] == [
        (start, stop - start) for start, stop in FACES.values()
    ]
    for track in result["tracks"]:
        assert np.isfinite(track["scores"]).all() and np.ptp(track["scores"]) > 0
        assert all(0 <= one <= 1 for one in track["probabilities"])
    record = result["network"]
    assert (record["name"], record["weights"]) == (name, Path(str(given[3])).name)
    assert (record.get("encoder") is not None) == ("--encoderModel" in given)
    if "--encoderModel" in given:
        assert record["encoder"]["weights"] == Path(str(given[5])).name


@pytest.mark.parametrize("video", ["mute.mp4", "silent.mkv"])
@pytest.mark.parametrize("mode", ["s_a", "s_v", "s_av_fc"])
def test_modes_of_ava_asd_without_sound(
    mode: str, video: str, made: Path, saved: Saved, tmp_path: Path
) -> None:
    weights = saved("ava_asd", {"mode": mode, "num_frames": 2, "size": 36})
    given = ("--model", "ava_asd", "--pretrainModel", weights, "--scoreSilence")
    result = scored(made, tmp_path, video, *given)
    likely = np.concatenate([track["probabilities"] for track in result["tracks"]])
    assert len(likely) == 75 and np.isfinite(likely).all() and likely.min() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ava_asd", "asc_encoder"])
def test_published_size(name: str, made: Path, saved: Saved, tmp_path: Path) -> None:
    result = scored(made, tmp_path, "two.mp4", "--model", name, "--pretrainModel", saved(name, {}))
    assert [len(track["scores"]) for track in result["tracks"]] == [50, 25]


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        ("asc", {"--encoderModel": "asc"}, "these are not asc_encoder weights"),
        ("asc", {"--encoderModel": "asdnet_encoder"}, "fits asdnet_encoder"),
        ("asdnet", {}, "asdnet_av_enc.pth is missing"),
        ("ava_asd", {"--encoderModel": "ava_asd"}, "builds on no other network"),
        ("ava_asd", {"--windows": "1,2"}, "--windows is of networks that read sequences"),
        ("asc", {"--encoderModel": "asc_encoder", "--windows": "1"}, "--windows is of networks"),
        ("lr_asd", {"--encoderModel": "asc_encoder"}, "builds on no other network"),
    ],
    ids=str,
)
def test_what_does_not_go_together(  # noqa: PLR0917
    model: str,
    given: dict[str, str],
    message: str,
    made: Path,
    saved: Saved,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TALKNET_PRETRAIN", str(tmp_path))  # which holds nothing
    flags = [made / "two.mp4", "--tracks", made / "boxes.csv", "--outputFolder", tmp_path]
    flags += ["--model", model, "--pretrainModel", saved(model)]
    for flag, value in given.items():
        flags += [flag, saved(value) if flag == "--encoderModel" else value]
    assert main([str(one) for one in flags]) == 1
    (error,) = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert message in error and "\n" not in error
