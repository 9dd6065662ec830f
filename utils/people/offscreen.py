"""Speech of people who are not seen: a voice is heard, and no visible face speaks."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from utils.structures import Segment

ON, OFF = 0.0, -0.62  # log-odds at which speech begins and ends: 0.5 and 0.35, as published
PAUSE_S = 0.3  # shorter pauses do not end speech
NEAR_S = 0.4  # around speech of a face the voice is its own
SHORTEST_S = 1.0  # of speech off screen: the ends of what a face says are often missed

Stretch = tuple[float, float]  # start_s, stop_s


def find_offscreen(
    log_odds: NDArray[np.float32], step_s: float, start_s: float, visible: Iterable[Segment]
) -> list[Segment]:
    """Return speech that no visible face speaks, in order.

    Args:
        log_odds: (N,) that a voice is heard, for each step.
        step_s: Length of a step.
        start_s: Time of the first one.
        visible: Speech of all faces.
    """
    voices = [
        (start_s + first * step_s, start_s + last * step_s)
        for first, last in find_voices(log_odds, round(PAUSE_S / step_s))
    ]
    faces = sorted((part.start_s - NEAR_S, part.stop_s + NEAR_S) for part in visible)
    found = []
    for begin_s, end_s in _without(voices, faces):
        if end_s - begin_s >= SHORTEST_S:
            first, last = (round((time_s - start_s) / step_s) for time_s in (begin_s, end_s))
            score = float(log_odds[first:last].mean())
            found.append(Segment(None, begin_s, end_s, score, kind="offscreen"))
    return found


def find_voices(log_odds: NDArray[np.float32], pause: int) -> list[tuple[int, int]]:
    """Return ranges of steps with a voice; pauses shorter than `pause` steps are joined."""
    speaking = False
    ranges: list[list[int]] = []
    for step, value in enumerate(log_odds.tolist()):
        if value >= (OFF if speaking else ON):
            if not speaking and not (ranges and step - ranges[-1][1] < pause):
                ranges.append([step, step])
            ranges[-1][1] = step + 1
            speaking = True
        else:
            speaking = False
    return [(first, last) for first, last in ranges]


def _without(stretches: Iterable[Stretch], holes: Sequence[Stretch]) -> list[Stretch]:
    """Return what is left of stretches outside the holes; both are in order of their starts."""
    left = []
    for begin_s, end_s in stretches:
        reached_s = begin_s
        for first_s, last_s in holes:
            if last_s > reached_s and first_s < end_s:
                if first_s > reached_s:
                    left.append((reached_s, first_s))
                reached_s = last_s
        if reached_s < end_s:
            left.append((reached_s, end_s))
    return left
