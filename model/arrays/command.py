"""Localise speakers with a microphone array, step by step from the audio to the marked video.

python -m model.arrays features --dataPath DATA      (optional: stores features)
python -m model.arrays train --dataPath DATA --savePath exps/array
python -m model.arrays merge --savePath exps/array     (after --fold 0 to 4)
python -m model.arrays forward --dataPath DATA --savePath exps/array
python -m model.arrays evaluate --dataPath DATA --savePath exps/array
python -m model.arrays video --dataPath DATA --savePath exps/array --view SEQUENCE-cam06

docs/array_audio.md describes the data. Run again, `features` and `train` resume where they stopped.
"""

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from utils.arrays.sound import SoundChecks
from utils.arrays.speech_positions import read_heard, write_heard
from utils.commands import ErrorReport, add_debug, exit_status, wrong_usage
from utils.datasets.tragic_talkers.chunks import NUM_FOLDS, AudioChunk, cut, folds, split_fold
from utils.datasets.tragic_talkers.evaluation import compare_all, evaluate, write_evaluation
from utils.datasets.tragic_talkers.features import FILE as STORE
from utils.datasets.tragic_talkers.features import (
    FeatureSource,
    LiveFeatures,
    StoredFeatures,
    StoreOptions,
    build_store,
    measure_scaler,
)
from utils.datasets.tragic_talkers.labels import read_labels
from utils.datasets.tragic_talkers.layout import CameraView, TragicTalkers
from utils.datasets.tragic_talkers.loader import ChunkLoader, ChunkLoaderOptions
from utils.datasets.tragic_talkers.scaler import (
    FEATURES,
    Scaler,
    check_feature,
    read_scaler,
    write_scaler,
)
from utils.datasets.tragic_talkers.scaler import FILE as SCALER
from utils.errors import UserError
from utils.flags import add_groups, read_groups
from utils.progress import bar

if TYPE_CHECKING:
    from model.arrays.training import LocalizerTraining

FORWARD = "test_forward.csv"


@dataclass(frozen=True)
class PlaceOptions:
    """Folders, features and device."""

    data_path: Annotated[Path, "folder of the data set"] = Path("data")
    save_path: Annotated[Path, "folder for weights, scaler, tables and plots"] = Path("exps/array")
    feature: Annotated[str, f"audio feature: one of {', '.join(FEATURES)}"] = "gcc_phat"
    condition: Annotated[str, "training labels: source of positions, then GT or VAD"] = "GT_GT"
    store: Annotated[
        Path | None, "folder of stored features (default: DATAPATH/features/FEATURE_CONDITION)"
    ] = None
    device: Annotated[Literal["auto", "cuda", "mps", "cpu"], "device of the network"] = "auto"

    def __post_init__(self) -> None:
        check_feature(self.feature)

    @property
    def store_folder(self) -> Path:
        """Folder of stored features."""
        return self.store or self.data_path / "features" / f"{self.feature}_{self.condition}"


@dataclass(frozen=True)
class LearnOptions:
    """How a localizer is trained; unset options are as published."""

    lr: Annotated[float | None, "learning rate of the first 30 epochs (default: 0.0001)"] = None
    epochs: Annotated[int, "number of epochs"] = 50
    width: Annotated[int, "channels of the network's first block"] = 64
    pooling: Annotated[Literal["avg", "max"], "pooling over time and frequency"] = "avg"
    plain_decay: Annotated[
        bool, "decay by 0.9 per epoch after epoch 30, instead of the published compounding decay"
    ] = False
    fold: Annotated[
        int,
        "validate on one fifth of the sequences, 0 to 4, and write to SAVEPATH/FOLD; -1: train on "
        "all",
    ] = -1
    save_interval: Annotated[int, "also write a checkpoint after every N batches"] = 500


@dataclass(frozen=True)
class HearOptions:
    """Which localizer is used, and how its results are evaluated and shown."""

    weights: Annotated[Path | None, "checkpoint (default: the last one in SAVEPATH)"] = None
    tolerance: Annotated[int, "maximum position error in pixels, 89 or 222"] = 89
    view: Annotated[str, "view of which `video` makes a video"] = ""
    blank: Annotated[bool, "draw on an empty image even if there is a video"] = False


@dataclass(frozen=True)
class ArrayCommandOptions:
    """All options of the command."""

    place: PlaceOptions
    features: StoreOptions
    checks: SoundChecks
    learn: LearnOptions
    batches: ChunkLoaderOptions
    hear: HearOptions


def store_features(options: ArrayCommandOptions) -> None:
    """Store the features of all development chunks, and their scaler."""
    chunks, live = _development(options)
    folder = options.place.store_folder
    with bar("storing features", 1.0, "of the chunks") as advance:

        def progress(done: int, total: int) -> None:
            advance(done / total)

        threads = options.batches.num_threads
        build_store(folder / STORE, chunks, live, options.features, threads, progress)
    stored = StoredFeatures(folder / STORE, chunks, options.place.feature)
    write_scaler(measure_scaler(stored), folder / SCALER)
    print(f"wrote features of {len(chunks)} chunks and their scaler to {folder}")


def _development(options: ArrayCommandOptions) -> tuple[list[AudioChunk], LiveFeatures]:
    """Return all labelled chunks, and their features computed from the audio."""
    layout = TragicTalkers(options.place.data_path)
    chunks = cut(read_labels(layout.labels_path(options.place.condition)))
    return chunks, LiveFeatures(
        layout, "development", chunks, options.place.feature, checks=options.checks
    )


def _source(options: ArrayCommandOptions) -> tuple[list[AudioChunk], FeatureSource, Scaler]:
    """Return chunks, their features (stored ones if available), and the scaler in savePath."""
    place = options.place
    chunks, source = _development(options)
    stored: FeatureSource = source
    if (place.store_folder / STORE).is_file():
        stored = StoredFeatures(place.store_folder / STORE, chunks, place.feature)
    saved = place.save_path / SCALER
    for path in (saved, place.store_folder / SCALER):
        if path.is_file():
            scaler = read_scaler(path, place.feature)
            break
    else:
        scaler = measure_scaler(stored, options.batches.num_threads)
    if not saved.is_file():
        write_scaler(scaler, saved)
    return chunks, stored, scaler


def train(options: ArrayCommandOptions) -> None:
    """Train, or resume training."""
    import torch

    from model.arrays.training import train_localizer
    from model.loading import choose_device
    from model.localizers.tragic_crnn import TragicCRNN
    from model.ranks import joined
    from model.training.recipes import seeded
    from model.training.run import at_terminal

    chunks, source, scaler = _source(options)
    chosen, held_out = list(range(len(chunks))), list[int]()
    if options.learn.fold >= 0:
        groups = folds({chunk.view.sequence for chunk in chunks})
        names = {c.view.sequence for c in split_fold(chunks, groups, options.learn.fold)[1]}
        held_out = [n for n, chunk in enumerate(chunks) if chunk.view.sequence in names]
        chosen = [n for n, chunk in enumerate(chunks) if chunk.view.sequence not in names]
    with seeded(options.batches.seed, torch.device("cpu")):
        network = TragicCRNN(options.learn.pooling, options.learn.width)
    with joined(choose_device(options.place.device)) as ranks, at_terminal(ranks) as hooks:
        share = ranks.rank, ranks.size
        loader, validation = (
            ChunkLoader(chunks, part, source, scaler, options.batches, share) if part else None
            for part in (chosen, held_out)
        )
        assert loader is not None
        train_localizer(network, loader, validation, _settings(options), ranks, hooks)


def _settings(options: ArrayCommandOptions) -> "LocalizerTraining":
    from model.arrays.training import LocalizerTraining
    from utils.training_options import RunOptions, TrainingOptions

    learn = options.learn
    folder = options.place.save_path / (str(learn.fold) if learn.fold >= 0 else "")
    return LocalizerTraining(
        TrainingOptions(
            lr=learn.lr, max_epoch=learn.epochs, seed=options.batches.seed, precision="fp32"
        ),
        RunOptions(folder, save_interval=learn.save_interval),
        options.place.condition,
        learn.plain_decay,
        learn.fold,
    )


def merge(options: ArrayCommandOptions) -> None:
    """Write the mean losses of the five folds and their plot."""
    from model.arrays.training import merge_folds

    folder = options.place.save_path
    merged = merge_folds([folder / str(fold) for fold in range(NUM_FOLDS)], folder)
    print(f"validation loss per chunk after the last epoch: {merged['val'][-1]:.4f}")


def forward(options: ArrayCommandOptions) -> None:
    """Localise speech in all test views and write the positions in the published format."""
    from model.arrays.localisation import hear_views, load_localizer
    from model.checkpoints.training import last_path
    from model.loading import choose_device

    place = options.place
    layout = TragicTalkers(place.data_path)
    path = options.hear.weights or last_path(place.save_path)
    network = load_localizer(path, options.learn.pooling).to(choose_device(place.device))
    scaler = read_scaler(place.save_path / SCALER, place.feature)
    views = layout.views_with_truth(layout.sequences("test"))
    found = {}
    with bar("localising", float(len(views)), "views") as advance:
        for view, heard in hear_views(network, layout, views, scaler, options.checks):
            found[view.name] = heard
            advance(float(len(found)))
    write_heard(found, place.save_path / FORWARD)
    print(place.save_path / FORWARD)


def evaluate_heard(options: ArrayCommandOptions) -> None:
    """Evaluate the positions written by `forward`."""
    place = options.place
    heard = read_heard(place.save_path / FORWARD)
    results = evaluate(compare_all(TragicTalkers(place.data_path), heard), options.hear.tolerance)
    print(results.describe())
    for path in write_evaluation(results, place.save_path):
        print(path)


def make_video(options: ArrayCommandOptions) -> None:
    """Write the video of a view with a line at the position of speech."""
    from utils.arrays.video import render_blank, render_over
    from utils.media.container import probe

    place = options.place
    layout, view = TragicTalkers(place.data_path), CameraView.parse(options.hear.view)
    views = read_heard(place.save_path / FORWARD)
    if view.name not in views:
        raise UserError(f"--view {view.name}: expected one of {', '.join(sorted(views))}")
    target = place.save_path / f"check_{view.name}.mp4"
    if layout.video_path(view).is_file() and not options.hear.blank:
        render_over(probe(layout.video_path(view)), views[view.name], target)
    else:
        sound = layout.audio("test", view.sequence, view.rig)
        render_blank(sound, views[view.name], target)
    print(target)


ACTIONS: dict[str, Callable[[ArrayCommandOptions], None]] = {
    "features": store_features,
    "train": train,
    "merge": merge,
    "forward": forward,
    "evaluate": evaluate_heard,
    "video": make_video,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, run the step, return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m model.arrays",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=ACTIONS, help="the step to take")
    add_groups(parser, ArrayCommandOptions)
    add_debug(parser)
    parsed = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with wrong_usage(parser):
        options = read_groups(parsed, ArrayCommandOptions)
    report = ErrorReport(folder=options.place.save_path, debug=parsed.debug)
    return exit_status(partial(ACTIONS[parsed.action], options), report)
