"""Every staged way of working, as a user types it, on made videos: and each of them learns it.

Faces are read in a few pixels, so that it takes seconds; all else is as for the real data.
"""

import csv
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import trainTalkNet
from model.checkpoints import training as checkpoints
from model.checkpoints.build import build_network
from model.networks.asc_encoder import ASCEncoder
from model.networks.asdnet_encoder import ASDNetEncoder
from model.networks.loconet import LoCoNet
from tests.made_training import write_talks
from tests.programs import run_python
from utils.datasets.storage.feature_store import (
    FeatureFormat,
    FeatureStore,
    FeatureStoreWriter,
    VideoFeatures,
)
from utils.metrics.average_precision import FaceRows, read_predictions

pytestmark = pytest.mark.slow

TRAIN, VAL = (1, 2, 3) * 5, (1, 2, 3, 3)  # faces of each video
NUM_FRAMES = 16  # of a video
LEARNT = 0.8  # average precision; chance is 0.3
ABOVE_CHANCE = 0.5  # 0.3 is chance; so few steps of a deep network vary with the number of threads
SHUFFLE = "video_backbone=shufflenetv2,width=0.5,clip_length=8"


@pytest.fixture(scope="module", autouse=True)
def small_pictures() -> Iterator[None]:
    """Let the networks read small faces: any size is right for them, but theirs takes long.

    LoCoNet's statistics follow within a few batches; as published they take hundreds.
    """
    with pytest.MonkeyPatch.context() as patch:
        quick = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.3)
        patch.setattr("model.layers.talknet_parts._norm", quick)
        for kind, size in ((ASCEncoder, 32), (ASDNetEncoder, 32), (LoCoNet, 16)):
            patch.setattr(kind, "inputs", replace(kind.inputs, size=size))
        yield


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talks")
    for seed, (split, num_faces) in enumerate((("train", TRAIN), ("val", VAL))):
        write_talks(folder / split, num_faces, seed, NUM_FRAMES)
    return folder


def arguments(talks: Path, *more: str | Path) -> list[str]:
    where = ["--data", "talkset", "--dataPath", str(talks), "--device", "cpu"]
    return [*where, "--nDataLoaderThread", "0", *map(str, more)]


def train(talks: Path, save: Path, *more: str | Path) -> Path:
    """Train a network from random weights; return its best weights."""
    given = arguments(talks, "--initial", "none", "--savePath", save, *more)
    assert trainTalkNet.main(given) == 0
    return checkpoints.best_path(save)


@pytest.fixture(scope="module")
def ste(talks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return weights of a short-term encoder."""
    save = tmp_path_factory.mktemp("asc_encoder")
    how = ("--variant", "clip_length=3", "--batchSize", "5", "--lr", "1e-3", "--maxEpoch", "6")
    return train(talks, save, "--model", "asc_encoder", *how, "--testInterval", "2")


@pytest.fixture(scope="module")
def features(talks: Path, ste: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the embeddings of all faces."""
    folder = tmp_path_factory.mktemp("features")
    given = ("--model", "asc_encoder", "--pretrainModel", ste, "--forward", "--features", folder)
    assert trainTalkNet.main(arguments(talks, *given)) == 0
    return folder


@pytest.fixture(scope="module")
def asc(talks: Path, features: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return weights of a context network that was trained on them."""
    save = tmp_path_factory.mktemp("asc")
    how = ("--variant", "length=5", "--batchSize", "16", "--lr", "1e-3", "--maxEpoch", "2")
    return train(talks, save, "--model", "asc", "--features", features, *how)


def best_ap(weights: Path) -> float:
    """Return the average precision that weights are the best with."""
    ap: float = checkpoints.load(weights)["training"]["row"]["ap"]
    return ap


def judge(talks: Path, save: Path, weights: Path, *more: str | Path) -> FaceRows:
    """Evaluate weights by the command; return what it wrote."""
    given = arguments(talks, "--evaluation", "--pretrainModel", weights, "--savePath", save, *more)
    assert trainTalkNet.main(given) == 0
    return read_predictions(save / "val_res.csv")


def assert_whole(found: FaceRows) -> None:
    """Assert that all frames are scored, also of a face that is alone in its video."""
    assert len(found) == NUM_FRAMES * sum(VAL)
    assert ("video0", "video0:0") in found.entities


def evaluated(printed: str) -> float:
    found = re.fullmatch(r"mAP (\d+\.\d\d)%\n", printed)
    assert found is not None, printed
    return float(found.group(1)) / 100


def test_asc(
    talks: Path,
    ste: Path,
    features: Path,
    asc: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Encoder, features, context network, evaluation; a video with one face has its scores too."""
    assert best_ap(ste) > LEARNT
    assert best_ap(asc) > LEARNT
    capsys.readouterr()
    how = ("--model", "asc", "--features", features)
    plain = judge(talks, tmp_path / "plain", asc, *how)
    assert evaluated(capsys.readouterr().out) == pytest.approx(best_ap(asc), abs=6e-5)
    smooth = judge(talks, tmp_path / "smooth", asc, *how, "--smooth", "5")
    assert evaluated(capsys.readouterr().out) > LEARNT
    assert_whole(plain)
    assert_whole(smooth)
    assert np.isfinite(plain.values).all()
    assert not np.array_equal(plain.values, smooth.values)


def test_forward_goes_on_where_it_was_stopped(talks: Path, ste: Path, features: Path) -> None:
    """Videos that are there stay untouched, the others come out as in one go."""
    there = {path.relative_to(features): path.stat().st_mtime_ns for path in features.glob("*/*")}
    lost = [Path("train/video4.features"), Path("val/video1.features")]
    before = [(features / path).read_bytes() for path in lost]
    for path in lost:
        (features / path).unlink()
    half_written = features / "train" / ".video4.0123.features"
    half_written.write_bytes(before[0][:100])
    given = ("--model", "asc_encoder", "--pretrainModel", ste, "--forward", "--features", features)
    assert trainTalkNet.main(arguments(talks, *given)) == 0
    assert [(features / path).read_bytes() for path in lost] == before
    untouched = [path for path in there if path not in lost]
    assert [(features / path).stat().st_mtime_ns for path in untouched] == [
        there[path] for path in untouched
    ]
    half_written.unlink()
    store = FeatureStore(features / "train")
    store.verify()
    assert sum(store.num_rows) == NUM_FRAMES * sum(TRAIN)


def write_features(
    folder: Path, form: FeatureFormat, splits: Sequence[str] = ("train", "val")
) -> None:
    """Write a store of one video with two faces."""
    rng = np.random.default_rng(0)
    for split in splits:
        FeatureStoreWriter(folder / split, form).add(
            VideoFeatures(
                "one",
                ["a", "b"],
                [4, 4],
                np.tile(np.arange(4) / 25, 2),
                np.array([0, 1, 1, 0, 0, 0, 0, 0], np.int8),
                rng.normal(0, 1, (8, 2)).astype(np.float32),
                rng.normal(0, 1, (8, form.num_embedding)).astype(np.float32),
            )
        )


def refused(given: list[str], caplog: pytest.LogCaptureFixture) -> str:
    """Run a command that must fail; return its output."""
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        assert trainTalkNet.main(given) == 1
    return caplog.messages[-1]


def test_features_that_do_not_fit(
    talks: Path, features: Path, asc: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save = ("--savePath", tmp_path / "save")

    def error_of(*more: str | Path) -> str:
        return refused(arguments(talks, *save, *more), caplog)

    assert "asc reads stored embeddings: pass --features" in error_of("--model", "asc")
    assert "create them with --model asc_encoder --forward --features DIR" in error_of(
        "--model", "asc", "--features", tmp_path / "nowhere"
    )
    found = error_of("--model", "asdnet", "--features", features)
    assert "expected features of asdnet_encoder, 672 channels, found asc_encoder, 1024" in found
    other = FeatureFormat("asc_encoder", 1024, 5, "f" * 64)
    write_features(tmp_path / "other", other)
    judge = ("--model", "asc", "--evaluation", "--pretrainModel", asc)
    found = error_of(*judge, "--features", tmp_path / "other")
    assert f"on which {asc} was trained" in found
    assert "found asc_encoder, 1024 channels, clips of 5 frames, weights ffffffffffff" in found
    write_features(tmp_path / "mixed", other, ["train"])
    write_features(tmp_path / "mixed", replace(other, clip_length=7), ["val"])
    found = error_of("--model", "asc", "--features", tmp_path / "mixed")
    assert re.search(
        r"mixed/val: expected .* clips of 5.* as in .*mixed/train, found .*of 7", found
    )
    found = error_of(*judge, "--features", features, "--windows", "1")
    assert "--windows is of networks that read the sequence of one face" in found


def test_weights_that_do_not_fit(
    talks: Path, features: Path, asc: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A store is of one network, one clip length and one file of weights."""
    longer = tmp_path / "longer.model"
    checkpoints.save(longer, build_network("asc_encoder", {"clip_length": 5}), {})
    encode = ("--model", "asc_encoder", "--forward", "--features")
    found = refused(arguments(talks, *encode, features, "--pretrainModel", longer), caplog)
    assert re.search(
        "expected features of .*clips of 5 .*found .*clips of 3 .*another folder", found
    )
    found = refused(arguments(talks, *encode, tmp_path / "f", "--pretrainModel", asc), caplog)
    assert "these are not asc_encoder weights" in found
    assert "the file fits asc" in found
    compare = ("--model", "asc", "--forward", "--features", features, "--pretrainModel", asc)
    assert "--forward is for clip networks" in refused(arguments(talks, *compare), caplog)
    begin = ("--model", "asc_encoder", "--initial", tmp_path / "none.pth")
    found = refused(arguments(talks, *begin, "--savePath", tmp_path / "s"), caplog)
    assert "found no file" in found and "--initial none starts at random" in found
    wrong = ("--model", "asc_encoder", "--variant", "length=5", "--savePath", tmp_path / "s")
    found = refused(arguments(talks, *wrong), caplog)
    assert "expected key=value; asc_encoder has clip_length=11" in found


def test_asdnet(talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin = ("--model", "asdnet_encoder", "--variant", SHUFFLE, "--batchSize", "5", "--lr", "1e-3")
    how = ("--maxEpoch", "10", "--testInterval", "10")
    encoder = train(talks, tmp_path / "encoder", *begin, *how)
    assert best_ap(encoder) > ABOVE_CHANCE
    stored = ("--features", tmp_path / "features")
    forward = ("--model", "asdnet_encoder", "--pretrainModel", encoder, "--forward", *stored)
    assert trainTalkNet.main(arguments(talks, *forward)) == 0
    compare = ("--model", "asdnet", *stored)
    more = ("--variant", "length=8,num_speakers=3", "--batchSize", "16", "--lr", "1e-3")
    weights = train(talks, tmp_path / "context", *compare, *more, "--maxEpoch", "3")
    assert best_ap(weights) > ABOVE_CHANCE
    capsys.readouterr()
    found = judge(talks, tmp_path / "judged", weights, *compare)
    assert evaluated(capsys.readouterr().out) == pytest.approx(best_ap(weights), abs=6e-5)
    assert_whole(found)


def test_loconet(talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    how = ("--variant", "num_layers=1", "--batchSize", "32", "--lr", "1e-4", "--maxEpoch", "2")
    weights = train(talks, tmp_path / "run", "--model", "loconet", *how, "--testInterval", "2")
    assert best_ap(weights) > LEARNT
    capsys.readouterr()
    found = judge(talks, tmp_path / "judged", weights, "--model", "loconet")
    assert evaluated(capsys.readouterr().out) == pytest.approx(best_ap(weights), abs=6e-5)
    assert_whole(found)


@pytest.mark.parametrize("name", ["asc_encoder", "asc"])
def test_two_processes_learn_what_one_does(
    name: str, talks: Path, features: Path, tmp_path: Path
) -> None:
    """By steps too small to move a weight; what they learn is compared in double precision.

    Adam's steps are as long for a gradient of rounding errors as for any other.
    """
    how: dict[str, tuple[str | Path, ...]] = {
        "asc_encoder": ("--variant", "clip_length=1", "--initial", "none", "--batchSize", "7"),
        "asc": ("--variant", "length=5", "--features", features, "--batchSize", "31"),
    }
    rows = []
    for processes in (1, 2):
        save = tmp_path / str(processes)
        learn = ("--maxEpoch", "1", "--lr", "1e-12", *how[name])
        given = arguments(talks, "--model", name, *learn, "--savePath", save)
        done = run_python("trainTalkNet.py", *given, processes=processes)
        assert done.returncode == 0, done.stderr[-3000:]
        with (save / "log.csv").open() as file:
            rows += list(csv.DictReader(file))
    one, two = rows
    assert one["frames"] == two["frames"]
    assert float(two["loss"]) == pytest.approx(float(one["loss"]), rel=1e-4)
    assert float(two["ap"]) == pytest.approx(float(one["ap"]), abs=1e-3)
