"""Score and evaluate the windows of a split, as ava_asd's authors do."""

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.contract import ClipNetwork
from model.ranks import Ranks
from model.scoring.prepared import Precision
from utils.datasets.ava.window_loader import WindowChoice, WindowLoader, WindowSet
from utils.errors import UserError
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
from utils.progress import bar

logger = logging.getLogger(__name__)

SHARE = 1  # part of this module's random seed; the loader uses another
HEADS = {"audio": "audio", "video": "visual", "main": "av"}  # published name: field of Logits

Probabilities = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Truth:
    """All labelled rows of a split, for the official average precision."""

    faces: NDArray[np.int64]  # (N,) index into the names of a WindowSet, -1 if missing there
    timestamps: NDArray[np.float64]  # (N,) s
    speaking: NDArray[np.bool_]  # (N,)


def score_windows(
    network: ClipNetwork,
    windows: WindowSet,
    choice: WindowChoice,
    chosen: NDArray[np.int64] | None = None,
    precision: Precision = "fp32",
    progress: Callable[[int], None] | None = None,
) -> dict[str, Probabilities]:
    """Return the probability of speaking of each window (M,), by published name of the head.

    Args:
        network: Runs on its own device; unchanged.
        windows: The windows.
        choice: Batch size and number of reader processes.
        chosen: Indices of the windows to score; all by default.
        precision: Precision of the network.
        progress: Called with the number of windows scored so far.
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
                    probabilities = head[:, 0].double().softmax(1)[:, 1]
                    found.setdefault(name, []).append(probabilities.cpu().numpy())
            done += len(batch.rows)
            if progress:
                progress(done)
    network.train(training)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def score_together(
    network: ClipNetwork,
    windows: WindowSet,
    choice: WindowChoice,
    ranks: Ranks,
    chosen: NDArray[np.int64],
    precision: Precision = "fp32",
) -> dict[str, Probabilities]:
    """Return the result of `score_windows` in every process; the processes share the work."""
    part_chosen = chosen[ranks.rank :: ranks.size]
    count = len(part_chosen)
    with bar("evaluating", count, "windows") if ranks.first else nullcontext() as progress:
        scores = score_windows(network, windows, choice, part_chosen, precision, progress)
    whole: dict[str, Probabilities] = {}
    for rank, part in enumerate(ranks.gather(scores)):
        for name, speaking in part.items():
            whole.setdefault(name, np.empty(len(chosen)))[rank :: ranks.size] = speaking
    return whole


def measure_share(
    network: ClipNetwork,
    windows: WindowSet,
    choice: WindowChoice,
    ranks: Ranks,
    share: float,
    epoch: int,
) -> tuple[float, float]:
    """Return average precision and loss of the last head on a random fraction of the windows.

    Args:
        network: Runs on its own device; unchanged.
        windows: The windows.
        choice: How they are read; its seed is used for drawing.
        ranks: The processes that share the work.
        share: Fraction of the windows to draw.
        epoch: Epoch; each draws different windows.
    """
    rng = np.random.default_rng((choice.seed, epoch, SHARE))
    count = max(1, int(len(windows) * share))
    chosen = np.sort(rng.choice(len(windows), count, replace=False))
    target = windows.speaking[chosen]
    if not target.any():
        raise UserError(
            f"none of the {count} validation windows of epoch {epoch} is speaking; raise "
            "--judgedShare, or evaluate on more data"
        )
    speaking = score_together(network, windows, choice, ranks, chosen)["main"]
    return average_precision(target, speaking), cross_entropy(target, speaking)


def truth_of(windows: WindowSet, rows: FaceRows) -> Truth:
    """Return all labelled rows of a split, in the order of the official table.

    Rows of faces without a window have score 0; so do those of videos without any window (a warning
    names them), for which the published evaluation fails.
    """
    numbers = {key: number for number, key in enumerate(windows.names)}
    scored = {windows.names[face][0] for face in np.unique(windows.faces).tolist()}
    empty = sorted({video for video, _ in rows.entities} - scored)
    if empty:
        logger.warning("%d videos have no windows and score 0: %s ...", len(empty), empty[0])
    faces = np.array([numbers.get(key, -1) for key in rows.entities], np.int64)
    return Truth(faces[rows.entity], rows.timestamps, rows.values > 0)


def carry_over(speaking: Probabilities, windows: WindowSet, truth: Truth) -> NDArray[np.float64]:
    """Return for every labelled row (N,) the probability of its nearest window, 0 without one."""
    ends = (windows.faces, windows.stops_s, speaking)
    return np.nan_to_num(nearest_scores(truth.faces, truth.timestamps, *ends))


def measure_windows(
    scores: Mapping[str, Probabilities], windows: WindowSet, truth: Truth
) -> dict[str, float]:
    """Return the measures of the published table for the network's heads, in [0, 1].

    `map` is over windows, `orig_.._map` over all labelled rows: the latter is the official one.
    """
    found = {}
    for name, speaking in scores.items():
        found[f"{name}_accuracy"] = accuracy(windows.speaking, speaking > 0.5)
        found[f"{name}_map"] = average_precision(windows.speaking, speaking)
        found[f"{name}_ap_sp"] = step_precision(windows.speaking, speaking)
        # Kept: not speaking counts as positive, but the scores stay those of speaking.
        found[f"{name}_ap_ns"] = step_precision(~windows.speaking, speaking)
        found[f"{name}_auc"] = roc_area(windows.speaking, speaking)
        rows = carry_over(speaking, windows, truth)
        found[f"orig_{name}_map"] = average_precision(truth.speaking, rows)
    return found


def measure_legacy(
    network: ClipNetwork, scores: Mapping[str, Probabilities], windows: WindowSet
) -> dict[str, float]:
    """Return the measures of the published `--legacy` evaluation, computed as in Keras.

    The total loss is that of training: the weighted losses of the heads plus the penalty. Areas
    are Keras' approximations, over both columns of the softmax.
    """
    penalty = network.penalty()
    weights = network.recipe.loss_weights
    losses = {name: cross_entropy(windows.speaking, speaking) for name, speaking in scores.items()}
    weighted = [weights.get(HEADS[name], 1.0) * loss for name, loss in losses.items()]
    found = {"total_loss": sum(weighted) + (0.0 if penalty is None else float(penalty.detach()))}
    found |= {f"{name}_loss": loss for name, loss in losses.items()}
    for name, speaking in scores.items():
        found[f"{name}_accuracy"] = accuracy(windows.speaking, speaking > 0.5)
    for name, speaking in scores.items():
        found[f"{name}_roc_auc"] = keras_roc_area(windows.speaking, speaking)
    for name, speaking in scores.items():
        found[f"{name}_pr_auc"] = keras_precision_area(windows.speaking, speaking)
    return found


def report(scores: Mapping[str, Probabilities], windows: WindowSet) -> str:
    """Return precision, recall, F1 and the confusion matrix of each head as text."""
    lines = []
    for name, speaking in scores.items():
        table = confusion(windows.speaking, speaking > 0.5)
        lines.append(f"{name}: {'precision':>22}{'recall':>10}{'F1':>10}{'windows':>10}")
        for kind, label in enumerate(("not speaking", "speaking")):
            correct, predicted, actual = table[kind, kind], table[:, kind].sum(), table[kind].sum()
            precision, recall = correct / max(1, predicted), correct / max(1, actual)
            f1 = 2 * correct / max(1, predicted + actual)
            lines.append(f"  {label:<16}{precision:>12.4f}{recall:>10.4f}{f1:>10.4f}{actual:>10}")
        shares = table / np.maximum(1, table.sum(1, keepdims=True))
        lines.append(f"  predictions for not speaking {shares[0].round(4).tolist()}")
        lines.append(f"  predictions for speaking     {shares[1].round(4).tolist()}")
    return "\n".join(lines)
