"""Evaluate ava_asd as its authors do: one file of weights, or all of a folder into a table."""

import csv
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.checkpoints.build import Variant, build_network, load_released
from model.checkpoints.files import read_weights
from model.checkpoints.keras import by_topology
from model.checkpoints.registry import find_file
from model.networks.ava_asd import MODES, AvaASD
from model.scoring.windows import Precision
from utils.datasets.ava.window_loader import WindowChoice, WindowLoader, WindowSet
from utils.errors import UserError
from utils.files import replacing
from utils.metrics.ava_asd import (
    confusion,
    cross_entropy,
    keras_precision_area,
    keras_roc_area,
    nearest_scores,
    roc_area,
    step_precision,
)
from utils.metrics.average_precision import FaceRows, average_precision
from utils.metrics.f1 import accuracy

logger = logging.getLogger(__name__)

HEADS = {"audio": "audio", "video": "visual", "main": "av"}  # published name: field of Logits
MEASURES = ("accuracy", "map", "ap_sp", "ap_ns", "auc")
COLUMNS = (  # of the table, in the published order
    "weights",
    *(f"{head}_{measure}" for measure in MEASURES for head in HEADS),
    *("orig_main_map", "orig_video_map", "orig_audio_map"),
)
WEIGHTS = ("*.hdf5", "*.h5", "*.model")

Probabilities = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Truth:
    """All labelled rows of a split, which the average precision over original rows counts."""

    faces: NDArray[np.int64]  # (N,) index into the names of a WindowSet, -1 where it has none
    timestamps: NDArray[np.float64]  # (N,) s
    speaking: NDArray[np.bool_]  # (N,)


def score_windows(
    network: AvaASD,
    windows: WindowSet,
    choice: WindowChoice,
    chosen: NDArray[np.int64] | None = None,
    precision: Precision = "fp32",
    progress: Callable[[int], None] | None = None,
) -> dict[str, Probabilities]:
    """Return how likely each window speaks (M,), by published name of the head.

    Args:
        network: Scores on its own device; left as it is.
        windows: The windows.
        choice: Says how many are read at once, and by how many processes.
        chosen: Index of those that are scored; all by default.
        precision: Of the network.
        progress: Told how many windows are scored.
    """
    order = np.arange(len(windows)) if chosen is None else chosen
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    found: dict[str, list[NDArray[np.float64]]] = {}
    done = 0
    with (
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"),
    ):
        for batch in WindowLoader(windows, choice).in_order(order):
            logits = network(batch.audio.to(device), batch.faces.to(device))
            for name, field in HEADS.items():
                head = getattr(logits, field)
                if head is not None:
                    likely = head[:, 0].double().softmax(1)[:, 1]
                    found.setdefault(name, []).append(likely.cpu().numpy())
            done += len(batch.indices)
            if progress:
                progress(done)
    network.train(training)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def truth_of(windows: WindowSet, rows: FaceRows) -> Truth:
    """Return all labelled rows of a split, in the order of the official table.

    Rows of a face without any window count as scored 0; so do those of a video without any, where
    the published evaluation fails. A warning names such videos.
    """
    numbers = {key: number for number, key in enumerate(windows.names)}
    scored = {windows.names[face][0] for face in np.unique(windows.faces).tolist()}
    empty = sorted({video for video, _ in rows.entities} - scored)
    if empty:
        logger.warning("%d videos have no windows and score 0: %s ..", len(empty), empty[0])
    faces = np.array([numbers.get(key, -1) for key in rows.entities], np.int64)
    return Truth(faces[rows.entity], rows.timestamps, rows.values > 0)


def carry_over(likely: Probabilities, windows: WindowSet, truth: Truth) -> NDArray[np.float64]:
    """Return for every labelled row (N,) how likely its nearest window speaks, 0 without any."""
    ends = (windows.faces, windows.stops_s, likely)
    return np.nan_to_num(nearest_scores(truth.faces, truth.timestamps, *ends))


def measure_windows(
    scores: Mapping[str, Probabilities], windows: WindowSet, truth: Truth
) -> dict[str, float]:
    """Return every measure of the published table that the network's heads allow, in [0, 1].

    `map` is over the windows, `orig_.._map` over all labelled rows: that is the official one.
    """
    found = {}
    for name, likely in scores.items():
        found[f"{name}_accuracy"] = accuracy(windows.speaking, likely > 0.5)
        found[f"{name}_map"] = average_precision(windows.speaking, likely)
        found[f"{name}_ap_sp"] = step_precision(windows.speaking, likely)
        # Kept: not speaking counts as positive, but the scores stay those of speaking.
        found[f"{name}_ap_ns"] = step_precision(~windows.speaking, likely)
        found[f"{name}_auc"] = roc_area(windows.speaking, likely)
        rows = carry_over(likely, windows, truth)
        found[f"orig_{name}_map"] = average_precision(truth.speaking, rows)
    return found


def measure_legacy(
    network: AvaASD, scores: Mapping[str, Probabilities], windows: WindowSet
) -> dict[str, float]:
    """Return what the published `--legacy` evaluation, which is Keras' own, prints.

    The total loss is that of training: the heads' losses by their weights, and the penalty. Areas
    are Keras' approximations, over both columns of the softmax.
    """
    penalty = network.penalty()
    weights = network.recipe.loss_weights
    losses = {name: cross_entropy(windows.speaking, likely) for name, likely in scores.items()}
    weighted = [weights.get(HEADS[name], 1.0) * loss for name, loss in losses.items()]
    found = {"total_loss": sum(weighted) + (0.0 if penalty is None else float(penalty.detach()))}
    found |= {f"{name}_loss": loss for name, loss in losses.items()}
    for name, likely in scores.items():
        found[f"{name}_accuracy"] = accuracy(windows.speaking, likely > 0.5)
    for name, likely in scores.items():
        found[f"{name}_roc_auc"] = keras_roc_area(windows.speaking, likely)
    for name, likely in scores.items():
        found[f"{name}_pr_auc"] = keras_precision_area(windows.speaking, likely)
    return found


def report(scores: Mapping[str, Probabilities], windows: WindowSet) -> str:
    """Return precision, recall, F1 and the confusion of each head in words."""
    lines = []
    for name, likely in scores.items():
        table = confusion(windows.speaking, likely > 0.5)
        lines.append(f"{name}: {'precision':>22}{'recall':>10}{'F1':>10}{'windows':>10}")
        for kind, label in enumerate(("not speaking", "speaking")):
            right, called, there = table[kind, kind], table[:, kind].sum(), table[kind].sum()
            precision, recall = right / max(1, called), right / max(1, there)
            both = 2 * right / max(1, called + there)
            lines.append(f"  {label:<16}{precision:>12.4f}{recall:>10.4f}{both:>10.4f}{there:>10}")
        shares = table / np.maximum(1, table.sum(1, keepdims=True))
        lines.append(f"  called so, of those not speaking {shares[0].round(4).tolist()}")
        lines.append(f"  called so, of those speaking     {shares[1].round(4).tolist()}")
    return "\n".join(lines)


def load_any(
    weights: str | Path, variant: Variant | None = None, device: str | torch.device = "cpu"
) -> AvaASD:
    """Return a network with weights: PyTorch's, or Keras' by name, else by the order of layers.

    Args:
        weights: A file, or a name in pretrain/weights.toml.
        variant: Of the network; None is the one that the file shows.
        device: Where it runs.

    Raises:
        UserError: They do not fit; says why.
    """
    found = read_weights(find_file(weights))
    stated = variant or found.variant_for("ava_asd")
    problem: UserError | None = None
    for named in _namings(found.state, found.by_keras):
        try:
            network = build_network("ava_asd", stated or AvaASD.variant_of(named))
            load_released(network, named)
        except UserError as error:
            problem = problem or error
            continue
        assert isinstance(network, AvaASD)
        network.weights = found.file
        return network.eval().to(device)
    raise UserError(f"{found.file.path}: {problem}") from problem


def _namings(state: Mapping[str, Tensor], by_order: bool) -> Iterator[Mapping[str, Tensor]]:
    """Yield weights under the names that they have, then under those that their order gives."""
    yield state
    for mode in MODES if by_order else ():
        with suppress(UserError):  # a mode with another number of layers
            yield by_topology(state, mode)


def evaluate_folder(
    files: Sequence[Path],
    load: Callable[[Path], AvaASD],
    measure: Callable[[AvaASD], Mapping[str, float]],
    table: Path | None,
) -> dict[str, float]:
    """Measure weights, one after the other, into a CSV table; return the AP of each by its name.

    What a network has no head for stays empty. A file that does not fit is named in a warning,
    and the rest goes on.

    Args:
        files: In the order of the table.
        load: Returns the network with a file's weights.
        measure: Returns columns of the table.
        table: What is written, anew after each file; None for none.
    """
    rows: list[dict[str, str | float]] = []
    for number, path in enumerate(files, start=1):
        logger.info("%d of %d: %s", number, len(files), path.name)
        try:
            network = load(path)
        except UserError as error:
            logger.warning("%s is passed over: %s", path.name, error)
            continue
        rows.append({"weights": path.name, **measure(network)})
        if table is not None:
            _write_table(table, rows)
    if not rows:
        raise UserError(f"none of the {len(files)} files in {files[0].parent} is ava_asd's")
    return {str(row["weights"]): float(row["orig_main_map"]) for row in rows}


def weights_of(folder: Path) -> list[Path]:
    """Return the weights files of a folder in natural order."""
    files = sorted({path for kind in WEIGHTS for path in folder.glob(kind)}, key=natural_order)
    if not files:
        raise FileNotFoundError(f"expected weights {', '.join(WEIGHTS)} in {folder}, found none")
    return files


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Return a key that sorts names as people do: 2 before 10."""
    parts = re.split(r"(\d+)", path.name)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def _write_table(path: Path, rows: Sequence[Mapping[str, str | float]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
