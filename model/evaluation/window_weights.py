"""Load weights of networks that read windows, from PyTorch or Keras; evaluate a folder of them."""

import csv
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from model.checkpoints.build import Variant, build_network, load_released, network_class
from model.checkpoints.files import read_weights
from model.checkpoints.keras import MODES, by_topology
from model.checkpoints.registry import find_file
from model.contract import Model
from model.evaluation.window_evaluation import HEADS
from utils.errors import UserError
from utils.files import replacing

logger = logging.getLogger(__name__)

MEASURES = ("accuracy", "map", "ap_sp", "ap_ns", "auc")
COLUMNS = (  # of the table, in the published order
    "weights",
    *(f"{head}_{measure}" for measure in MEASURES for head in HEADS),
    *("orig_main_map", "orig_video_map", "orig_audio_map"),
)
AnyModel = TypeVar("AnyModel", bound=Model)
WEIGHTS = ("*.hdf5", "*.h5", "*.model")


def load_any(
    name: str,
    weights: str | Path,
    variant: Variant | None = None,
    device: str | torch.device = "cpu",
) -> Model:
    """Return a network with PyTorch or Keras weights; Keras layers match by name or by order.

    Args:
        name: The network.
        weights: A file, or a name in pretrain/weights.toml.
        variant: Variant of the network; None for that of the file.
        device: Device of the network.

    Raises:
        UserError: The weights do not fit; the message states why.
    """
    read = read_weights(find_file(weights))
    stated = variant or read.variant_for(name)
    problem: UserError | None = None
    for state in _namings(read.state, read.by_keras):
        try:
            network = build_network(name, stated or network_class(name).variant_of(state))
            load_released(network, state)
        except UserError as error:
            problem = problem or error
            continue
        network.weights = read.file
        return network.eval().to(device)
    raise UserError(f"{read.file.path}: {problem}") from problem


def _namings(state: Mapping[str, Tensor], by_order: bool) -> Iterator[Mapping[str, Tensor]]:
    """Yield weights under their own names, then under names assigned by their order."""
    yield state
    for mode in MODES if by_order else ():
        with suppress(UserError):  # a mode with another number of layers
            yield by_topology(state, mode)


def evaluate_folder(
    files: Sequence[Path],
    load: Callable[[Path], AnyModel],
    measure: Callable[[AnyModel], Mapping[str, float]],
    table: Path | None,
) -> dict[str, float]:
    """Evaluate weights files into a CSV table; return their AP by file name.

    Columns of missing heads stay empty. Files that do not fit are skipped with a warning.

    Args:
        files: In the order of the table.
        load: Returns the network with a file's weights.
        measure: Returns columns of the table.
        table: The table to write, updated after each file; None to write none.
    """
    rows: list[dict[str, str | float]] = []
    for number, path in enumerate(files, start=1):
        logger.info("%d of %d: %s", number, len(files), path.name)
        try:
            network = load(path)
        except UserError as error:
            logger.warning("skipping %s: %s", path.name, error)
            continue
        rows.append({"weights": path.name, **measure(network)})
        if table is not None:
            _write_table(table, rows)
    if not rows:
        raise UserError(f"none of the {len(files)} files in {files[0].parent} fits the network")
    return {str(row["weights"]): float(row["orig_main_map"]) for row in rows}


def weights_of(folder: Path) -> list[Path]:
    """Return the weights files of a folder in natural order."""
    files = sorted({path for kind in WEIGHTS for path in folder.glob(kind)}, key=natural_order)
    if not files:
        raise FileNotFoundError(f"expected weights {', '.join(WEIGHTS)} in {folder}, found none")
    return files


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key for natural order: 2 before 10."""
    parts = re.split(r"(\d+)", path.name)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def _write_table(path: Path, rows: Sequence[Mapping[str, str | float]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
