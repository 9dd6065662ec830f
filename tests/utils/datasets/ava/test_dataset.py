"""AVA: reading and creation of tables; both layouts contain the same entities and values."""

import wave
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.made_ava import Movie, level, table, write_movie
from utils.datasets.ava.dataset import AvaFolder, AvaSplit
from utils.datasets.ava.prepare import AvaPrepareOptions, prepare
from utils.datasets.ava.tables import (
    LabelledFace,
    label_rate,
    make_loader_rows,
    merge_tables,
    read_labels,
    read_loader,
    write_loader,
)
from utils.datasets.entities import UNLABELLED

MOVIES = [Movie("video_no_01", suffix=".mkv"), Movie("video_no_02", Fraction(30), suffix=".mkv")]
HEADER = (
    "video_id,frame_timestamp,entity_box_x1,entity_box_y1,entity_box_x2,entity_box_y2,"
    "label,entity_id,label_id,instance_id\n"
)
GOOD_ROW = "video_no_01,1.0,0.1,0.1,0.5,0.5,NOT_SPEAKING,e:1\n"


def faces_of(video: str, rate: Fraction, seconds: float) -> LabelledFace:
    times = np.round(np.arange(int(seconds * rate)) / float(rate), 2)
    labels = np.zeros(len(times), np.int8)
    return LabelledFace(f"{video}:1", video, times, np.zeros((len(times), 4)), labels)


def publish(root: Path, movies: list[Movie], split: str = "train") -> None:
    """Write the published layout, as the published scripts do."""
    rows: list[str] = []
    for movie in movies:
        waveform = write_movie(movie, root / "orig_videos" / "trainval" / movie.file)
        for number in range(len(movie.faces)):
            name, frames = movie.entity(number), movie.frames(number)
            times = [round(float(frame / movie.fps), 2) for frame in frames]
            faces = AvaFolder(root).faces(split) / movie.name / name
            faces.mkdir(parents=True)
            for frame, time in zip(frames, times, strict=True):
                face = np.full((84, 80, 3), level(int(frame)), np.uint8)
                cv2.imwrite(str(faces / f"{time:.2f}.jpg"), face)
            path = AvaFolder(root).audio(split) / movie.name / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            with wave.open(str(path), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(16000)
                part = waveform[int(times[0] * 16000) : int(times[-1] * 16000)]
                file.writeframes(part.astype("<i2").tobytes())
            labels = [int(frame // 10 % 3 == 0) for frame in frames]
            rows.append(f"{name}\t{len(frames)}\t{float(movie.fps)}\t{labels}\t{len(rows)}\n")
    (root / "csv").mkdir()
    AvaFolder(root).loader(split).write_text("".join(rows))
    AvaFolder(root).labels(split).write_text(table(movies))


def test_both_layouts_are_equal(tmp_path: Path) -> None:
    publish(tmp_path, MOVIES)
    published = AvaSplit(tmp_path, "train")
    prepare(tmp_path, "train", AvaPrepareOptions(num_processes=1))
    stored = AvaSplit(tmp_path, "train")
    assert stored.entities == published.entities and len(stored.entities) == 4
    assert stored.missing == published.missing == []
    for index, entity in enumerate(stored.entities):
        for start, stop in ((0, entity.num_frames), (5, 30)):
            one, two = published.read(index, start, stop), stored.read(index, start, stop)
            assert one.faces.shape == two.faces.shape == (stop - start, 112, 112)
            assert np.abs(one.faces.astype(int) - two.faces).max() <= 3
            assert (one.waveform == two.waveform).all() and len(one.waveform) > 10000
            assert (one.labels == two.labels).all()
            assert (one.timestamps == two.timestamps).all()


def test_short_published_clips_repeat_the_last_image(tmp_path: Path) -> None:
    publish(tmp_path, MOVIES[:1])
    whole = AvaSplit(tmp_path, "train").read(0)
    folder = AvaFolder(tmp_path).faces("train") / MOVIES[0].name / MOVIES[0].entity(0)
    for file in sorted(folder.iterdir())[-3:]:
        file.unlink()
    short = AvaSplit(tmp_path, "train").read(0)
    assert (short.faces[:-3] == whole.faces[:-3]).all()
    assert (short.faces[-3:] == whole.faces[-4]).all()
    (AvaFolder(tmp_path).audio("train") / MOVIES[0].name / f"{MOVIES[0].entity(1)}.wav").unlink()
    assert AvaSplit(tmp_path, "train").missing == [MOVIES[0].entity(1)]


def test_unprepared_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--download --dataPathAVA"):
        AvaSplit(tmp_path, "val")
    with pytest.raises(ValueError, match="expected a split of train, val, test"):
        AvaSplit(tmp_path, "dev")


def test_labels_are_read_with_and_without_header(tmp_path: Path) -> None:
    plain, headed = tmp_path / "plain.csv", tmp_path / "headed.csv"
    text = table(MOVIES)
    plain.write_text(text)
    headed.write_text(HEADER + text.replace("\n", ",1,instance\n"))
    for path in (plain, headed):
        faces = read_labels([path])
        assert [face.name for face in faces] == [
            movie.entity(number) for movie in MOVIES for number in (0, 1)
        ]
        assert faces[1].video == "video_no_01"
        assert faces[1].boxes.tolist() == [[0.5, 0.1, 0.9, 0.8]] * 65
        frames = np.arange(25, 90)
        assert faces[1].labels.tolist() == [int(frame // 10 % 3 == 0) for frame in frames]
        assert np.allclose(faces[1].timestamps, frames / 25)
    assert set(read_labels([plain], has_labels=False)[0].labels) == {UNLABELLED}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("video_no_01,1.0,0.1\n", "expected 8 columns, found 3"),
        (GOOD_ROW.replace("1.0", "one"), "expected a number as frame_timestamp, found 'one'"),
        (GOOD_ROW.replace("0.5,0.5", "0.05,0.5"), "a box x1 < x2, y1 < y2"),
        (GOOD_ROW.replace("0.1,0.1", "nan,0.1"), "expected a number as entity_box_x1"),
        (GOOD_ROW.replace("NOT_", "not_"), "expected a label of SPEAKING_AUDIBLE"),
    ],
    ids=["short", "time", "box", "nan", "label"],
)
def test_invalid_rows(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(GOOD_ROW + row)
    with pytest.raises(ValueError, match=message) as failure:
        read_labels([path])
    assert f"{path}, line 2" in str(failure.value)


def test_repeated_time(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(GOOD_ROW * 2)
    with pytest.raises(ValueError, match="entity e:1 has two rows at 1 s"):
        read_labels([path])


def test_tables_merge_sorted_with_a_header(tmp_path: Path) -> None:
    tables = {movie.name: table([movie]) for movie in reversed(MOVIES)}
    assert merge_tables(tables, tmp_path / "all.csv") == table(MOVIES).count("\n")
    lines = (tmp_path / "all.csv").read_text().splitlines()
    assert lines[0].startswith("video_id,frame_timestamp") and lines[0].count(",") == 7
    assert lines[1:] == table(MOVIES).splitlines()
    with pytest.raises(ValueError, match="bad, line 2: expected the 8 columns"):
        merge_tables({"bad": GOOD_ROW + "a,b\n"}, tmp_path / "all.csv")


def test_loader_table(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(table(MOVIES))
    faces = read_labels([path])
    rates = {"video_no_01": Fraction(24000, 1001), "video_no_02": None}
    write_loader(tmp_path / "loader.csv", make_loader_rows(faces, rates.get))
    first = (tmp_path / "loader.csv").read_text().splitlines()[0].split("\t")
    assert first[:3] == ["video_no_01_0000_0060:0", "50", "25.0"] and first[4] == "0"
    assert first[3].startswith("[1, 0, 0") is False and first[3].startswith("[0, 0, ")
    rows = read_loader(tmp_path / "loader.csv")
    assert [row.name for row in rows] == [face.name for face in faces]
    assert [row.fps for row in rows] == [25, 25, 30, 30]
    assert all((a.labels == b.labels).all() for a, b in zip(rows, faces, strict=True))
    (tmp_path / "loader.csv").write_text("e:1\t3\t25.0\t[0, 1]\t0\n")
    with pytest.raises(ValueError, match=r"loader.csv, line 1: expected 3 labels, found 2"):
        read_loader(tmp_path / "loader.csv")


@pytest.mark.parametrize(
    ("labelled", "video", "expected"),
    [
        (Fraction(25), Fraction(25), Fraction(25)),
        (Fraction(24000, 1001), Fraction(24000, 1001), Fraction(24000, 1001)),
        (Fraction(25), Fraction(50), Fraction(25)),
        (Fraction(30000, 1001), None, Fraction(30000, 1001)),
        (Fraction(24), None, Fraction(24)),
        (Fraction(10), None, Fraction(10)),
    ],
    ids=["same", "film", "double", "no video", "no video, 24", "rare"],
)
def test_rate_of_labels(labelled: Fraction, video: Fraction | None, expected: Fraction) -> None:
    faces = [faces_of("video_no_01", labelled, seconds) for seconds in (60, 30, 20)]
    assert label_rate(faces, video) == expected
