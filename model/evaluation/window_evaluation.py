"""Score the windows of a split and measure them, as the authors of ava_asd do."""

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.contract import ClipNetwork
from model.ranks import Ranks
from model.scoring.windows import Precision
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

SHARE = 1  # purpose of a generator; the loader has its own
HEADS = {"audio": "audio", "video": "visual", "main": "av"}  # published name: field of Logits

Probabilities = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Truth:
    """All labelled rows of a split, which the average precision over original rows counts."""

    faces: NDArray[np.int64]  # (N,) index into the names of a WindowSet, -1 where it has none
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
    """Return what `score_windows` does; the processes share the work, and each has all of it."""
    own = chosen[ranks.rank :: ranks.size]
    with bar("evaluating", len(own), "windows") if ranks.first else nullcontext() as progress:
        scores = score_windows(network, windows, choice, own, precision, progress)
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
    """Return average precision and loss of the last head on a share of the windows.

    Args:
        network: Scores on its own device; unchanged.
        windows: The windows.
        choice: How they are read; its seed draws the share.
        ranks: The processes that share the work.
        share: Of the windows that are measured.
        epoch: For which windows are drawn anew.
    """
    rng = np.random.default_rng((choice.seed, epoch, SHARE))
    count = max(1, int(len(windows) * share))
    chosen = np.sort(rng.choice(len(windows), count, replace=False))
    target = windows.speaking[chosen]
    if not target.any():
        raise UserError(
            f"none of the {count} windows that judge epoch {epoch} is speaking; raise "
            "--judgedShare, or evaluate on more data"
        )
    speaking = score_together(network, windows, choice, ranks, chosen)["main"]
    return average_precision(target, speaking), cross_entropy(target, speaking)


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
    network: ClipNetwork, scores: Mapping[str, Probabilities], windows: WindowSet
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
