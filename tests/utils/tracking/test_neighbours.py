"""A face is compared with visible others by the rule for scoring."""

import numpy as np
import pytest

from utils.structures import FaceTrack
from utils.tracking.neighbours import Beside, choose_speakers, tracks_beside


@pytest.mark.parametrize(
    ("beside", "num_speakers", "expected"),
    [
        ([], 3, [7, 7, 7]),
        ([Beside(2, 0, 50.0)], 3, [7, 7, 7]),
        ([Beside(2, 4)], 4, [7, 2, 2, 2]),
        ([Beside(1, 4, 10.0), Beside(2, 9, 5.0)], 3, [7, 2, 1]),
        ([Beside(1, 4, 10.0), Beside(2, 4, 50.0), Beside(3, 4, 20.0)], 3, [7, 2, 3]),
        ([Beside(5, 4, 10.0), Beside(3, 4, 10.0)], 3, [7, 3, 5]),
        ([Beside(1, 1), Beside(2, 2)], 6, [7, 2, 1, 2, 1, 2]),
        ([Beside(1, 1)], 1, [7]),
    ],
    ids=["alone", "never together", "one", "longer", "larger", "earlier", "in turns", "S = 1"],
)
def test_rule_for_scoring(beside: list[Beside], num_speakers: int, expected: list[int]) -> None:
    for order in (beside, beside[::-1]):
        assert choose_speakers(7, order, num_speakers) == expected


def test_tracks_beside() -> None:
    growing = np.array([[0, 0, size, 2 * size] for size in range(10)], np.float32)
    tracks = {
        3: FaceTrack(100, growing),
        4: FaceTrack(107, growing),
        5: FaceTrack(90, growing),
        6: FaceTrack(112, growing),
    }
    assert tracks_beside(102, 112, tracks) == [
        Beside(3, 8, float(np.mean([2 * size**2 for size in range(2, 10)]))),
        Beside(4, 5, float(np.mean([2 * size**2 for size in range(5)]))),
    ]
