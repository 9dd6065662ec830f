"""ava_asd in the training command: its windows are extracted, learnt and measured as published."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.checkpoints.build import read_variant
from model.evaluation.measure import write_table
from model.evaluation.window_evaluation import (
    Probabilities,
    Truth,
    carry_over,
    evaluate_folder,
    load_any,
    measure_legacy,
    measure_windows,
    report,
    score_windows,
    truth_of,
    weights_of,
)
from model.networks.ava_asd import AvaASD
from model.ranks import Ranks
from model.scoring.windows import Precision
from model.training.initial_weights import load_or_begin
from model.training.network_trainer import describe_settings, make_trainer
from model.training.prepare_data import stages
from model.training.recipes import resolve
from model.training.run import Run, released_weights, train_at_terminal
from model.training.run_logs import EpochRow, Evaluated, is_past_best
from model.training.trainer import Trainer
from utils.datasets.ava.dataset import AvaFolder
from utils.datasets.ava.window_extract import ExtractOptions, Work, extract
from utils.datasets.ava.window_loader import WindowChoice, WindowLoader, WindowSet
from utils.datasets.ava.windows import VideoRows, WindowOptions, read_rows
from utils.errors import UserError
from utils.files import locked
from utils.flags import flag_name
from utils.media.video_files import find_videos
from utils.metrics.ava_asd import cross_entropy
from utils.metrics.average_precision import average_precision, read_truth
from utils.progress import bar
from utils.training_options import Options

logger = logging.getLogger(__name__)

RESULTS = "evaluation-results.csv"
SHOWN = 20  # problems of the videos that are logged one by one
JUDGED = 1  # a generator's purpose; the loader has its own


@dataclass(frozen=True, eq=False)
class Source:
    """The windows of a split, and the official table that they were cut from."""

    name: str
    windows: WindowSet
    table: Path

    def truth(self) -> Truth:
        """Return all rows of the table."""
        return truth_of(self.windows, read_truth(self.table))


def train(options: Options, ranks: Ranks) -> str | None:
    """Train or go on training; return what came out, None if it was stopped before the end."""
    network, start = load_or_begin(options.network, options.training.seed, ranks, None)
    assert isinstance(network, AvaASD)
    source = open_windows(options, "train", network, ranks)
    judged = open_windows(options, options.data.eval_data_type, network, ranks)
    trainer = make_trainer(network, options.training, ranks)
    kept = describe(options, network, len(source.windows))
    run = Run(trainer, options.run, describe_settings(trainer, options.training, start, kept))
    run.resume()
    choice = choose(options, resolve(network.recipe, options.training).batch_size)
    loader = WindowLoader(source.windows, choice, ranks.rank, ranks.size)

    def evaluate() -> Evaluated:
        return judge(trainer, judged.windows, choice, options.ava_asd.judged_share)

    def ended(rows: Sequence[EpochRow]) -> bool:
        given = options.ava_asd
        past = given.early_stopping and is_past_best(rows, given.patience)
        if past and ranks.first:
            logger.info("the loss has not fallen for %d evaluations: training ends", given.patience)
        return past

    return train_at_terminal(run, loader, evaluate, "of windows", ended)


def judge(trainer: Trainer, windows: WindowSet, choice: WindowChoice, share: float) -> Evaluated:
    """Measure the last head over a share of the windows, drawn anew in each epoch."""
    epoch = trainer.position.epoch
    rng = np.random.default_rng((choice.seed, epoch, JUDGED))
    count = max(1, int(len(windows) * share))
    chosen = np.sort(rng.choice(len(windows), count, replace=False))
    speaking = windows.speaking[chosen]
    if not speaking.any():
        raise UserError(
            f"none of the {count} windows that judge epoch {epoch} is speaking; raise "
            "--judgedShare, or evaluate on more data"
        )
    assert isinstance(trainer.network, AvaASD)
    scores = score_together(trainer.network, windows, choice, trainer.ranks, chosen)
    likely = scores["main"]
    return Evaluated(average_precision(speaking, likely), cross_entropy(speaking, likely))


def score_together(
    network: AvaASD,
    windows: WindowSet,
    choice: WindowChoice,
    ranks: Ranks,
    chosen: NDArray[np.int64],
    precision: Precision = "fp32",
) -> dict[str, Probabilities]:
    """Return how likely the chosen windows speak, by published name of the head.

    The processes share the work, and each has all of it at the end.
    """
    own = chosen[ranks.rank :: ranks.size]
    with bar("evaluating", len(own), "windows") if ranks.first else nullcontext() as progress:
        scores = score_windows(network, windows, choice, own, precision, progress)
    found: dict[str, Probabilities] = {}
    for rank, part in enumerate(ranks.gather(scores)):
        for name, likely in part.items():
            found.setdefault(name, np.empty(len(chosen)))[rank :: ranks.size] = likely
    return found


def evaluate_only(options: Options, ranks: Ranks) -> str:
    """Evaluate weights on a split, or all of a folder into a table; return what came out."""
    given = options.network.pretrain_model or released_weights("ava_asd", options.data.data)
    variant = read_variant("ava_asd", options.network.variant) if options.network.variant else None
    load = partial(load_any, variant=variant, device=ranks.device)
    measure = Measure(options, ranks)
    if options.ava_asd.legacy:
        if Path(given).is_dir():
            raise UserError(f"--legacy evaluates one file of weights, {given} is a folder")
        found = measure.legacy(load(given))
        return "\n".join(f"{name} {value:.4f}" for name, value in found.items())
    if not Path(given).is_dir():
        measures = measure(load(given))
        lines = [f"{name} {value:.5f}" for name, value in measures.items()]
        return "\n".join([measure.report, *lines, f"mAP {measures['orig_main_map']:.2%}"])
    files = weights_of(Path(given))
    table = options.run.save_path / RESULTS
    found = evaluate_folder(files, load, measure, table if ranks.first else None)
    best = max(found, key=lambda name: found[name])
    return f"{len(found)} weights: {table}, the best mAP {found[best]:.2%} of {best}"


class Measure:
    """Measures networks on the split that the options name, and writes their predictions.

    Windows are opened anew where a network reads others than the one before.
    """

    def __init__(self, options: Options, ranks: Ranks) -> None:
        self.report = ""  # of the last network, in words
        self._options, self._ranks = options, ranks
        self._opened: tuple[object, Source, Truth] | None = None

    def __call__(self, network: AvaASD) -> Mapping[str, float]:
        """Return the columns of the published table."""
        source, truth = self._open(network)
        scores = self._score(network, source)
        if self._ranks.first:
            likely = carry_over(scores["main"], source.windows, truth)
            target = self._options.run.save_path / f"{source.name}_res.csv"
            write_table(source.table, likely, target)
        self.report = report(scores, source.windows)
        return measure_windows(scores, source.windows, truth)

    def legacy(self, network: AvaASD) -> Mapping[str, float]:
        """Return what the published `--legacy` evaluation prints."""
        source, _ = self._open(network)
        return measure_legacy(network, self._score(network, source), source.windows)

    def _score(self, network: AvaASD, source: Source) -> dict[str, Probabilities]:
        """Return how likely each window of a split speaks, by published name of the head."""
        options, ranks = self._options, self._ranks
        cuda = ranks.device.type == "cuda"
        precision: Precision = "bf16" if cuda and options.training.precision == "bf16" else "fp32"
        choice = choose(options, options.training.batch_size or network.recipe.batch_size)
        everything = np.arange(len(source.windows))
        return score_together(network, source.windows, choice, ranks, everything, precision)

    def _open(self, network: AvaASD) -> tuple[Source, Truth]:
        kind = (network.clip, network.inputs)
        if self._opened is None or self._opened[0] != kind:
            name = self._options.data.eval_data_type
            source = open_windows(self._options, name, network, self._ranks)
            self._opened = (kind, source, source.truth())
        return self._opened[1:]


def open_windows(options: Options, name: str, network: AvaASD, ranks: Ranks) -> Source:
    """Open the windows of a split that a network reads; what is not extracted yet is first.

    Raises:
        FileNotFoundError: The labels are not there; says what to do.
        UserError: The windows were extracted in another way, or there are none.
    """
    given, ava = options.ava_asd, AvaFolder(options.data.data_path)
    table = ava.labels(name)
    if not table.is_file():
        raise FileNotFoundError(
            f"expected the labels of {name} in {table}, found none; "
            f"run python trainTalkNet.py --download --dataPathAVA {ava.root}"
        )
    folder = (given.window_path or ava.root / "windows") / name
    rows = read_rows([table])
    how = ExtractOptions(
        network.inputs.size,
        network.inputs.colour,
        own_rates=given.own_rates,
        late_pictures=given.late_pictures,
    )
    cut = WindowOptions(
        network.clip.fps,
        network.clip.length,
        given.window_stride,
        given.lose_rows,
        given.one_label,
    )

    def prepare() -> None:
        videos = find_videos(ava.videos(name))
        _extract(folder, rows, videos, (how, cut), options.data.num_processes)

    ranks.after_first(prepare)
    windows = WindowSet(folder, rows, how, cut, given.min_face)
    logger.info("%s: %d windows, %d speak", name, len(windows), windows.speaking.sum())
    return Source(name, windows, table)


def _extract(
    folder: Path,
    rows: list[VideoRows],
    videos: Mapping[str, Path],
    how: tuple[ExtractOptions, WindowOptions],
    num_processes: int,
) -> None:
    """Extract what is not there yet; name what cannot be had."""
    with locked(folder, "extracting windows"), stages("videos") as tell:
        progress: Callable[[int, int], None] = partial(tell, f"extracting {folder.name}")
        problems = extract(folder, rows, videos, *how, Work(num_processes, progress))
    for problem in problems[:SHOWN]:
        logger.warning("%s", problem)
    if len(problems) > SHOWN:
        logger.warning("... %d problems in all", len(problems))


def choose(options: Options, batch_size: int) -> WindowChoice:
    """Return which windows are drawn, and how they are read."""
    return WindowChoice(
        options.ava_asd.window_share,
        not options.ava_asd.unbalanced,
        batch_size,
        options.data.n_data_loader_thread,
        options.training.seed,
    )


def describe(
    options: Options, network: AvaASD, num_windows: int
) -> dict[str, str | int | float | bool]:
    """Return what must stay the same of the data when training is resumed."""
    flags = asdict(options.ava_asd) | {"window_path": ""}  # it may be moved
    for name in ("legacy", "early_stopping", "patience"):  # no step depends on when it ends
        del flags[name]
    return {
        "mode": network.mode,
        "number of windows": num_windows,
        **{f"--{flag_name(name)}": value for name, value in flags.items()},
    }
