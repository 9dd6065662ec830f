"""Crops follow the published geometry and are yielded in time."""

import weakref
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.parity.references import reference
from utils.datasets.ava.video import crop_box
from utils.structures import CropForm, CropPiece, Detections, FaceTrack, Frame, Shot
from utils.tracking.crop_geometry import crop_face, crop_window, smooth_boxes
from utils.tracking.crops import CropOptions, crop_faces
from utils.tracking.greedy_tracker import GreedyTracker, TrackOptions
from utils.tracking.tracks import GivenTracks

PIECE = CropForm().piece
GREY = np.random.default_rng(1).integers(0, 256, (90, 120), dtype=np.uint8)
IMAGE = np.zeros((9, 12, 3), np.uint8)


@pytest.fixture(scope="module")
def parity() -> dict[str, NDArray[np.float64]]:
    return reference("crop")


@pytest.mark.parametrize("track", range(4))
def test_published_places(parity: dict[str, NDArray[np.float64]], track: int) -> None:
    x, y, s = smooth_boxes(parity[f"t{track}_bbox"])
    np.testing.assert_array_equal(x, parity[f"t{track}_x"])
    np.testing.assert_array_equal(y, parity[f"t{track}_y"])
    np.testing.assert_array_equal(s, parity[f"t{track}_s"])
    pads = parity[f"t{track}_window"][:, :1]
    windows = [crop_window(*place, 0.4) for place in zip(x, y, s, strict=True)]
    np.testing.assert_array_equal(windows, parity[f"t{track}_window"][:, 1:] - pads)


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("track", range(4))
def test_published_crops(
    parity: dict[str, NDArray[np.float64]], track: int, dtype: type[np.float32]
) -> None:
    images = parity["frames6"].astype(np.uint8)
    greys = [np.asarray(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY), np.uint8) for p in images]
    frames = [Frame(index, greys[index % 6], IMAGE) for index in range(64)]
    given = FaceTrack(int(parity[f"t{track}_frame"][0]), parity[f"t{track}_bbox"].astype(dtype))
    piece, shot = crop_faces(frames, GivenTracks([given]), CropOptions())
    assert isinstance(piece, CropPiece)
    assert (piece.start, piece.last, piece.kept, shot) == (given.start, True, True, Shot(0, 64))
    np.testing.assert_allclose(piece.boxes, given.boxes, rtol=1e-6)
    picked = piece.crops[parity[f"t{track}_pick"].astype(int)].astype(int)
    assert np.abs(picked - parity[f"t{track}_gray112"]).max() <= 2


def test_short_tracks_are_cut_at_their_median() -> None:
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [2, 0, 12, 10]], np.float32)
    x, y, s = smooth_boxes(boxes)
    assert (x.tolist(), y.tolist(), s.tolist()) == ([7] * 3, [5] * 3, [5] * 3)


def test_tight_crops_are_cut_as_those_of_ava() -> None:
    start = np.array([10.6, 20.2, 50.9, 70.7], np.float32)
    boxes = start + np.arange(20, dtype=np.float32)[:, None] * (4.3, 1.1, 4.3, 1.7)
    frames = [Frame(index, np.roll(GREY, index), IMAGE) for index in range(20)]
    piece, _ = crop_faces(
        frames,
        GivenTracks([FaceTrack(0, boxes)]),
        CropOptions(),
        CropForm(30, piece=99, tight=True),
    )
    assert isinstance(piece, CropPiece)
    for crop, box, frame in zip(piece.crops, boxes, frames, strict=True):
        expected = crop_box(frame.grey, box / np.array([120, 90, 120, 90]), 30)
        np.testing.assert_array_equal(crop, expected)


def resized(grey: NDArray[np.uint8], window: tuple[int, int, int, int]) -> NDArray[np.int64]:
    """Pad, cut, resize to 224 and take the middle: the plain way."""
    top, bottom, left, right = window
    pad = 400
    padded = np.pad(grey, pad, constant_values=110)
    cut = padded[top + pad : bottom + pad, left + pad : right + pad]
    return np.asarray(cv2.resize(cut, (224, 224))[56:168, 56:168], np.int64)


@pytest.mark.parametrize(
    ("x", "y", "s"),
    [
        (60, 40, 12.3),
        (60, 40, 0.2),
        (3, 5, 20),
        (119, 89, 30),
        (60, 45, 100),
        (-10, 40, 15.5),
        (60, 120, 33),
        (300, 300, 20),
        (60, 40, 0),
    ],
    ids=str,
)
def test_crops_inside_and_outside_the_image(x: float, y: float, s: float) -> None:
    crop = crop_face(GREY, (x, y, s), 0.4)
    assert crop.shape == (112, 112)
    assert crop.dtype == np.uint8
    expected = resized(GREY, crop_window(x, y, s, 0.4))
    assert np.abs(crop.astype(int) - expected).max() <= 1


def test_crops_of_very_small_and_very_large_things() -> None:
    dot = np.full((1, 1), 7, np.uint8)
    assert crop_face(dot, (0.5, 0.5, 0.3), 0.4).tolist() == [[7] * 112] * 112
    assert (crop_face(dot, (0.5, 0.5, 1e6), 0.4) == 110).all()
    large = np.full((4320, 7680), 50, np.uint8)
    assert (crop_face(large, (7000, 2000, 1500), 0.4)[:, :80] == 50).all()


def box_at(x: float, y: float = 20) -> list[float]:
    return [x, y, x + 20, y + 20]


def made_frames(
    found: dict[int, list[list[float]]], num_frames: int, every: int = 1, cut: int | None = None
) -> Iterator[Frame]:
    """Frames that differ, with the faces found in some of them."""
    for index in range(num_frames):
        boxes = np.array(found.get(index, []), np.float32).reshape(-1, 4)
        faces = Detections(boxes, np.ones(len(boxes), np.float32)) if index % every == 0 else None
        shot = 0 if cut is None or index < cut else 1
        yield Frame(index, np.roll(GREY, index, axis=1), IMAGE, shot, faces)


def pieces_and_shots(
    items: Iterator[CropPiece | Shot],
) -> tuple[list[CropPiece], list[Shot], list[str]]:
    pieces, shots, order = [], [], []
    for item in items:
        order.append(type(item).__name__)
        if isinstance(item, Shot):
            shots.append(item)
        else:
            pieces.append(item)
    return pieces, shots, order


def assert_crops(piece: CropPiece, boxes: NDArray[np.float32]) -> None:
    """Check a whole track against crops cut from its boxes one by one."""
    np.testing.assert_allclose(piece.boxes, boxes, rtol=1e-6)
    places = zip(*smooth_boxes(boxes), strict=True)
    for index, (x, y, s) in enumerate(places, piece.start):
        expected = crop_face(np.roll(GREY, index, axis=1), (x, y, s), 0.4)
        np.testing.assert_array_equal(piece.crops[index - piece.start], expected)


def test_tracks_with_gaps_in_two_shots() -> None:
    moving = {index: [box_at(10 + index)] for index in range(30) if index % 10 < 5}
    frames = made_frames(moving | {4: [box_at(14), box_at(80, 60)]}, 40, cut=21)
    options = TrackOptions(min_track=2)
    pieces, shots, order = pieces_and_shots(
        crop_faces(frames, GreedyTracker(options), CropOptions())
    )
    assert order == ["CropPiece", "Shot", "CropPiece", "Shot"]
    assert shots == [Shot(0, 21), Shot(21, 40)]
    assert [(p.shot, p.start, len(p.crops), p.last, p.kept) for p in pieces] == [
        (0, 0, 21, True, True),
        (1, 21, 4, True, True),
    ]
    assert pieces[0].track < pieces[1].track
    for piece in pieces:
        boxes = [box_at(10 + index) for index in range(piece.start, piece.start + len(piece.boxes))]
        assert_crops(piece, np.array(boxes, np.float32))


def test_a_track_is_handed_on_when_it_ends() -> None:
    frames = made_frames({index: [box_at(30)] for index in range(20)}, 60)
    read: list[int] = []

    def source() -> Iterator[Frame]:
        for frame in frames:
            read.append(frame.index)
            yield frame

    items = crop_faces(source(), GreedyTracker(TrackOptions()), CropOptions())
    piece = next(items)
    assert isinstance(piece, CropPiece)
    assert (len(piece.crops), read[-1]) == (20, 30)
    assert list(items) == [Shot(0, 60)]


@pytest.mark.parametrize("every", [1, 2, 4])
def test_looking_in_some_frames_only(every: int) -> None:
    frames = made_frames({index: [box_at(10 + index)] for index in range(33)}, 33, every)
    pieces, _, _ = pieces_and_shots(
        crop_faces(frames, GreedyTracker(TrackOptions(), every), CropOptions())
    )
    index = np.arange(33, dtype=np.float32)
    boxes = np.stack([10 + index, 0 * index + 20, 30 + index, 0 * index + 40], axis=1)
    assert_crops(pieces[0], boxes)


@pytest.mark.parametrize(
    ("num_frames", "lengths"),
    [(PIECE - 1, [PIECE - 1]), (PIECE, [PIECE]), (PIECE + 1, [PIECE, 1])],
    ids=str,
)
def test_long_tracks_come_in_pieces(num_frames: int, lengths: list[int]) -> None:
    found = {index: [box_at(20 + index % 7)] for index in range(5, num_frames + 5)}
    items = crop_faces(
        made_frames(found, num_frames + 5), GreedyTracker(TrackOptions()), CropOptions()
    )
    pieces, _, _ = pieces_and_shots(items)
    assert [len(piece.crops) for piece in pieces] == lengths
    assert [piece.last for piece in pieces] == [False] * (len(lengths) - 1) + [True]
    assert [piece.start for piece in pieces] == [5, PIECE + 5][: len(lengths)]
    assert {(piece.track, piece.track_start) for piece in pieces} == {(0, 5)}
    whole = CropPiece(
        track=0,
        shot=0,
        start=5,
        track_start=5,
        boxes=np.concatenate([piece.boxes for piece in pieces]),
        crops=np.concatenate([piece.crops for piece in pieces]),
        thumbnail=pieces[-1].thumbnail,
        last=True,
    )
    assert_crops(whole, np.array([found[5 + index][0] for index in range(num_frames)], np.float32))


def test_a_long_track_of_a_small_face_is_taken_back() -> None:
    found = {index: [box_at(20)] for index in range(PIECE + 50)}
    options = TrackOptions(min_face_size=21)
    items = crop_faces(made_frames(found, PIECE + 50), GreedyTracker(options), CropOptions())
    pieces, _, _ = pieces_and_shots(items)
    assert [(p.last, p.kept, len(p.crops)) for p in pieces] == [
        (False, True, PIECE),
        (True, False, 50),
    ]


def test_given_tracks_end_at_cuts_and_with_the_video() -> None:
    boxes = np.array([box_at(20 + index) for index in range(40)], np.float32)
    frames = made_frames({}, 30, cut=10)
    tracks = [FaceTrack(4, boxes), FaceTrack(2, boxes[:3]), FaceTrack(90, boxes)]
    pieces, shots, order = pieces_and_shots(crop_faces(frames, GivenTracks(tracks), CropOptions()))
    assert [(p.track, p.shot, p.start, len(p.crops)) for p in pieces] == [
        (0, 0, 2, 3),
        (1, 0, 4, 6),
        (2, 1, 10, 20),
    ]
    assert order == ["CropPiece", "CropPiece", "Shot", "CropPiece", "Shot"]
    assert shots == [Shot(0, 10), Shot(10, 30)]
    for piece, expected in zip(pieces, [boxes[:3], boxes[:6], boxes[6:26]], strict=True):
        assert_crops(piece, expected)


def test_only_the_frames_still_needed_are_held() -> None:
    found = {index: [box_at(30)] for index in range(0, 60) if index % 9 == 0}
    greys: list[weakref.ref[NDArray[np.uint8]]] = []
    num_held = []

    def source() -> Iterator[Frame]:
        for frame in made_frames(found, 120):
            greys.append(weakref.ref(frame.grey))
            num_held.append(sum(grey() is not None for grey in greys))
            yield frame

    items = crop_faces(source(), GreedyTracker(TrackOptions(min_track=1)), CropOptions())
    pieces, _, _ = pieces_and_shots(items)
    assert [len(piece.crops) for piece in pieces] == [55]
    assert max(num_held) <= 10 + 6 + 2
    assert max(num_held[70:]) <= 2  # nothing is followed any more


def test_no_frames_and_no_faces() -> None:
    assert list(crop_faces([], GreedyTracker(TrackOptions()), CropOptions())) == []
    assert list(crop_faces(made_frames({}, 3), GivenTracks([]), CropOptions())) == [Shot(0, 3)]


@pytest.mark.parametrize("scale", [-0.1, float("nan"), float("inf")], ids=str)
def test_wrong_scale_is_named(scale: float) -> None:
    with pytest.raises(ValueError, match="--cropScale must be between 0 and 10"):
        CropOptions(crop_scale=scale)
