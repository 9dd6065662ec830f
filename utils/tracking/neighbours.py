"""Choose the faces that a face is compared with: others visible at the same time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from utils.structures import FaceTrack


@dataclass(frozen=True)
class Beside:
    """A face that is visible together with the scored one for some time."""

    track: int  # its number
    num_shared: int  # frames in which both are visible
    mean_area: float = 0.0  # of its boxes in these frames; 0 if no boxes are known


def choose_speakers(target: int, beside: Sequence[Beside], num_speakers: int) -> list[int]:
    """Return S tracks to compare, the target first; nothing is drawn at random.

    Tracks that share most frames with the target come first, then the larger ones, then those
    that began first. If there are too few, they are repeated in that order; without any, the target
    is repeated.

    Args:
        target: Number of the scored track.
        beside: All other tracks of the shot that share a frame with what is scored.
        num_speakers: S.
    """
    ranked = sorted(beside, key=lambda face: (-face.num_shared, -face.mean_area, face.track))
    order = [face.track for face in ranked if face.num_shared > 0] or [target]
    return [target, *(order[place % len(order)] for place in range(num_speakers - 1))]


def tracks_beside(start: int, stop: int, tracks: Mapping[int, FaceTrack]) -> list[Beside]:
    """Return the tracks of a shot that are visible within frames [start, stop)."""
    found = []
    for number, track in tracks.items():
        first, last = max(start, track.start), min(stop, track.stop)
        if first < last:
            boxes = track.boxes[first - track.start : last - track.start].astype(np.float64)
            areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
            found.append(Beside(number, last - first, float(areas.mean())))
    return found
