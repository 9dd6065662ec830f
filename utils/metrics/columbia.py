"""The Columbia evaluation: F1 of each labelled speaker, as published and with its errors fixed.

Labels are squares around heads at 29.97 frames/s in pixels of an image 360 rows high; faces are
tracks at 25 frames/s in pixels of the video. A label gets the score of the face found there;
without a face, the speaker counts as silent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from utils.boxes import box_areas, iou, shared_areas
from utils.errors import UserError
from utils.metrics.f1 import accuracy, f1
from utils.scores import smooth_scores
from utils.structures import FPS, ScoredTrack
from utils.tracking.crop_geometry import smooth_boxes

LABEL_FPS = 29.97
LABEL_HEIGHT = 360  # image height to which the labels refer
AVERAGED = ("bell", "boll", "lieb", "long", "sick")
SPEAKERS = (*AVERAGED, "abbas")  # abbas hardly speaks and is excluded from the average
# Labels enclose the head, detectors the face, so 0.5 would be too strict: 0.25 is the IoU of a
# square of half the side in the middle of the label. A neighbour's face hardly overlaps it.
MIN_IOU = 0.25


@dataclass(frozen=True, eq=False)
class SpeakerLabels:
    """Head positions of one person, and whether the person speaks."""

    frames: NDArray[np.int64]  # (N,) at 29.97 frames/s
    squares: NDArray[np.float64]  # (N, 3) left, top, side in pixels of the label image
    speaking: NDArray[np.bool_]  # (N,)


@dataclass(frozen=True, eq=False)
class PublishedTrack:
    """A track as saved by the original demo: smoothed squares, scores rounded to 0.1."""

    start: int  # frame of the first square, at 25 frames/s
    x: NDArray[np.float64]  # (T,) centre, pixels of the video
    y: NDArray[np.float64]  # (T,)
    s: NDArray[np.float64]  # (T,) half of the side
    scores: NDArray[np.float64]  # (n,), n usually T - 1


class Answers(NamedTuple):
    """Predictions for each label of one speaker."""

    speaking: NDArray[np.bool_]  # (N,)
    matched: NDArray[np.bool_]  # (N,) whether any face was found there


class Pairs(NamedTuple):
    """All pairs of a label and a track with a face in the label's frame."""

    label: NDArray[np.int64]  # (P,)
    track: NDArray[np.int64]  # (P,)
    boxes: NDArray[np.float64]  # (P, 4) of the face, in pixels of the label image
    scores: NDArray[np.float64]  # (P,) of the face, smoothed


def evaluate(
    labels: Mapping[str, SpeakerLabels],
    tracks: Sequence[ScoredTrack],
    video_height: int,
) -> dict[str, Any]:
    """Return both tables for JSON: "published", "mended" (errors fixed) and the image heights.

    Args:
        labels: By name; all of `SPEAKERS`.
        tracks: All tracks of the video, in any order.
        video_height: Image height to which the boxes refer.
    """
    missing = [name for name in SPEAKERS if name not in labels]
    if missing:
        raise UserError(f"expected labels of {', '.join(SPEAKERS)}; no {', '.join(missing)}")
    if video_height < 1:
        raise ValueError(f"expected the video's height in pixels, got {video_height}")
    published = [as_published(track) for track in tracks]
    return {
        "label_height": LABEL_HEIGHT,
        "video_height": video_height,
        "published": make_table(labels, answer_as_published(labels, published)),
        "mended": make_table(labels, answer_fixed(labels, tracks, video_height)),
    }


def as_published(track: ScoredTrack) -> PublishedTrack:
    """Return the track as the original demo would have saved it.

    Kept: the original demo has no score for a track's last frame and rounds scores to 0.1.
    """
    x, y, s = smooth_boxes(track.boxes)
    scores: NDArray[np.float64] = track.scores[: len(track.boxes) - 1].astype(np.float64).round(1)
    return PublishedTrack(track.start, x, y, s, scores)


def answer_as_published(
    labels: Mapping[str, SpeakerLabels], tracks: Sequence[PublishedTrack]
) -> dict[str, Answers]:
    """Return the predictions for every label by the published procedure.

    Kept: boxes are halved for any video size; a face need only be half inside the label, so a
    small face may win over the right one and one face may match two labels; the last score of each
    track is never used.
    """
    squares = []
    for track in tracks:
        x, y, s = track.x, track.y, track.s
        corners = np.trunc(np.stack([x - s, y - s, x + s, y + s], axis=1))
        squares.append(np.floor_divide(corners, 2))
    starts = [track.start for track in tracks]
    means = [np.round(mean_of_five(track.scores[:-1], len(track.x)), 2) for track in tracks]
    answers = {}
    for name, truth in labels.items():
        pairs = pair(truth.frames, starts, squares, means)
        shared = shared_areas(square_boxes(truth.squares)[pairs.label], pairs.boxes)
        area = box_areas(pairs.boxes)
        overlap = np.divide(shared, area, out=np.zeros_like(shared), where=area > 0)
        near = np.flatnonzero(overlap > 0.5)
        # Of equal overlaps the higher score wins; a face without a score loses to any other.
        tie_break = np.nan_to_num(pairs.scores[near], nan=-np.inf)
        near = near[np.lexsort((tie_break, overlap[near]))]
        found = np.full(len(truth.frames), np.nan)
        matched = np.zeros(len(found), np.bool_)
        found[pairs.label[near]] = pairs.scores[near]  # sorted: the last one written is the best
        matched[pairs.label[near]] = True
        answers[name] = Answers(found > 0, matched)
    return answers


def answer_fixed(
    labels: Mapping[str, SpeakerLabels], tracks: Sequence[ScoredTrack], video_height: int
) -> dict[str, Answers]:
    """Return the predictions for every label with the errors of the published procedure fixed.

    Boxes are scaled by the video's real height and compared by IoU; in each labelled frame, faces
    and labels are matched one to one, best pairs first; all scores are used, unrounded.
    """
    squares = [square(track.boxes) * (LABEL_HEIGHT / video_height) for track in tracks]
    means = [smooth_scores(track.scores).astype(np.float64) for track in tracks]
    frames = np.concatenate([truth.frames for truth in labels.values()])
    heads = np.concatenate([truth.squares for truth in labels.values()])
    pairs = pair(frames, [track.start for track in tracks], squares, means)
    overlap = iou(square_boxes(heads)[pairs.label], pairs.boxes)
    found = np.full(len(frames), np.nan)
    matched = np.zeros(len(frames), np.bool_)
    taken: set[tuple[int, int]] = set()  # (labelled frame, track)
    near = np.flatnonzero(overlap > MIN_IOU)
    for index in near[np.argsort(-overlap[near], kind="stable")]:
        label = pairs.label[index]
        face = (int(frames[label]), int(pairs.track[index]))
        if not matched[label] and face not in taken:
            taken.add(face)
            matched[label] = True
            found[label] = pairs.scores[index]
    ends = np.cumsum([len(truth.frames) for truth in labels.values()])[:-1]
    return {
        name: Answers(*answer)
        for name, *answer in zip(
            labels, np.split(found > 0, ends), np.split(matched, ends), strict=True
        )
    }


def make_table(
    labels: Mapping[str, SpeakerLabels], answers: Mapping[str, Answers]
) -> dict[str, Any]:
    """Return {"speakers": {name: figures}, "average_f1": over five of them}, in percent."""
    speakers = {}
    for name in SPEAKERS:
        truth, (speaking, matched) = labels[name].speaking, answers[name]
        speakers[name] = {
            "accuracy": 100 * accuracy(truth, speaking),
            "f1": 100 * f1(truth, speaking),
            "f1_of_found": 100 * f1(truth[matched], speaking[matched]),
            "num_labels": len(truth),
            "num_not_found": int(np.count_nonzero(~matched)),
            "num_speaking_not_found": int(np.count_nonzero(truth & ~matched)),
        }
    average = float(np.mean([speakers[name]["f1"] for name in AVERAGED]))
    return {"speakers": speakers, "average_f1": average}


def format_tables(report: Mapping[str, Any]) -> str:
    """Return the tables of `evaluate` as text, published and fixed side by side."""
    published, fixed = report["published"], report["mended"]
    lines = [
        f"{'':<12}{'published':>14}{'fixed':>16}",
        f"{'Columbia, %':<12}{'ACC':>7}{'F1':>7}{'ACC':>9}{'F1':>7}"
        f"{'F1 of found':>14}{'labels':>9}{'not found':>12} (speaking)",
    ]
    for name in SPEAKERS:
        left, right = published["speakers"][name], fixed["speakers"][name]
        lines.append(
            f"{name:<12}{left['accuracy']:7.2f}{left['f1']:7.2f}"
            f"{right['accuracy']:9.2f}{right['f1']:7.2f}{right['f1_of_found']:14.2f}"
            f"{right['num_labels']:9d}{right['num_not_found']:12d}"
            f" ({right['num_speaking_not_found']})"
        )
    averages = f"{published['average_f1']:14.2f}{fixed['average_f1']:16.2f}"
    return "\n".join([*lines, f"{'average':<12}{averages}   (without abbas)"])


def pair(
    label_frames: NDArray[np.int64],
    starts: Sequence[int],
    boxes: Sequence[NDArray[np.float64]],
    scores: Sequence[NDArray[np.float64]],
) -> Pairs:
    """Return all pairs of a label and a face of the same frame.

    Several labels may belong to one frame, because 29.97 labels correspond to 25 frames.
    """
    frames = (label_frames / LABEL_FPS * FPS).astype(np.int64)  # rounded down, as published
    order = np.argsort(frames, kind="stable")
    frames = frames[order]
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4)), np.empty(0))]
    for track, (start, squares, means) in enumerate(zip(starts, boxes, scores, strict=True)):
        first, last = np.searchsorted(frames, [start, start + len(squares)])
        rows = frames[first:last] - start
        number = np.full(last - first, track, np.int64)
        parts.append((order[first:last], number, squares[rows], means[rows]))
    return Pairs(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def square_boxes(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return squares (P, 3) left, top, side as boxes (P, 4)."""
    return np.concatenate([squares[:, :2], squares[:, :2] + squares[:, 2:]], axis=1)


def square(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the squares (T, 4) around the boxes' centres, as wide as their longer sides."""
    low, high = np.asarray(boxes[:, :2], np.float64), np.asarray(boxes[:, 2:], np.float64)
    half = (high - low).max(axis=1, keepdims=True) / 2
    return np.concatenate([(low + high) / 2 - half, (low + high) / 2 + half], axis=1)


def mean_of_five(scores: NDArray[np.float64], num_frames: int) -> NDArray[np.float64]:
    """Return each frame's mean over the scores of two frames on either side; NaN without any.

    Kept: frames may outnumber scores, as in the original demo.
    """
    used = scores[: num_frames + 2]
    padded = np.zeros((2, num_frames + 4))  # row 0: scores, row 1: counts
    padded[0, 2 : 2 + len(used)] = used
    padded[1, 2 : 2 + len(used)] = 1
    total, count = np.lib.stride_tricks.sliding_window_view(padded, 5, axis=1).sum(axis=2)
    means = np.full(num_frames, np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means
