"""Given tracks are handed out frame by frame, split at cuts."""

import numpy as np
from numpy.typing import NDArray

from utils.structures import FaceTrack
from utils.tracking.tracks import GivenTracks


def test_given_tracks_are_handed_out_frame_by_frame() -> None:
    def given(start: int, *corners: float) -> FaceTrack:
        columns: NDArray[np.float32] = np.array(corners, np.float32)[:, None]
        return FaceTrack(start, columns + np.array([0, 0, 20, 20], np.float32))

    tracks = GivenTracks([given(3, 7, 8, 9, 10), given(1, 1, 2), given(0, 5, 5)])
    assert tracks.update(1, None) == []  # the video begins after the first frame of one of them
    assert [(t.id, t.start, t.boxes[-1][0]) for t in tracks.open] == [(0, 1, 5), (1, 1, 1)]
    assert [t.id for t in tracks.update(2, None)] == [0]
    assert [t.id for t in tracks.update(3, None)] == [1]
    assert tracks.update(4, None) == []
    (half,) = tracks.finish()  # a cut
    assert (half.id, half.start, half.stop, tracks.keeps(half)) == (2, 3, 5, True)
    assert tracks.update(5, None) == []
    assert tracks.update(6, None) == []
    (rest,) = tracks.finish()
    assert (rest.id, rest.start, [box[0] for box in rest.boxes]) == (3, 5, [9, 10])
