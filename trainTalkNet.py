"""Train, fine-tune and evaluate active speaker detection on any data.

python trainTalkNet.py --download --dataPathAVA AVA
python trainTalkNet.py --dataPathAVA AVA --model lr_asd --savePath exps/exp1
python trainTalkNet.py --evaluation --dataPathAVA AVA --model lr_asd
python trainTalkNet.py --build VIDEOS --data talkset --dataPath TALKSET
python trainTalkNet.py --dataPathAVA AVA --model asc_encoder --forward --features FEATURES
torchrun --nproc_per_node 4 trainTalkNet.py --data talkset --dataPath TALKSET --model lr_asd

If started again with the same --savePath, training resumes where it stopped.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from model.names import detector_names, network_names
from utils import flags
from utils.commands import ErrorReport, add_debug, exit_status, wrong_usage
from utils.flags import add_groups, read_groups
from utils.training_options import Options

ESSENTIAL = (  # fields whose flags `--help` shows
    "model",
    "pretrain_model",
    "data",
    "data_path",
    "save_path",
    "max_epoch",
    "evaluation",
    "download",
    "check_data",
    "device",
)
# Each restored one fault; --original restores all that the network's loader had.
SINGLE_FAULTS = (
    "--publishedBatches",
    "--publishedCrop",
    "--loseRows",
    "--latePictures",
    "--ownRates",
)
TALKNCE_WEIGHT = 0.3  # as in the paper


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, run the command, return the exit status."""
    parser = make_parser()
    parsed = parser.parse_args(arguments)
    with wrong_usage(parser):
        options = read_groups(parsed, Options)
        check_network(options)
    first = os.environ.get("RANK", "0") == "0"
    level = logging.INFO if first else logging.ERROR
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    report = ErrorReport(folder=options.run.save_path, debug=parsed.debug)
    return exit_status(partial(act, options), report)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all flags."""
    parser = flags.make_parser(__doc__, ESSENTIAL)
    names = {"model": network_names(), "detector": ("auto", *detector_names())}
    add_groups(parser, Options, names)
    add_debug(parser)
    aliases = parser.add_argument_group("aliases")
    absent = argparse.SUPPRESS
    aliases.add_argument(
        "--dataPathAVA", dest="data_path", type=Path, default=absent, help="--dataPath"
    )
    aliases.add_argument(
        "--downloadAVA", dest="download", action="store_true", default=absent, help="--download"
    )
    aliases.add_argument(
        *SINGLE_FAULTS, dest="original", action="store_true", default=absent, help="--original"
    )
    aliases.add_argument(
        "--talkNCE",
        dest="contrast",
        action="store_const",
        const=TALKNCE_WEIGHT,
        default=absent,
        help=f"--contrast {TALKNCE_WEIGHT}, as in the paper",
    )
    return parser


def check_network(options: Options) -> None:
    """Raise UserError if options do not apply to the network."""
    if not options.instead.makes_data:
        from model.training import command

        command.check_network(options)


def act(options: Options) -> int:
    """Run the command; return the exit status."""
    if options.instead.makes_data:
        return make_data(options)
    from model.loading import choose_device
    from model.ranks import joined
    from model.training import command

    with joined(choose_device(options.network.device)) as ranks:
        if options.instead.forward:
            command.store_embeddings(options, ranks)
            return 0
        run = command.evaluate_only if options.instead.evaluation else command.train
        result = run(options, ranks)
        if result is not None and ranks.first:
            print(result)
        return int(result is None)


def make_data(options: Options) -> int:
    """Download, build or check data; return the exit status."""
    from model.face_finding import choose_finder
    from model.loading import choose_device
    from model.training import prepare_data

    if options.instead.check_data:
        to = options.run.save_path / "check_report.json"
        report = prepare_data.check_own(options.data, options.own, options.instead.decode, to)
        print("\n".join(report.lines()))
        return int(bool(report.problems))
    if options.instead.download:
        lines, whole = prepare_data.download_ava(options.ava, options.data)
        print("\n".join(lines))
        return int(not whole)
    finder = choose_finder(options.detector, choose_device(options.network.device))
    folders, seed = options.instead.build_folders, options.training.seed
    made = prepare_data.make_talkset(options.talkset, options.data, folders, finder, seed)
    print(json.dumps(asdict(made), indent=1))
    return int(not any(made.clips.values()))  # a set without clips is an error


if __name__ == "__main__":
    sys.exit(main())
