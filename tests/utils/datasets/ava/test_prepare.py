"""Preparation of AVA: crops at the right times, padding, resuming, and reports."""

import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.made_ava import Movie, level, table, write_movie
from tests.made_video import write_video
from utils.datasets.ava.dataset import AvaFolder, AvaSplit
from utils.datasets.ava.prepare import AvaPrepareOptions, prepare
from utils.datasets.ava.tables import LabelledFace, read_labels
from utils.datasets.ava.video import crop_box, split_spans
from utils.datasets.storage.entity_store import EntityStore, entity_path

ONE = AvaPrepareOptions(num_processes=1)
MOVIES = [
    Movie("video_no_01"),
    Movie("video_no_02", Fraction(30000, 1001), faces=((0.2, 3.9),)),
    Movie("video_no_03"),  # broken
    Movie("video_no_04"),  # missing
    Movie("video_no_05", duration_s=4, faces=((1.0, 6.0), (6.5, 7.5))),  # ends before its labels
    Movie("video_no_06", Fraction(12), faces=((0.0, 3.0),)),
]


def make(root: Path, movies: list[Movie] = MOVIES) -> AvaFolder:
    """Write videos and labels of a train split."""
    folder = AvaFolder(root)
    for movie in movies:
        path = folder.videos("train") / movie.file
        if movie.name == "video_no_03":
            path.write_bytes(b"no video at all" * 1000)
        elif movie.name != "video_no_04":
            write_movie(movie, path)
    folder.labels("train").parent.mkdir()
    folder.labels("train").write_text(table(movies))
    return folder


def test_faces_are_cropped_at_their_times(tmp_path: Path) -> None:
    folder = make(tmp_path)
    seen: list[tuple[float, float]] = []
    report = prepare(tmp_path, "train", ONE, lambda done, total: seen.append((done, total)))
    assert (report.entities, report.written, report.already) == (10, 5, 0)
    assert set(report.videos) == {"video_no_03", "video_no_04"}
    assert "cannot be opened" in report.videos["video_no_03"]
    assert set(report.lost) == {
        *(MOVIES[index].entity(number) for index in (2, 3) for number in (0, 1)),
        MOVIES[4].entity(1),
    }
    assert seen[-1][0] == seen[-1][1] == sum(len(face.labels) for face in all_but_04(folder))
    store = EntityStore(folder.store("train"))
    movies = {movie.entity(number): (movie, number) for movie in MOVIES for number in (0, 1)}
    for index, entity in enumerate(store.entities):
        movie, number = movies[entity.name]
        part, frames = store.read(index), movie.frames(number)
        there = min(len(frames), int(movie.duration_s * movie.fps) - int(frames[0]))
        expected = [level(int(frame)) for frame in frames[:there]]
        assert np.abs(part.faces[:there, 50, 50].astype(int) - expected).max() <= 3
        assert entity.fps == movie.fps and entity.num_frames == len(frames)
        start, stop = part.timestamps[0], part.timestamps[-1]
        assert len(part.waveform) == int(stop * 16000) - int(start * 16000)
    assert report.padded.keys() == {MOVIES[4].entity(0)}
    num_frames, num_samples = report.padded[MOVIES[4].entity(0)]
    assert num_frames == 50 - 1 and abs(num_samples - 1.96 * 16000) < 1200
    saved = json.loads((tmp_path / "prepare_report_train.json").read_text())
    assert saved["written"] == 5 and "video_no_04" in saved["videos"]
    assert "5 written" in (tmp_path / "prepare_report_train.txt").read_text()


def all_but_04(folder: AvaFolder) -> list[LabelledFace]:
    faces = read_labels([folder.labels("train")])
    return [face for face in faces if face.video != "video_no_04"]


def test_interrupted_preparation_is_resumed(tmp_path: Path) -> None:
    folder = make(tmp_path, MOVIES[:2])
    prepare(tmp_path, "train", ONE)
    store = folder.store("train")
    kept = entity_path(store, MOVIES[0].entity(0))
    written = kept.stat().st_mtime_ns
    lost = entity_path(store, MOVIES[0].entity(1))
    before = lost.read_bytes()
    left = lost.rename(lost.with_name(f".{lost.name}"))  # as a killed process leaves it
    os.utime(left, (0, 0))
    report = prepare(tmp_path, "train", ONE)
    assert (report.already, report.written) == (2, 1)
    assert kept.stat().st_mtime_ns == written and lost.read_bytes() == before
    assert not left.exists()
    assert prepare(tmp_path, "train", ONE).already == 3


def test_changed_labels_are_stored_again(tmp_path: Path) -> None:
    folder = make(tmp_path, MOVIES[:2])
    prepare(tmp_path, "train", ONE)
    text = folder.labels("train").read_text()
    first = MOVIES[0].entity(0)
    lines = text.splitlines(keepends=True)
    turned = [
        line.replace("SPEAKING_AUDIBLE", "NOT_SPEAKING") if first in line else line
        for line in lines
    ]
    folder.labels("train").write_text("".join(turned))
    report = prepare(tmp_path, "train", ONE)
    assert (report.already, report.written) == (2, 1)
    speaking = {info.name: info.num_speaking for info in AvaSplit(tmp_path, "train").entities}
    assert speaking[first] == 0 and all(speaking[name] for name in speaking if name != first)
    assert prepare(tmp_path, "train", ONE).already == 3


def test_processes_write_the_same_store(tmp_path: Path) -> None:
    folder = make(tmp_path, MOVIES[:3])
    report = prepare(tmp_path, "train", AvaPrepareOptions(num_processes=2))
    both = {path.name: path.read_bytes() for path in folder.store("train").glob("*/*.face")}
    assert report.written == 3 and set(report.videos) == {"video_no_03"}
    for path in folder.store("train").glob("*/*.face"):
        path.unlink()
    prepare(tmp_path, "train", ONE)
    one = {path.name: path.read_bytes() for path in folder.store("train").glob("*/*.face")}
    assert one == both and len(one) == 3


def test_video_damaged_in_the_middle(tmp_path: Path) -> None:
    movie = Movie("video_no_01", faces=((0.2, 3.8),), suffix=".mkv")
    folder = make(tmp_path, [movie])
    path = folder.videos("train") / movie.file
    damaged = bytearray(path.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 200] = bytes(200)
    path.write_bytes(damaged)
    assert prepare(tmp_path, "train", ONE).written == 1
    assert AvaSplit(tmp_path, "train").read(0).faces.shape == (90, 112, 112)


def test_other_crop_formats(tmp_path: Path) -> None:
    make(tmp_path, MOVIES[:1])
    prepare(tmp_path, "train", AvaPrepareOptions(1, crop_size=64, colour=True))
    assert AvaSplit(tmp_path, "train").read(0).faces.shape == (50, 64, 64, 3)
    with pytest.raises(ValueError, match="write into another folder"):
        prepare(tmp_path, "train", ONE)


def test_labels_that_contradict_the_loader_table(tmp_path: Path) -> None:
    folder = make(tmp_path, MOVIES[:1])
    folder.loader("train").write_text(f"{MOVIES[0].entity(0)}\t1\t25.0\t[0]\t0\n")
    with pytest.raises(ValueError, match=r"has 50 frames in .*and 1 in .*loader.csv; remove"):
        prepare(tmp_path, "train", ONE)
    with pytest.raises(FileNotFoundError, match="--download"):
        prepare(tmp_path, "val", ONE)


def test_images_are_those_of_the_nearest_frame(tmp_path: Path) -> None:
    """Irregular frames: each label gets the image nearest in time."""
    folder = AvaFolder(tmp_path)
    times = np.cumsum(np.random.default_rng(0).choice([0.02, 0.04, 0.07], 60)).round(2)
    times -= times[0]
    images = [np.full((120, 160, 3), level(number), np.uint8) for number in range(60)]
    path = folder.videos("train") / "video_no_01.mkv"
    path.parent.mkdir(parents=True)
    write_video(path, images, 25, pts_s=list(times))
    stamps = np.arange(0.1, times[-1], 0.05).round(2)
    rows = [
        f"video_no_01,{stamp},0,0,1,1,NOT_SPEAKING,video_no_01_0000_0060:0\n" for stamp in stamps
    ]
    folder.labels("train").parent.mkdir()
    folder.labels("train").write_text("".join(rows))
    prepare(tmp_path, "train", ONE)
    part = EntityStore(folder.store("train")).read(0)
    distance = np.abs(stamps[:, None] - times)
    clear = np.sort(distance, axis=1)[:, 1] - distance.min(axis=1) > 0.002
    expected = np.array([level(int(number)) for number in distance.argmin(axis=1)])
    found = part.faces[:, 50, 50].astype(int)
    assert clear.sum() > 20 and np.abs(found - expected)[clear].max() <= 3
    assert not part.waveform.any()  # no audio is silence


def test_boxes_are_truncated_and_clipped_to_the_image() -> None:
    image = np.zeros((100, 200), np.uint8)
    image[10:50, 20:100] = 255
    inside = np.array([20.9 / 200, 10.9 / 100, 100.9 / 200, 50.9 / 100])
    assert (crop_box(image, inside, 112) == 255).all()
    assert crop_box(image, np.array([-0.5, -0.5, 2.0, 2.0]), 112).shape == (112, 112)
    assert crop_box(image, np.array([0.999, 0.999, 0.9995, 0.9995]), 8).shape == (8, 8)


def test_long_unlabelled_parts_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(table([Movie("video_no_01", faces=((0, 5), (20, 22), (60, 62), (3, 30)))]))
    faces = read_labels([path])
    spans = [[face.name[-1] for face in span] for span in split_spans(faces)]
    assert spans == [["0", "3", "1"], ["2"]]
