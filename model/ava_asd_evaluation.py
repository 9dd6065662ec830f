"""Evaluate ava_asd as its authors do: one file of weights, or all of a folder into a table."""

import csv
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.building import load_released
from model.keras_weights import by_topology, is_keras, load_keras_state
from model.networks.ava_asd import AvaASD
from model.scoring import Precision
from model.states import load_state
from utils.datasets.ava_asd_loading import WindowChoice, WindowLoader, WindowSet
from utils.datasets.ava_asd_windows import VideoRows
from utils.files import replacing
from utils.metrics.ava_asd import confusion, nearest_scores, roc_area, step_precision
from utils.metrics.average_precision import average_precision
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


def truth_of(windows: WindowSet, rows: Sequence[VideoRows]) -> Truth:
    """Return all labelled rows of a split.

    Rows of a face without any window count as scored 0; so do those of a video without any, where
    the published evaluation fails. A warning names such videos.
    """
    numbers = {key: number for number, key in enumerate(windows.names)}
    scored = {windows.names[face][0] for face in np.unique(windows.faces).tolist()}
    empty = [one.video for one in rows if one.video not in scored]
    if empty:
        logger.warning("%d videos have no windows and score 0: %s ..", len(empty), empty[0])
    faces = [
        np.array([numbers.get((one.video, name), -1) for name in one.names], np.int64)[one.faces]
        for one in rows
    ]
    return Truth(
        np.concatenate(faces),
        np.concatenate([one.timestamps for one in rows]),
        np.concatenate([one.speaking for one in rows]),
    )


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
        nearest = nearest_scores(
            truth.faces, truth.timestamps, windows.faces, windows.stops_s, likely
        )
        found[f"orig_{name}_map"] = average_precision(truth.speaking, np.nan_to_num(nearest))
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


def load_any(path: Path, network: AvaASD) -> None:
    """Put a file of weights into a network: PyTorch's, or Keras' by name, else by topology.

    Raises:
        ValueError: They do not fit; says why.
    """
    if not is_keras(path):
        load_released(network, load_state(path))
        return
    state = load_keras_state(path)
    try:
        load_released(network, state)
    except ValueError as error:
        try:
            load_released(network, by_topology(state, network.mode))
        except ValueError:
            raise ValueError(f"{path}: {error}") from error


def evaluate_folder(
    folder: Path,
    network: AvaASD,
    measure: Callable[[AvaASD], Mapping[str, float]],
    table: Path,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Measure all weights of a folder, in natural order, into a CSV table; return how many.

    What a network has no head for stays empty. A file that does not fit is named in a warning,
    and the rest goes on.

    Args:
        folder: Holds files `.hdf5`, `.h5` or `.model`.
        network: Of their variant; holds the last ones afterwards.
        measure: Returns columns of the table.
        table: What is written, anew after each file.
        progress: Told how many files are done, and how many there are.
    """
    files = sorted({path for kind in WEIGHTS for path in folder.glob(kind)}, key=natural_order)
    if not files:
        raise FileNotFoundError(f"expected weights {', '.join(WEIGHTS)} in {folder}, found none")
    rows: list[dict[str, str | float]] = []
    for number, path in enumerate(files):
        if progress:
            progress(number, len(files))
        try:
            load_any(path, network)
        except ValueError as error:
            logger.warning("%s is passed over: %s", path.name, error)
            continue
        rows.append({"weights": path.name, **measure(network)})
        _write_table(table, rows)
    if not rows:
        raise ValueError(f"none of the {len(files)} files in {folder} fits this network")
    return len(rows)


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Return a key that sorts names as people do: 2 before 10."""
    parts = re.split(r"(\d+)", path.name)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def _write_table(path: Path, rows: Sequence[Mapping[str, str | float]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
