"""Evaluate detected speech positions of TragicTalkers' views; write tables and plot."""

import csv
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from utils.arrays.line_plot import Axis, Curve, draw_curves
from utils.arrays.speech_positions import Heard
from utils.datasets.tragic_talkers.labels import ViewTruth, read_truth
from utils.datasets.tragic_talkers.layout import CameraView, TragicTalkers
from utils.errors import UserError
from utils.files import replacing
from utils.metrics.localisation import (
    COLUMNS,
    TOLERANCES,
    WIDTH,
    Errors,
    LocalisedFrames,
    Matrix,
    active_truth,
    area,
    best_f1,
    errors,
    group_f1,
    pool,
    precision_recall,
    smoothed_precision,
    standard_error,
)


@dataclass(frozen=True, eq=False)
class ArrayEvaluation:
    """Measures of localisation at one tolerance."""

    tolerance: int  # px
    errors: Errors  # independent of the tolerance
    matrix: Matrix  # of all frames
    groups: Mapping[str, Matrix]  # by sequence and rig, such as interactive1_t2/01

    @property
    def ap(self) -> float:
        """Average precision, in [0, 1]."""
        return area(self.matrix)

    @property
    def f1(self) -> float:
        """Best F1 of smoothed precision and recall, in [0, 1]."""
        return best_f1(self.matrix)[0]

    def describe(self) -> str:
        """Return the result as text."""
        f1, row = best_f1(self.matrix)
        f1s = group_f1(list(self.groups.values()), row)
        values, threshold = self.errors, self.matrix[row, 0] / 100
        return (
            f"aD {values.distance:.2f} px (standard error {values.distance_error:.2f}), detection "
            f"error {values.detection:.2f} % (standard error {values.detection_error:.4f})\n"
            f"within {self.tolerance} px: AP {self.ap:.4f}, F1 {f1:.4f} at confidence "
            f"{threshold:.4g}, by sequence and rig {f1s.mean():.4f} "
            f"(standard error {standard_error(f1s.tolist()):.4f})"
        )


def compare(name: str, truth: ViewTruth, heard: Heard) -> LocalisedFrames:
    """Return ground truth and detections of the frames of a view.

    Raises:
        UserError: Their numbers of frames differ.
    """
    positions, speaking = active_truth(truth.positions, truth.speaking)
    if len(heard) != len(speaking):
        raise UserError(
            f"{name}: expected {len(speaking)} frames as in the ground truth, found {len(heard)}"
        )
    return LocalisedFrames(positions, speaking, heard.positions * float(WIDTH), heard.confidences)


def compare_all(
    layout: TragicTalkers, heard: Mapping[str, Heard]
) -> dict[CameraView, LocalisedFrames]:
    """Return ground truth and detections of all views.

    Raises:
        FileNotFoundError: The ground truth of a view is missing.
    """
    frames = {}
    for name, detections in heard.items():
        view = CameraView.parse(name)
        frames[view] = compare(name, read_truth(layout.truth_path(view)), detections)
    return frames


def evaluate(
    views: Mapping[CameraView, LocalisedFrames], tolerance: int = TOLERANCES[0]
) -> ArrayEvaluation:
    """Return the measures of localisation; errors are means over sequences and rigs.

    Args:
        views: Ground truth and detections of all views.
        tolerance: Maximum distance of a detection from the speaker, px.
    """
    if not views:
        raise UserError("expected views to evaluate, got none")
    if tolerance <= 0:
        raise UserError(f"--tolerance must be above 0, got {tolerance}")
    parts: dict[str, list[LocalisedFrames]] = {}
    for view, frames in views.items():
        parts.setdefault(f"{view.sequence}/{view.rig:02d}", []).append(frames)
    groups = {name: pool(frames) for name, frames in sorted(parts.items())}
    return ArrayEvaluation(
        tolerance,
        errors(list(groups.values())),
        precision_recall(pool(list(groups.values())), tolerance),
        {name: precision_recall(frames, tolerance) for name, frames in groups.items()},
    )


def write_evaluation(evaluation: ArrayEvaluation, folder: Path, plot: bool = True) -> list[Path]:
    """Write the matrix as CSV, the groups' matrices as a pickle, and the plot; return the files."""
    stem = f"{evaluation.tolerance}_sigmoid"
    table = folder / f"precision_recall_{stem}.csv"
    with replacing(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(evaluation.matrix.tolist())
    groups = folder / f"seq_wise_prec_rec_{stem}.pckl"
    with replacing(groups) as temporary, temporary.open("wb") as binary:
        pickle.dump(dict(evaluation.groups), binary)
    written = [table, groups]
    if plot:
        written.append(folder / f"precision_recall_{stem}.png")
        plot_systems({"": evaluation.matrix}, evaluation.tolerance, written[-1])
    return written


def plot_systems(systems: Mapping[str, Matrix], tolerance: int, path: Path) -> None:
    """Draw the precision-recall curves of systems by name, with the point of the best F1."""
    curves = []
    for name, matrix in systems.items():
        f1, row = best_f1(matrix)
        label = f"{name} F1 {f1:.3f}, AP {area(matrix):.3f}".strip()
        precision = smoothed_precision(matrix).tolist()
        curves.append(Curve(label, matrix[:, 5].tolist(), precision, row))
    axes = Axis("recall", 0.5, 1.0), Axis("precision", 0.5, 1.01)
    draw_curves(f"speakers found within {tolerance} px", *axes, curves, path)
