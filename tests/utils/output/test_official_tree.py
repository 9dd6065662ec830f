"""The tree has the published files and structures, and replaces an older one completely."""

import pickle
import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.parity.references import reference
from utils.output.official_tree import TreeContents, drawn_scores, write_official_tree
from utils.output.results import ModelRecord, Result, VideoFacts
from utils.structures import Detections, ScoredTrack, Shot
from utils.tracking.crop_geometry import smooth_boxes

PARITY = Path(__file__).parents[2] / "parity"
CROP_SCALE = 0.40
FIRST, NUM_FRAMES = 50, 40  # the tree shows frames 50 to 90 of the video
SIZE = (121, 75)  # width, height: odd ones


def scored(number: int, start: int, stop: int) -> ScoredTrack:
    boxes = np.tile(np.array([30, 20, 70, 60], np.float32), (stop - start, 1))
    scores = np.linspace(-2, 2, stop - start).astype(np.float32)
    return ScoredTrack(number, 0, start, boxes, scores, scores, np.zeros((112, 112), np.uint8))


def result_of(*tracks: ScoredTrack) -> Result:
    return Result(
        VideoFacts("a.mp4", *SIZE, Fraction(25), 4.0),
        ModelRecord("lr_asd"),
        ModelRecord("yunet"),
        [Shot(50, 72), Shot(72, 90)],
        tracks,
    )


def frames(count: int = NUM_FRAMES) -> Iterator[NDArray[np.uint8]]:
    """Yield red images that brighten."""
    for index in range(count):
        image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        image[..., 0] = 100 + 3 * index
        yield image


def contents_of(*tracks: ScoredTrack) -> TreeContents:
    box = np.array([[1, 2, 3, 4.5]], np.float32)
    found = Detections(box, np.array([0.75], np.float32))
    faces = [found if index % 2 else None for index in range(NUM_FRAMES)]
    sound = np.arange(NUM_FRAMES * 640 - 1000, dtype=np.int16)
    return TreeContents(result_of(*tracks), faces, sound, FIRST)


def load(folder: Path, name: str) -> Any:
    with (folder / "pywork" / f"{name}.pckl").open("rb") as file:
        return pickle.load(file)


def samples(path: Path) -> NDArray[np.int16]:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree") / 'video; "of" ö'
    tracks = (scored(0, 52, 72), scored(1, 72, 90), scored(2, 72, 80))
    write_official_tree(folder, frames(), contents_of(*tracks), CROP_SCALE)
    return folder


def test_files(tree: Path) -> None:
    found = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    assert found == {
        *(f"pyavi/{name}" for name in ("audio.wav", "video.avi", "video_only.avi")),
        "pyavi/video_out.avi",
        *(f"pyframes/{index:06d}.jpg" for index in range(1, NUM_FRAMES + 1)),
        *(f"pycrop/0000{number}.{kind}" for number in range(3) for kind in ("avi", "wav")),
        *(f"pywork/{name}.pckl" for name in ("scene", "faces", "tracks", "scores")),
    }


def test_pickles(tree: Path) -> None:
    shots = [(start.frame_num, stop.frame_num) for start, stop in load(tree, "scene")]
    assert shots == [(0, 22), (22, 40)]
    assert load(tree, "faces") == [
        [{"frame": index, "bbox": [1.0, 2.0, 3.0, 4.5], "conf": 0.75}] if index % 2 else []
        for index in range(NUM_FRAMES)
    ]
    tracks, scores = load(tree, "tracks"), load(tree, "scores")
    spans = [(track["track"]["frame"][0], track["track"]["frame"][-1]) for track in tracks]
    assert spans == [(2, 21), (22, 39), (22, 29)]
    for track, values in zip(tracks, scores, strict=True):
        assert track["track"]["frame"].dtype.kind == "i"
        assert track["track"]["bbox"].tolist() == [[30, 20, 70, 60]] * len(track["track"]["frame"])
        x, y, s = smooth_boxes(track["track"]["bbox"])
        for name, expected in (("x", x), ("y", y), ("s", s)):
            np.testing.assert_array_equal(track["proc_track"][name], expected)
        expected = np.round(np.linspace(-2, 2, len(values) + 1)[:-1], 1)
        np.testing.assert_allclose(values, expected, atol=1e-6)


def test_sound_follows_the_frames(tree: Path) -> None:
    whole = samples(tree / "pyavi" / "audio.wav")
    assert len(whole) == NUM_FRAMES * 640
    assert not whole[-1000:].any()  # what was missing is silence
    for number, (start, stop) in enumerate(((2, 22), (22, 40), (22, 30))):
        piece = samples(tree / "pycrop" / f"{number:05d}.wav")
        np.testing.assert_array_equal(piece, whole[start * 640 : stop * 640])


@pytest.mark.parametrize(
    ("path", "size", "first", "length", "sound"),
    [
        ("pyavi/video.avi", SIZE, 0, 40, True),
        ("pyavi/video_only.avi", SIZE, 0, 40, False),
        ("pyavi/video_out.avi", SIZE, 0, 40, True),
        ("pycrop/00000.avi", (224, 224), 2, 20, True),
        ("pycrop/00001.avi", (224, 224), 22, 18, True),
    ],
)
def test_videos(
    tree: Path, path: str, size: tuple[int, int], first: int, length: int, sound: bool
) -> None:
    with av.open(str(tree / path)) as container:
        assert bool(container.streams.audio) == sound
        assert container.streams.video[0].average_rate == 25
        images = [image.to_ndarray(format="rgb24") for image in container.decode(video=0)]
    assert len(images) == length
    for index, image in enumerate(images):
        assert image.shape == (size[1], size[0], 3)
        corner = image[-3, -3] if path.startswith("pyavi") else image[112, 112]
        assert corner.tolist() == pytest.approx([100 + 3 * (first + index), 0, 0], abs=12)


def test_marked_video_is_red_then_green(tree: Path) -> None:
    with av.open(str(tree / "pyavi" / "video_only.avi")) as container:
        images = [image.to_ndarray(format="rgb24") for image in container.decode(video=0)]
    assert images[24][40, 30].tolist() == pytest.approx([255, 0, 0], abs=60)
    assert images[38][40, 30].tolist() == pytest.approx([0, 255, 0], abs=60)


def test_frames_are_rgb(tree: Path) -> None:
    image = cv2.imread(str(tree / "pyframes" / "000040.jpg"))
    assert image is not None
    assert image[5, 5].tolist() == pytest.approx([0, 0, 217], abs=6)


def test_an_older_tree_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "pycrop").mkdir()
    (tmp_path / "pycrop" / "00099.avi").write_text("old")
    (tmp_path / "result.json").write_text("not ours")
    write_official_tree(tmp_path, frames(), contents_of(), CROP_SCALE)
    assert list((tmp_path / "pycrop").iterdir()) == []
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"pyavi", "pyframes", "pycrop", "pywork", "result.json"}
    assert (load(tmp_path, "tracks"), load(tmp_path, "scores")) == ([], [])


def test_an_error_leaves_the_older_tree(tmp_path: Path) -> None:
    (tmp_path / "pycrop").mkdir()
    (tmp_path / "pycrop" / "00099.avi").write_text("old")
    with pytest.raises(ValueError, match="longer than argument 1"):  # faces than frames
        write_official_tree(tmp_path, frames(7), contents_of(scored(0, 52, 60)), CROP_SCALE)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")] == [
        "pycrop/00099.avi"
    ]


def test_crops_equal_the_published_ones(tmp_path: Path) -> None:
    parity = reference("crop")
    boxes = parity["t0_bbox"].astype(np.float32)
    start = int(parity["t0_frame"][0])
    track = ScoredTrack(
        *(0, 0, start, boxes, np.zeros(len(boxes), np.float32)),
        np.zeros(len(boxes), np.float32),
        np.zeros((112, 112), np.uint8),
    )
    count = start + len(boxes)
    bgr = parity["frames6"]
    contents = TreeContents(result_of(track), [None] * count, np.zeros(0, np.int16))
    images = (np.ascontiguousarray(bgr[index % 6][..., ::-1]) for index in range(count))
    write_official_tree(tmp_path, images, contents, CROP_SCALE)
    with av.open(str(tmp_path / "pycrop" / "00000.avi")) as container:
        first = next(container.decode(video=0)).to_ndarray(format="gray")
    expected = cv2.cvtColor(parity["t0_first_crop_bgr224"], cv2.COLOR_BGR2GRAY)
    assert np.abs(first.astype(int) - expected).mean() < 4  # lossy video


def test_drawn_scores_are_the_published_ones() -> None:
    parity = reference("windows")
    cases = [name for name in parity if name.startswith("smooth_scores")]
    assert cases
    for case in cases:
        num_scores, num_frames = case.removeprefix("smooth_scores").split("_frames")
        found = drawn_scores(parity[f"smooth_in{num_scores}"].astype(np.float64), int(num_frames))
        np.testing.assert_allclose(found, parity[case], atol=1e-6)
