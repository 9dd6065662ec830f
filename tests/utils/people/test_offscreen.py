"""Speech off screen is where a voice is heard that no visible face speaks."""

import numpy as np
import pytest

from utils.people.offscreen import find_offscreen, find_voices
from utils.structures import Segment

STEP_S = 0.1


@pytest.mark.parametrize(
    ("log_odds", "voices"),
    [
        ([], []),
        ([-3] * 5, []),
        ([-3, 2, 2, -3], [(1, 3)]),
        ([-3, 2, -0.5, -0.5, -3, -0.5], [(1, 4)]),
        ([2, -3, -3, 2], [(0, 4)]),
        ([2, -3, -3, -3, 2], [(0, 1), (4, 5)]),
    ],
    ids=["empty", "silence", "a voice", "ends later than it begins", "pause", "long pause"],
)
def test_find_voices(log_odds: list[float], voices: list[tuple[int, int]]) -> None:
    assert find_voices(np.array(log_odds, np.float32), 3) == voices


@pytest.mark.parametrize(
    ("visible", "offscreen"),
    [
        ([], [(11.0, 15.0)]),
        ([(11.0, 15.0)], []),
        ([(11.4, 14.6)], []),
        ([(10.0, 11.6)], [(12.0, 15.0)]),
        ([(12.9, 13.1)], [(11.0, 12.5), (13.5, 15.0)]),
        ([(12.4, 13.0), (12.8, 13.4)], [(11.0, 12.0), (13.8, 15.0)]),
        ([(12.3, 13.7)], []),
        ([(3.0, 5.0), (20.0, 25.0)], [(11.0, 15.0)]),
    ],
    ids=[
        "nobody is seen to speak",
        "a face speaks throughout",
        "the edges belong to the face",
        "a face speaks first",
        "a face speaks between",
        "two faces speak between",
        "what is left is too short",
        "at other times",
    ],
)
def test_find_offscreen(
    visible: list[tuple[float, float]], offscreen: list[tuple[float, float]]
) -> None:
    log_odds = np.full(60, -4, np.float32)
    log_odds[10:50] = 2.5  # from 11 s to 15 s
    faces = [Segment(0, start_s, stop_s, 1.0) for start_s, stop_s in visible]
    found = find_offscreen(log_odds, STEP_S, 10.0, faces)
    found_s = [[part.start_s, part.stop_s] for part in found]
    np.testing.assert_allclose(np.reshape(found_s, (-1, 2)), np.reshape(offscreen, (-1, 2)))
    for part in found:
        assert (part.track, part.person, part.kind, part.score) == (None, None, "offscreen", 2.5)
