"""Choose whom a face is compared with: others that are seen at the same time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from utils.structures import FaceTrack


@dataclass(frozen=True)
class Beside:
    """A face that is seen together with the scored one for some time."""

    track: int  # its number
    num_shared: int  # frames in which both are seen
    mean_area: float = 0.0  # of its boxes in these frames; 0 where no boxes are known


def choose_speakers(target: int, beside: Sequence[Beside], num_speakers: int) -> list[int]:
    """Return S tracks to compare, the target first, by the rule for scoring: nothing is drawn.

    First come those that share most frames with it, then the larger ones, then those that began
    first. Where there are too few, they are repeated in that order; where there is none, the
    target is.

    Args:
        target: Number of the scored track.
        beside: All other tracks of the shot that share a frame with what is scored.
        num_speakers: S.
    """
    ranked = sorted(beside, key=lambda one: (-one.num_shared, -one.mean_area, one.track))
    order = [one.track for one in ranked if one.num_shared > 0] or [target]
    return [target, *(order[place % len(order)] for place in range(num_speakers - 1))]


def tracks_beside(start: int, stop: int, tracks: Mapping[int, FaceTrack]) -> list[Beside]:
    """Return which of some tracks of a shot are seen within frames [start, stop)."""
    found = []
    for number, track in tracks.items():
        first, last = max(start, track.start), min(stop, track.stop)
        if first < last:
            boxes = track.boxes[first - track.start : last - track.start].astype(np.float64)
            areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
            found.append(Beside(number, last - first, float(areas.mean())))
    return found
