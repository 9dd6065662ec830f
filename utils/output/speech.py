"""Stretches of speech, of a track and of a person."""

from collections.abc import Iterable

import numpy as np

from utils.scores import smooth_scores
from utils.structures import FPS, ScoredTrack, Segment

JOIN_FRAMES = 5  # a pause shorter than this (0.2 s) does not end a segment
MIN_FRAMES = 3  # speech shorter than this (0.12 s) is no segment
TURN_PAUSE_S = 1.0  # a longer pause of a person ends their turn


def find_segments(track: ScoredTrack) -> list[Segment]:
    """Return the stretches of speech of a track: where its smoothed score is at least 0.

    Pauses below 0.2 s are joined first, then speech below 0.12 s is dropped (shorter tracks may
    speak throughout).
    """
    smoothed = smooth_scores(track.scores)
    speaking = np.concatenate(([False], smoothed >= 0, [False]))
    edges = np.flatnonzero(speaking[1:] != speaking[:-1]).reshape(-1, 2)
    runs: list[list[int]] = []
    for start, stop in edges.tolist():
        if runs and start - runs[-1][1] < JOIN_FRAMES:
            runs[-1][1] = stop
        else:
            runs.append([start, stop])
    shortest = min(MIN_FRAMES, len(smoothed))
    return [
        Segment(
            track.id,
            (track.start + start) / FPS,
            (track.start + stop) / FPS,
            float(smoothed[start:stop].mean()),
        )
        for start, stop in runs
        if stop - start >= shortest
    ]


def join_segments(parts: Iterable[Segment], person: int) -> tuple[Segment, ...]:
    """Return the speech of a person: that of their tracks in order, pauses below 0.2 s joined.

    So speech that goes on across a cut is one segment. Scores are weighted by length.
    """
    joined: list[Segment] = []
    for part in sorted(parts, key=lambda part: part.start_s):
        last = joined[-1] if joined else None
        if last is None or part.start_s - last.stop_s >= JOIN_FRAMES / FPS - 1e-9:
            joined.append(Segment(None, part.start_s, part.stop_s, part.score, person))
            continue
        lengths = (last.stop_s - last.start_s, part.stop_s - part.start_s)
        score = (last.score * lengths[0] + part.score * lengths[1]) / sum(lengths)
        stop_s = max(last.stop_s, part.stop_s)
        joined[-1] = Segment(None, last.start_s, stop_s, score, person)
    return tuple(joined)


def num_turns(segments: Iterable[Segment]) -> int:
    """Return how often a person takes the floor: pauses of up to a second do not end a turn."""
    turns, stop_s = 0, float("-inf")
    for part in segments:
        turns += part.start_s - stop_s > TURN_PAUSE_S
        stop_s = part.stop_s
    return turns
