"""A localizer learns to localise; an interrupted run gives the result of an uninterrupted one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.arrays.command import main
from model.arrays.training import LocalizerTraining, merge_folds, train_localizer
from model.localizers.tragic_crnn import TragicCRNN
from model.ranks import Ranks
from model.training.run import Hooks, Run
from utils.datasets.tragic_talkers.chunks import AudioChunk, cut
from utils.datasets.tragic_talkers.features import group
from utils.datasets.tragic_talkers.labels import ViewLabels, frame_times
from utils.datasets.tragic_talkers.layout import CameraView
from utils.datasets.tragic_talkers.loader import ChunkLoader, ChunkLoaderOptions
from utils.datasets.tragic_talkers.scaler import Scaler
from utils.datasets.tragic_talkers.synthetic_scene import SceneOptions, make_data, plan
from utils.progress import Position
from utils.training_options import RunOptions, TrainingOptions

SCALER = Scaler("gcc_phat", np.zeros((16, 1, 64), np.float32), np.ones((16, 1, 64), np.float32))


class Drawn:
    """Features drawn with the chunk's number as seed."""

    feature = "gcc_phat"

    def __init__(self, chunks: list[AudioChunk]) -> None:
        self.groups: Sequence[int] = group(chunks)

    def read(self, number: int) -> NDArray[np.floating]:
        generator = np.random.default_rng(self.groups[number])
        return generator.normal(size=(16, 960, 64)).astype(np.float32)


def made_chunks() -> list[AudioChunk]:
    xs = np.linspace(0, 1, 90, dtype=np.float32)
    labels = ViewLabels(frame_times(90), xs, xs > 0.3, xs > 0.5)
    return cut({CameraView(name, camera): labels for name in "ab" for camera in (1,)})


def run(
    folder: Path, epochs: int, hooks: Hooks | None = None, network: TragicCRNN | None = None
) -> Run:
    chunks = made_chunks()
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = network or TragicCRNN(width=1)
    settings = LocalizerTraining(
        TrainingOptions(lr=0.01, max_epoch=epochs, precision="fp32"),
        RunOptions(folder, save_interval=1),
    )
    loader, validation = (
        ChunkLoader(chunks, chosen, Drawn(chunks), SCALER, ChunkLoaderOptions(batch_size=2))
        for chosen in (range(4), range(4, 6))
    )
    return train_localizer(network, loader, validation, settings, Ranks(), hooks or Hooks())


def weights(found: Run) -> dict[str, torch.Tensor]:
    return found.trainer.network.state_dict()


def test_a_stopped_run_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 2)
    steps: list[int] = []
    hooks = Hooks(stop=lambda: len(steps) == 1, on_step=lambda *_: steps.append(1))
    stopped = run(tmp_path / "broken", 2, hooks)
    assert stopped.trainer.position.step == 1
    resumed = run(tmp_path / "broken", 2, network=TragicCRNN(width=1))
    for name, expected in weights(whole).items():
        assert torch.equal(weights(resumed)[name], expected), name
    assert [row.loss for row in resumed.rows] == [row.loss for row in whole.rows]
    for name in ("train", "val"):
        losses = [
            torch.load(tmp_path / folder / f"{name}_loss.pt", weights_only=True)
            for folder in ("whole", "broken")
        ]
        assert losses[0] == losses[1]
        assert len(losses[0]) == 2
    assert (tmp_path / "whole" / "training_plot.png").stat().st_size > 3000


def test_the_loss_is_summed_and_the_rate_is_as_said(tmp_path: Path) -> None:
    found = run(tmp_path, 1)
    row = found.rows[0]
    assert row.frames == 4 * 60
    assert row.lr == 0.01
    published = torch.load(tmp_path / "train_loss.pt", weights_only=True)
    assert published == [pytest.approx(60 * row.loss)]
    late = found.trainer
    assert late.schedule.rate(Position(32)) == pytest.approx(0.01 * 0.9**3)


def test_other_settings_do_not_resume(tmp_path: Path) -> None:
    run(tmp_path, 1)
    chunks = made_chunks()
    settings = LocalizerTraining(
        TrainingOptions(lr=0.01, max_epoch=1, precision="fp32"),
        RunOptions(tmp_path),
        plain_decay=True,
    )
    options = ChunkLoaderOptions(batch_size=2)
    loader = ChunkLoader(chunks, range(4), Drawn(chunks), SCALER, options)
    with pytest.raises(ValueError, match="--plainDecay False, found True"):
        train_localizer(TragicCRNN(width=1), loader, None, settings, Ranks(), Hooks())


def test_folds_are_merged(tmp_path: Path) -> None:
    for fold, value in enumerate((1.0, 3.0)):
        folder = tmp_path / str(fold)
        folder.mkdir()
        torch.save([value, 2 * value], folder / "train_loss.pt")
        torch.save([value / 2, value], folder / "val_loss.pt")
    folders = [tmp_path / "0", tmp_path / "1"]
    assert merge_folds(folders, tmp_path) == {"train": [2.0, 4.0], "val": [1.0, 2.0]}
    kept = torch.load(tmp_path / "global_val_loss.pt", weights_only=True)
    assert kept == [1.0, 2.0]
    assert (tmp_path / "training_plot.png").is_file()
    torch.save([1.0], tmp_path / "1" / "val_loss.pt")
    with pytest.raises(ValueError, match=r"\[2, 1\] of val"):
        merge_folds(folders, tmp_path)
    with pytest.raises(FileNotFoundError, match="gone"):
        merge_folds([tmp_path / "gone"], tmp_path)


def test_the_command_trains_folds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    make_data(tmp_path / "data", plan("walk", 5, 0, SceneOptions(2, "noise")))
    place = ["--dataPath", str(tmp_path / "data"), "--savePath", str(tmp_path / "run")]
    learn = ["--width", "1", "--epochs", "1", "--batchSize", "4", "--groupCameras"]
    assert main(["train", *place, *learn, "--fold", "3"]) == 0
    assert (tmp_path / "run" / "3" / "model" / "best.model").is_file()
    assert (tmp_path / "run" / "feature_scaler.h5").is_file()
    assert main(["merge", *place]) == 1
    assert "found no " + str(tmp_path / "run" / "0" / "train_loss.pt") in caplog.text
    for fold in (0, 1, 2, 4):
        (tmp_path / "run" / str(fold)).symlink_to(tmp_path / "run" / "3")
    assert main(["merge", *place]) == 0
    assert "validation loss per chunk" in capsys.readouterr().out
    assert (tmp_path / "run" / "global_val_loss.pt").is_file()


@pytest.mark.slow
def test_it_learns_to_hear(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_data(tmp_path / "data", plan("walk", 4, 1, SceneOptions(10, "noise"), 5))
    place = ["--dataPath", str(tmp_path / "data"), "--savePath", str(tmp_path / "run")]
    assert main(["features", *place, "--precision", "float16"]) == 0
    learn = ["--width", "8", "--epochs", "7", "--lr", "0.001"]
    assert main(["train", *place, *learn, "--batchSize", "4", "--groupCameras"]) == 0
    assert main(["forward", *place]) == 0
    capsys.readouterr()
    assert main(["evaluate", *place]) == 0
    output = capsys.readouterr().out
    assert float(output.split()[1]) < 222, output  # aD within 5 degrees; guessing gives 10
    assert float(output.split("detection error ")[1].split()[0]) < 5, output
    assert main(["video", *place, "--view", "walk5-cam06"]) == 0
    assert (tmp_path / "run" / "check_walk5-cam06.mp4").stat().st_size > 10000


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (["train", "--dataPath", "gone"], 1, "expected TragicTalkers/audio in gone"),
        (["evaluate", "--savePath", "gone"], 1, "gone/test_forward.csv"),
    ],
    ids=["no data", "nothing heard"],
)
def test_wrong_calls_say_so(
    arguments: list[str], status: int, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(arguments) == status
    assert problem in caplog.text


def test_unknown_features_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--feature", "mfcc"])
    assert "gcc_phat, salsa_lite, array_log_mel, got 'mfcc'" in capsys.readouterr().err
