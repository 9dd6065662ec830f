"""Export a network to a file that runs without this project and without torch.

python -m model.export onnx --model lr_asd --output lr_asd.onnx

docs/examples/score_onnx.py scores a face track with such a file.
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, cast

from model.checkpoints.build import load_single, network_class
from model.contract import Network
from model.export.onnx_file import write_onnx
from model.names import network_names
from utils.commands import ErrorReport, add_debug, exit_status, wrong_usage
from utils.errors import UserError
from utils.flags import add_flags, read_flags

FORMATS = ("onnx",)


@dataclass(frozen=True)
class ExportOptions:
    """What is exported."""

    model: Annotated[str, "network that reads the sequence of one face"] = ""
    weights: Annotated[
        Path | None,
        "weights: a file, or a name in pretrain/weights.toml (default: the TalkSet weights)",
    ] = None
    output: Annotated[Path | None, "file that is written (default: MODEL.onnx)"] = None

    def __post_init__(self) -> None:
        if self.model not in exportable():
            found = f"got {self.model!r}" if self.model else "got none"
            raise UserError(f"--model: expected one of {', '.join(exportable())}; {found}")


def exportable() -> list[str]:
    """Return the names of the networks that can be exported."""
    return [name for name in network_names() if network_class(name).family == "sequence"]


def export(options: ExportOptions) -> None:
    """Write the network and print the path of the file."""
    network = cast(Network, load_single(options.model, options.weights))
    output = options.output or Path(f"{options.model}.onnx")
    write_onnx(network, output)
    print(output)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, export, return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m model.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("format", choices=FORMATS, help="the format of the file")
    add_flags(parser, ExportOptions, "options", {"model": exportable()})
    add_debug(parser)
    parsed = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with wrong_usage(parser):
        options = read_flags(parsed, ExportOptions)
    return exit_status(partial(export, options), ErrorReport(debug=parsed.debug))
