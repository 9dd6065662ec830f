"""The Columbia evaluation: F1 of each labelled speaker, as published and with its faults mended.

Labels are squares round heads at 29.97 frames/s in pixels of a picture 360 rows high; faces are
tracks at 25 frames/s in pixels of the video. A label is given the score of the face found there;
where there is none, the speaker counts as silent.
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
LABEL_HEIGHT = 360  # rows of the picture that labels are given in
AVERAGED = ("bell", "boll", "lieb", "long", "sick")
SPEAKERS = (*AVERAGED, "abbas")  # abbas hardly ever speaks and is left out of the average
# Labels enclose the head, detectors the face, so half would be too much to ask: 0.25 is a square
# of half the side in the middle of the label. A neighbour's face shares next to nothing with it.
MIN_IOU = 0.25


@dataclass(frozen=True, eq=False)
class SpeakerLabels:
    """Where one person's head is and whether the person speaks."""

    frames: NDArray[np.int64]  # (N,) at 29.97 frames/s
    squares: NDArray[np.float64]  # (N, 3) left, top, side in pixels of the label picture
    speaking: NDArray[np.bool_]  # (N,)


@dataclass(frozen=True, eq=False)
class PublishedTrack:
    """A track as the published demo saves it: smoothed squares, scores rounded to 0.1."""

    start: int  # frame of the first square, at 25 frames/s
    x: NDArray[np.float64]  # (T,) centre, pixels of the video
    y: NDArray[np.float64]  # (T,)
    s: NDArray[np.float64]  # (T,) half of the side
    scores: NDArray[np.float64]  # (n,), n usually T - 1


class Answers(NamedTuple):
    """What was found for each label of one speaker."""

    speaking: NDArray[np.bool_]  # (N,)
    matched: NDArray[np.bool_]  # (N,) whether any face was found there


class Pairs(NamedTuple):
    """Each label with each track that has a face in the label's frame."""

    label: NDArray[np.int64]  # (P,)
    track: NDArray[np.int64]  # (P,)
    boxes: NDArray[np.float64]  # (P, 4) of the face, in pixels of the label picture
    scores: NDArray[np.float64]  # (P,) of the face, smoothed


def evaluate(
    labels: Mapping[str, SpeakerLabels],
    tracks: Sequence[ScoredTrack],
    video_height: int,
) -> dict[str, Any]:
    """Return both tables, ready for JSON: {"published": ..., "mended": ..., the picture heights}.

    Args:
        labels: By name; all of `SPEAKERS`.
        tracks: Everything found in the video, in any order.
        video_height: Rows of the pictures that the boxes are given in.
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
        "mended": make_table(labels, answer_mended(labels, tracks, video_height)),
    }


def as_published(track: ScoredTrack) -> PublishedTrack:
    """Return the track as the published demo would have saved it.

    Kept: the published demo has no score for a track's last frame and rounds scores to 0.1.
    """
    x, y, s = smooth_boxes(track.boxes)
    scores: NDArray[np.float64] = track.scores[: len(track.boxes) - 1].astype(np.float64).round(1)
    return PublishedTrack(track.start, x, y, s, scores)


def answer_as_published(
    labels: Mapping[str, SpeakerLabels], tracks: Sequence[PublishedTrack]
) -> dict[str, Answers]:
    """Answer every label exactly by the published procedure.

    Kept: boxes are halved whatever the video's size, a face need only lie half inside the
    label (so a small face wins over the right one, and one face may serve two labels), the last
    score of each track is never used.
    """
    squares = []
    for track in tracks:
        x, y, s = track.x, track.y, track.s
        corners = np.trunc(np.stack([x - s, y - s, x + s, y + s], axis=1))
        squares.append(np.floor_divide(corners, 2))
    starts = [track.start for track in tracks]
    means = [np.round(mean_of_five(track.scores[:-1], len(track.x)), 2) for track in tracks]
    answers = {}
    for name, known in labels.items():
        pairs = pair(known.frames, starts, squares, means)
        shared = shared_areas(square_boxes(known.squares)[pairs.label], pairs.boxes)
        area = box_areas(pairs.boxes)
        overlap = np.divide(shared, area, out=np.zeros_like(shared), where=area > 0)
        near = np.flatnonzero(overlap > 0.5)
        # of equal overlaps the higher score wins; a face that has no score loses to any other
        tie_break = np.nan_to_num(pairs.scores[near], nan=-np.inf)
        near = near[np.lexsort((tie_break, overlap[near]))]
        found = np.full(len(known.frames), np.nan)
        matched = np.zeros(len(found), np.bool_)
        found[pairs.label[near]] = pairs.scores[near]  # the last one written is the best
        matched[pairs.label[near]] = True
        answers[name] = Answers(found > 0, matched)
    return answers


def answer_mended(
    labels: Mapping[str, SpeakerLabels], tracks: Sequence[ScoredTrack], video_height: int
) -> dict[str, Answers]:
    """Answer every label with the faults of the published procedure mended.

    Boxes are scaled by the video's real height and compared by intersection over union; in each
    labelled frame a face serves one label and a label gets one face, the best pairs first; all
    scores are used, unrounded.
    """
    squares = [square(track.boxes) * (LABEL_HEIGHT / video_height) for track in tracks]
    means = [smooth_scores(track.scores).astype(np.float64) for track in tracks]
    frames = np.concatenate([known.frames for known in labels.values()])
    heads = np.concatenate([known.squares for known in labels.values()])
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
    ends = np.cumsum([len(known.frames) for known in labels.values()])[:-1]
    return {
        name: Answers(*answer)
        for name, *answer in zip(
            labels, np.split(found > 0, ends), np.split(matched, ends), strict=True
        )
    }


def make_table(
    labels: Mapping[str, SpeakerLabels], answers: Mapping[str, Answers]
) -> dict[str, Any]:
    """Return {"speakers": {name: figures}, "average_f1": over five of them}, in per cent."""
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
    """Return what `evaluate` found as text, published and mended side by side."""
    published, mended = report["published"], report["mended"]
    lines = [
        f"{'':<12}{'published':>14}{'mended':>16}",
        f"{'Columbia, %':<12}{'ACC':>7}{'F1':>7}{'ACC':>9}{'F1':>7}"
        f"{'F1 of found':>14}{'labels':>9}{'not found':>12} (speaking)",
    ]
    for name in SPEAKERS:
        one, two = published["speakers"][name], mended["speakers"][name]
        lines.append(
            f"{name:<12}{one['accuracy']:7.2f}{one['f1']:7.2f}"
            f"{two['accuracy']:9.2f}{two['f1']:7.2f}{two['f1_of_found']:14.2f}"
            f"{two['num_labels']:9d}{two['num_not_found']:12d}"
            f" ({two['num_speaking_not_found']})"
        )
    averages = f"{published['average_f1']:14.2f}{mended['average_f1']:16.2f}"
    return "\n".join([*lines, f"{'average':<12}{averages}   (without abbas)"])


def pair(
    label_frames: NDArray[np.int64],
    starts: Sequence[int],
    boxes: Sequence[NDArray[np.float64]],
    scores: Sequence[NDArray[np.float64]],
) -> Pairs:
    """Return all pairs of a label and a face of the same frame.

    Several labels may fall on one frame, since 29.97 of them make 25.
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
    """Return the squares (T, 4) round the boxes' centres, as wide as their longer sides."""
    low, high = np.asarray(boxes[:, :2], np.float64), np.asarray(boxes[:, 2:], np.float64)
    half = (high - low).max(axis=1, keepdims=True) / 2
    return np.concatenate([(low + high) / 2 - half, (low + high) / 2 + half], axis=1)


def mean_of_five(scores: NDArray[np.float64], num_frames: int) -> NDArray[np.float64]:
    """Return each frame's mean over the scores of two frames to either side; NaN of none.

    Kept: frames may outnumber scores, as in the published demo.
    """
    known = scores[: num_frames + 2]
    padded = np.zeros((2, num_frames + 4))  # sums above, counts below
    padded[0, 2 : 2 + len(known)] = known
    padded[1, 2 : 2 + len(known)] = 1
    total, count = np.lib.stride_tricks.sliding_window_view(padded, 5, axis=1).sum(axis=2)
    means = np.full(num_frames, np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means
