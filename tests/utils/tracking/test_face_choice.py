"""A track's crops are few, spread over it, and its large, frontal and sharp ones."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from utils.structures import Detections, FaceCrops, FaceTrack, Frame, Shot
from utils.tracking.crops import CropOptions, crop_faces
from utils.tracking.face_alignment import TEMPLATE
from utils.tracking.face_choice import FaceChoice, FaceChooser, frontality, sharpness
from utils.tracking.greedy_tracker import GreedyTracker, TrackOptions
from utils.tracking.tracks import GivenTracks

CHOICE = FaceChoice(TEMPLATE)
BOX = np.array([20, 20, 84, 84], np.float64)
NOISE = np.random.default_rng(0).integers(0, 256, (104, 104), np.uint8)
POINTS = BOX[:2] + 64 * TEMPLATE


def frame_at(
    index: int,
    points: NDArray[np.floating] | None = POINTS,
    grey: NDArray[np.uint8] = NOISE,
    looked: bool = True,
) -> Frame:
    """Return a frame with a face in BOX, after another one, if the detector looked."""
    image = np.repeat(grey[..., None], 3, axis=2)
    if not looked:
        return Frame(index, grey, image)
    boxes = np.array([[0, 0, 9, 9], BOX], np.float32)
    marks = None if points is None else np.array([np.zeros((5, 2)), points], np.float32)
    return Frame(index, grey, image, faces=Detections(boxes, np.ones(2, np.float32), marks))


def choose(frames: list[Frame], start: int = 0) -> FaceCrops:
    chooser = FaceChooser(start, CHOICE)
    for frame in frames:
        chooser.add(frame, BOX)
    return chooser.finish()


@pytest.mark.parametrize(
    ("length", "count"),
    [(1, 1), (40, 1), (41, 2), (80, 2), (240, 6), (241, 4), (480, 6), (5000, 4), (7000, 6)],
)
def test_how_many(length: int, count: int) -> None:
    """At most six; spread over the whole track, however long."""
    found = choose([frame_at(100 + index) for index in range(length)], start=100)
    assert len(found.frames) == len(found.crops) == len(found.qualities) == count
    assert found.crops.shape == (count, 128, 128, 3) and found.crops.dtype == np.uint8
    assert found.thumbnail.shape == (128, 128, 3)
    assert found.frames[0] == 100
    assert (np.diff(found.frames) > 0).all()
    if count > 1:
        assert 100 <= found.frames[-1] < 100 + length
        assert np.diff(found.frames).max() <= 2 * length / count + 8


def test_the_best_of_each_stretch() -> None:
    """Blurred, turned away, or with no points: each makes a worse crop."""
    blurred = np.asarray(cv2.GaussianBlur(NOISE, (0, 0), 3), np.uint8)
    aside = POINTS.copy()
    aside[2, 0] = POINTS[0, 0]
    frames = [frame_at(index, grey=blurred) for index in range(40)]
    frames[16] = frame_at(16)
    frames += [frame_at(index, points=aside) for index in range(40, 80)]
    frames[64] = frame_at(64)
    frames += [frame_at(index, points=None) for index in range(80, 120)]
    frames[96] = frame_at(96)
    found = choose(frames)
    assert found.frames.tolist() == [16, 64, 96]
    assert (found.qualities == found.qualities[0]).all() and 0 < found.qualities[0] <= 1
    np.testing.assert_array_equal(found.crops[0], found.crops[2])


def test_frames_in_which_the_detector_looked_are_preferred() -> None:
    """A candidate waits a few frames for one, the track's first frame does not."""
    found = choose([frame_at(index, looked=index % 13 == 12) for index in range(60)])
    assert found.frames.tolist() == [12, 51]
    assert choose([frame_at(index, looked=index > 0) for index in range(3)]).frames.tolist() == [0]


def test_without_points_the_box_is_enough() -> None:
    own = choose([frame_at(0)])
    found = choose([frame_at(0, points=None)])
    np.testing.assert_allclose(own.crops.astype(int), found.crops.astype(int), atol=1)
    assert found.qualities[0] == pytest.approx(own.qualities[0] / 2, rel=0.01)


@pytest.mark.parametrize(("nose", "expected"), [(0.5, 1.0), (0.25, 0.5), (1.0, 0.1), (1.6, 0.1)])
def test_frontality(nose: float, expected: float) -> None:
    points = np.array([[0, 0], [10, 0], [10 * nose, 6], [2, 12], [8, 12]], np.float32)
    assert frontality(points) == pytest.approx(expected)


def test_sharpness() -> None:
    """It falls with blur, hardly depends on contrast, and is 0 where nothing is to be seen."""
    blurred = np.asarray(cv2.GaussianBlur(NOISE, (0, 0), 2), np.uint8)
    faint = (NOISE // 2 + 64).astype(np.uint8)
    assert 1 > sharpness(NOISE) > sharpness(blurred) > 0
    assert sharpness(faint) == pytest.approx(sharpness(NOISE), rel=0.05)
    assert sharpness(np.full((9, 9), 80, np.uint8)) == 0


def test_the_last_piece_has_the_faces() -> None:
    """From detections to pieces: the points found their way, and no piece before has any."""
    frames = [frame_at(index, looked=index % 2 == 0) for index in range(100)]
    tracker = GreedyTracker(TrackOptions(), every=2)
    pieces = list(crop_faces(frames, tracker, CropOptions(), choice=CHOICE))
    assert pieces.pop() == Shot(0, 100)
    assert [piece.track for piece in pieces if not isinstance(piece, Shot)] == [0, 1]
    for piece in pieces:
        assert not isinstance(piece, Shot) and piece.last and piece.faces is not None
    face = pieces[1]
    assert not isinstance(face, Shot) and face.faces is not None
    own = choose(frames)
    np.testing.assert_array_equal(face.faces.frames, own.frames)
    np.testing.assert_array_equal(face.faces.crops, own.crops)


def test_given_tracks_and_no_choice() -> None:
    frames = [frame_at(index, looked=False) for index in range(50)]
    track = FaceTrack(0, np.repeat(BOX[None], 50, axis=0).astype(np.float32))
    for choice in (CHOICE, None):
        tracker = GivenTracks([track])
        piece, _ = crop_faces(frames, tracker, CropOptions(), choice=choice)
        assert not isinstance(piece, Shot)
        assert (piece.faces is None) == (choice is None)
        if piece.faces is not None:
            assert len(piece.faces.frames) == 2
