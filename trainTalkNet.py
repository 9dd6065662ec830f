"""Train, fine-tune and evaluate active speaker detection on any data.

python trainTalkNet.py --download --dataPathAVA AVA
python trainTalkNet.py --dataPathAVA AVA --model lr_asd --savePath exps/exp1
python trainTalkNet.py --evaluation --dataPathAVA AVA --model lr_asd
python trainTalkNet.py --build VIDEOS --data talkset --dataPath TALKSET
torchrun --nproc_per_node 4 trainTalkNet.py --data talkset --dataPath TALKSET --model lr_asd

Started again with the same --savePath it goes on where it was.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from utils.datasets.own import OwnOptions
from utils.flags import add_groups, read_groups
from utils.progress import bar
from utils.settings import DetectorOptions
from utils.training_settings import (
    AvaOptions,
    BuildOptions,
    DataOptions,
    InsteadOptions,
    NetworkOptions,
    RunOptions,
    TrainingOptions,
)

if TYPE_CHECKING:
    from model.contract import Network
    from model.ranks import Ranks
    from utils.datasets.splits import Split

logger = logging.getLogger("trainTalkNet")

TALKNCE_WEIGHT = 0.3  # of the paper


@dataclass(frozen=True)
class Options:
    """Everything that the command line says."""

    network: NetworkOptions
    data: DataOptions
    training: TrainingOptions
    run: RunOptions
    instead: InsteadOptions
    ava: AvaOptions
    own: OwnOptions
    talkset: BuildOptions
    detector: DetectorOptions


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, do what it says, return the exit status."""
    parser = make_parser()
    parsed = parser.parse_args(arguments)
    try:
        options = read_groups(parsed, Options)
        check(options)
    except ValueError as error:
        parser.error(str(error))
    first = os.environ.get("RANK", "0") == "0"
    level = logging.INFO if first else logging.ERROR
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    try:
        return act(options)
    except KeyboardInterrupt:
        logger.error("interrupted; what was finished before is kept")
    except (OSError, ValueError, RuntimeError) as error:
        logger.error("error: %s", one_line(error))
    return 1


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all flags."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_groups(parser, Options)
    same = parser.add_argument_group("other spellings")
    absent = argparse.SUPPRESS
    same.add_argument(
        "--dataPathAVA", dest="data_path", type=Path, default=absent, help="--dataPath"
    )
    same.add_argument(
        "--downloadAVA", dest="download", action="store_true", default=absent, help="--download"
    )
    same.add_argument(
        "--talkNCE",
        dest="contrast",
        action="store_const",
        const=TALKNCE_WEIGHT,
        default=absent,
        help=f"--contrast {TALKNCE_WEIGHT}, the weight of the paper",
    )
    return parser


def check(options: Options) -> None:
    """Raise ValueError where flags do not go together."""
    kinds = {"download": "ava", "check_data": "own", "build": "talkset"}
    wanted = [name for name in kinds if getattr(options.instead, name)]
    if len(wanted) + options.instead.evaluation > 1:
        raise ValueError("--evaluation, --download, --checkData and --build each go alone")
    for name in wanted:
        if options.data.data != kinds[name]:
            flag = "checkData" if name == "check_data" else name
            raise ValueError(f"--{flag} is for --data {kinds[name]}, found {options.data.data}")
    if options.talkset.lists and not options.instead.build:
        raise ValueError("--lists is for --build")


def one_line(error: Exception) -> str:
    """Return what an error says, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())


def act(options: Options) -> int:
    """Do what the options ask for; return the exit status."""
    if options.instead.download or options.instead.check_data or options.instead.build:
        return make_data(options)
    from model.loading import choose_device
    from model.ranks import joined

    with joined(choose_device(options.network.device)) as ranks:
        if options.instead.evaluation:
            print_result(evaluate_only(options, ranks), ranks)
            return 0
        return train(options, ranks)


def make_data(options: Options) -> int:
    """Fetch, build or check data; return the exit status."""
    from model import preparation
    from model.face_finding import choose_finder
    from model.loading import choose_device

    if options.instead.check_data:
        to = options.run.save_path / "check_report.json"
        report = preparation.check_own(options.data, options.own, options.instead.decode, to)
        print("\n".join(report.lines()))
        return int(bool(report.problems))
    if options.instead.download:
        lines, whole = preparation.download_ava(options.ava, options.data)
        print("\n".join(lines))
        return int(not whole)
    finder = choose_finder(options.detector, choose_device(options.network.device))
    folders, seed = options.instead.build_folders, options.training.seed
    made = preparation.make_talkset(options.talkset, options.data, folders, finder, seed)
    print(json.dumps(asdict(made), indent=1))
    return 0


def print_result(result: str, ranks: "Ranks") -> None:
    """Print what came out, once."""
    if ranks.first:
        print(result)


def load(options: Options, ranks: "Ranks", default: str | None) -> tuple["Network", str]:
    """Return the network and, in a few words, what its weights are.

    Args:
        options: Name the network and the weights.
        ranks: The first process downloads the weights if need be, the others wait for it.
        default: Name of the weights where none are given; None is fresh ones.
    """
    from model.building import build_network
    from model.recipes import seeded
    from model.weights import load_network

    name, weights = options.network.model, options.network.pretrain_model or default
    if weights is None:
        with seeded(options.training.seed, ranks.device):
            return build_network(name).to(ranks.device), "fresh"
    if not ranks.first:
        ranks.gather(None)
    network = load_network(name, weights, str(ranks.device))
    if ranks.first:
        ranks.gather(None)
    assert network.weights is not None
    logger.info("network: %s (%s)", name, network.weights.path)
    return network, network.weights.sha256[:16]


def open_data(options: Options, name: str, ranks: "Ranks") -> "Split":
    """Return a split; the first process prepares it if need be, the others wait for it."""
    from model.preparation import stages
    from utils.datasets.splits import open_split, prepare_split

    if options.data.data == "own" and ranks.first:
        with stages("videos") as tell:
            prepare_split(options.data, options.own, name, partial(tell, f"preparing {name}"))
    ranks.gather(None)
    split = open_split(options.data.data, options.data.data_path, name)
    logger.info("%s: %d entities, %d frames", name, len(split.dataset.entities), split.num_frames)
    return split


def open_labelled(options: Options, ranks: "Ranks") -> "Split":
    """Return the split that is evaluated; refuses one without labels before any other work."""
    from model.evaluation import check_labels

    split = open_data(options, options.data.eval_data_type, ranks)
    check_labels(split.dataset, f"{options.data.data_path}, {split.name}")
    return split


def evaluate_only(options: Options, ranks: "Ranks") -> str:
    """Evaluate weights on a split; return what came out."""
    from model.runs import released_weights

    split = open_labelled(options, ranks)
    default = None
    if options.network.pretrain_model is None:
        default = released_weights(options.network.model, options.data.data)
    network, _ = load(options, ranks, default)
    return f"mAP {evaluate(network, split, options, ranks):.2%}"


def evaluate(network: "Network", split: "Split", options: Options, ranks: "Ranks") -> float:
    """Score a split, write the predictions, return the average precision in [0, 1]."""
    from model import evaluation

    cuda = ranks.device.type == "cuda"
    how = evaluation.EvaluationOptions(
        options.network.window_lengths,
        "bf16" if options.training.precision == "bf16" and cuda else "fp32",
        options.data.n_data_loader_thread if split.num_frames > evaluation.FEW_FRAMES else 0,
    )
    share = split.num_frames / ranks.size
    shown = bar(f"evaluating {split.name}", share, "frames") if ranks.first else nullcontext()
    with shown as advance:
        scored = evaluation.score_split(network, split.dataset, how, ranks, advance)
    target = options.run.save_path / f"{split.name}_res.csv"
    if split.table is not None:
        return evaluation.measure_table(split.table, scored, target if ranks.first else None)
    if ranks.first:
        evaluation.write_predictions(scored, target)
    return evaluation.measure(scored)


def train(options: Options, ranks: "Ranks") -> int:
    """Train or go on training; return the exit status."""
    from model import checkpoints
    from model.run_logs import best_row
    from model.runs import Hooks, Run, describe_settings
    from model.training import Trainer
    from utils.datasets.loading import Loader
    from utils.datasets.splits import describe_data, loader_options
    from utils.training_progress import StepBar, stopping

    split = open_data(options, "train", ranks)
    judged = open_labelled(options, ranks)
    network, start = load(options, ranks, None)
    trainer = Trainer(network, options.training, ranks)
    data = describe_data(options.data, split)
    run = Run(trainer, options.run, describe_settings(trainer, options.training, start, data))
    if run.resume():
        place = trainer.position
        logger.info("going on in epoch %d after batch %d", place.epoch, place.step)
    how = loader_options(options.data, options.training.seed, trainer.recipe.batch_size)
    loader = Loader(split.dataset, network.inputs, how, ranks.rank, ranks.size)
    with stopping() as stop:
        steps = StepBar()
        show = steps.move if ranks.first else ignore
        hooks = Hooks(stop, show, lambda row: logger.info("%s", row.describe()))
        whole = run.train(loader, lambda: evaluate(network, judged, options, ranks), hooks)
        steps.close()
    if not whole:
        logger.error("stopped; start again with the same --savePath to go on")
        return 1
    best = best_row(run.rows)
    if best is not None:
        print_result(
            f"best mAP {best.ap:.2%} in epoch {best.epoch}: {checkpoints.best_path(run.folder)}",
            ranks,
        )
    return 0


def ignore(*_: object) -> None:
    """Show nothing, where another process does."""


if __name__ == "__main__":
    sys.exit(main())
