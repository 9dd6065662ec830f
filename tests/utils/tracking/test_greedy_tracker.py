"""The tracker equals the published passes over whole shots."""

from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from tests.parity.references import reference_table
from utils.structures import Detections, FaceTrack
from utils.tracking.greedy_tracker import GreedyTracker, TrackOptions

Face = tuple[float, ...]  # x1, y1, x2, y2, confidence


def as_detections(faces: Sequence[Face]) -> Detections:
    rows = np.array(faces, np.float32).reshape(-1, 5)
    return Detections(rows[:, :4], rows[:, 4])


def overlap(a: Face, b: Face) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def one_pass(shot: list[list[Face]], num_failed_det: int) -> list[tuple[int, Face]]:
    """Take one track out of the free faces of a shot, by the published rule."""
    track: list[tuple[int, Face]] = []
    for index, free in enumerate(shot):
        for face in free:
            if track and index - track[-1][0] > num_failed_det:
                break
            if not track or overlap(face, track[-1][1]) > 0.5:
                track.append((index, face))
                free.remove(face)
    return track


def tracks_by_passes(faces: list[list[Face]], options: TrackOptions) -> list[FaceTrack]:
    """Follow faces with one pass over the whole shot for each track."""
    shot = [[tuple(np.array(face, np.float32).tolist()) for face in frame] for frame in faces]
    tracks = []
    while track := one_pass(shot, options.num_failed_det):
        if len(track) <= options.min_track:
            continue
        known = np.array([index for index, _ in track])
        boxes = np.array([face[:4] for _, face in track])
        frames = np.arange(known[0], known[-1] + 1)
        filled = np.stack([np.interp(frames, known, boxes[:, i]) for i in range(4)], axis=1)
        sizes = filled[:, 2:] - filled[:, :2]
        if sizes.mean(axis=0).max() > options.min_face_size:
            tracks.append(FaceTrack(int(known[0]), filled.astype(np.float32)))
    return tracks


def track_detections(
    detections: Iterable[Detections | None],
    options: TrackOptions,
    start: int = 0,
    every: int = 1,
) -> list[FaceTrack]:
    """Return the tracks of one shot, in order of their first frames."""
    tracker = GreedyTracker(options, every)
    ended = [
        track
        for index, faces in enumerate(detections, start)
        for track in tracker.update(index, faces)
    ]
    ended += tracker.finish()
    kept = sorted((track for track in ended if tracker.keeps(track)), key=lambda track: track.id)
    return [FaceTrack(track.start, np.array(track.boxes, np.float32)) for track in kept]


def made_faces(rng: np.random.Generator, num_frames: int) -> list[list[Face]]:
    """Wandering faces that vanish for a while, come near each other and are found twice."""
    centres = rng.uniform(0, 60, (4, 2))
    frames: list[list[Face]] = []
    for _ in range(num_frames):
        centres += rng.normal(0, 1.5, centres.shape)
        faces = []
        for x, y in centres:
            for _ in range(int(rng.choice([0, 1, 2], p=[0.3, 0.55, 0.15]))):
                dx, dy, size = rng.normal(0, 1, 3)
                corners = (x + dx, y + dy, x + dx + 20 + size, y + dy + 20)
                faces.append((*corners, float(rng.uniform(0.5, 1))))
        rng.shuffle(faces)
        frames.append([tuple(face) for face in faces])
    return frames


def assert_same(found: list[FaceTrack], expected: list[FaceTrack], atol: float = 1e-4) -> None:
    assert [(t.start, t.stop) for t in found] == [(t.start, t.stop) for t in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.boxes.dtype == np.float32
        np.testing.assert_allclose(ours.boxes, theirs.boxes, rtol=0, atol=atol)


@pytest.mark.parametrize(("key", "num_failed_det"), [("tracks", 10), ("tracks_numFailedDet2", 2)])
def test_published_result(key: str, num_failed_det: int) -> None:
    parity = reference_table("tracking")
    faces = [[(*face["bbox"], face["conf"]) for face in frame] for frame in parity["detections"]]
    options = TrackOptions(num_failed_det=num_failed_det)
    expected = [
        FaceTrack(track["frame"][0], np.array(track["bbox"], np.float32)) for track in parity[key]
    ]
    assert_same(track_detections(map(as_detections, faces), options), expected)
    assert_same(tracks_by_passes(faces, options), expected)


@pytest.mark.parametrize("seed", range(30))
def test_equals_passes_over_the_whole_shot(seed: int) -> None:
    rng = np.random.default_rng(seed)
    faces = made_faces(rng, 120)
    num_failed_det = int(rng.integers(0, 12))
    assert len(tracks_by_passes(faces, TrackOptions(num_failed_det, 0, 0))) > 5
    options = TrackOptions(num_failed_det, int(rng.integers(0, 12)), rng.choice([1, 20.2]))
    expected = tracks_by_passes(faces, options)
    assert_same(track_detections(map(as_detections, faces), options), expected)


def test_a_double_in_one_frame_is_taken_as_published() -> None:
    box = (0.0, 0.0, 20.0, 20.0)
    doubles: list[Face] = [(*box, 0.9), (1.0, 0.0, 21.0, 20.0, 0.8), (2.0, 0.0, 22.0, 20.0, 0.7)]
    frames = [as_detections(doubles[:1]), as_detections(doubles)]
    (first, second) = track_detections(frames, TrackOptions(min_track=0))
    assert first.boxes[:, 0].tolist() == [0, 2]  # the second is passed over, the third wins
    assert (second.start, second.boxes[:, 0].tolist()) == (1, [1])


def face_at(x: float, size: float = 20) -> Face:
    return (x, 0, x + size, size, 0.9)


def test_gaps_are_interpolated_and_too_large_ones_end_a_track() -> None:
    faces = [[face_at(0)], [], [], [face_at(6)], [], [], [], [face_at(8)]]
    options = TrackOptions(num_failed_det=3, min_track=0)
    (first, second) = track_detections(map(as_detections, faces), options, start=100)
    assert (first.start, first.boxes[:, 0].tolist()) == (100, [0, 2, 4, 6])
    assert (second.start, second.boxes[:, 0].tolist()) == (107, [8])


@pytest.mark.parametrize(("num_found", "kept"), [(3, 0), (4, 1)], ids=str)
def test_a_detection_counts_for_all_frames_up_to_the_next_look(num_found: int, kept: int) -> None:
    detections = [
        as_detections([face_at(index)]) if index % 3 == 0 else None
        for index in range(3 * num_found)
    ]
    tracks = track_detections(detections, TrackOptions(min_track=9), every=3)
    assert len(tracks) == kept
    assert all(t.boxes[:, 0].tolist() == list(range(3 * num_found - 2)) for t in tracks)


@pytest.mark.parametrize(("size", "kept"), [(20, 0), (21, 1)], ids=str)
def test_small_faces_are_dropped(size: float, kept: int) -> None:
    faces = [[face_at(0, size)]] * 12
    assert len(track_detections(map(as_detections, faces), TrackOptions(min_face_size=20))) == kept


def test_strange_boxes() -> None:
    nothing = [(5.0, 5.0, 5.0, 5.0, 0.9)]  # no area: overlaps with nothing, not even itself
    assert track_detections([as_detections(nothing)] * 30, TrackOptions()) == []
    assert track_detections([as_detections([])] * 30, TrackOptions()) == []
    assert track_detections([None] * 30, TrackOptions()) == []
    assert track_detections([], TrackOptions()) == []


def test_a_long_track_need_not_be_held() -> None:
    tracker = GreedyTracker(TrackOptions())
    for index in range(1000):
        assert tracker.update(index, as_detections([face_at(index / 10)])) == []
        tracker.open[0].forget(index - 6)
        assert len(tracker.open[0].boxes) <= 8
    (track,) = tracker.finish()
    assert (track.start, track.stop, track.num_detections) == (0, 1000, 1000)
    assert tracker.keeps(track)
    assert track.width_sum == pytest.approx(20 * 1000)
    track.forget(5000)
    assert len(track.boxes) == 1


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [((-1,), "--numFailedDet"), ((1, -1), "--minTrack"), ((1, 1, float("nan")), "--minFaceSize")],
)
def test_wrong_options_are_named(arguments: tuple[int, ...], flag: str) -> None:
    with pytest.raises(ValueError, match=f"{flag} must be 0 or more"):
        TrackOptions(*arguments)
    with pytest.raises(ValueError, match="--detectEvery must be 1 or more frames, got 0"):
        GreedyTracker(TrackOptions(), 0)
