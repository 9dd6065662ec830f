"""Extracted windows: their images and audio, resuming, batches and processes."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.made_ava import Movie, level, table, write_movie
from tests.made_sound import MadeTrack, speech, write_tracks
from tests.made_windows import all_windows
from utils.datasets.ava.window_extract import (
    ExtractionWork,
    ExtractOptions,
    _own_rate,
    audio_path,
    extract,
    track_name,
)
from utils.datasets.ava.window_loader import WindowChoice, WindowLoader, WindowSet
from utils.datasets.ava.windows import VideoRows, WindowOptions, read_rows, thinned_tracks
from utils.datasets.storage.entity_store import EntityStore
from utils.features.ava_asd_mfcc import ava_asd_mfcc, num_rows
from utils.media.audio import Sound
from utils.media.container import ReadOptions, probe

MOVIE = Movie("movie_for_00")
OPTIONS = ExtractOptions(size=24)
WINDOWS = WindowOptions(stride=2)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_movie(MOVIE, folder / MOVIE.file)
    (folder / "labels.csv").write_text(table([MOVIE]))
    return folder


@pytest.fixture(scope="module")
def labels(videos: Path) -> list[VideoRows]:
    return read_rows([videos / "labels.csv"])


@pytest.fixture(scope="module")
def extracted(
    videos: Path, labels: list[VideoRows], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("extracted")
    files = {MOVIE.name: videos / MOVIE.file}
    assert extract(folder, labels, files, OPTIONS, WINDOWS) == []
    return folder


def test_images_are_those_of_their_rows(extracted: Path, labels: list[VideoRows]) -> None:
    store = EntityStore(extracted / "faces")
    tracks = thinned_tracks(labels[0], WINDOWS)
    names = [info.name for info in store.entities]
    assert sorted(names) == sorted(track_name(labels[0], track) for track in tracks)
    for track in tracks:
        part = store.read(names.index(track_name(labels[0], track)))
        frames = np.rint(labels[0].timestamps[track] * 25).astype(int)
        assert part.faces.shape == (len(track), 24, 24)
        expected = np.array([level(frame) for frame in frames])
        assert np.abs(part.faces.mean((1, 2)) - expected).max() < 3
        assert part.labels.tolist() == labels[0].speaking[track].astype(int).tolist()


def test_published_images_are_late(videos: Path, labels: list[VideoRows], tmp_path: Path) -> None:
    late = dataclasses.replace(OPTIONS, late_pictures=True)
    extract(tmp_path, labels, {MOVIE.name: videos / MOVIE.file}, late, WINDOWS)
    track = thinned_tracks(labels[0], WINDOWS)[0]
    store = EntityStore(tmp_path / "faces")
    names = [info.name for info in store.entities]
    faces = store.read(names.index(track_name(labels[0], track))).faces
    for face, time in zip(faces, labels[0].timestamps[track], strict=True):
        shown_s = (int(time * 10) - 1) / 10  # numbered from 1, looked up from 0
        near = {level(round(shown_s * 25 + by)) for by in (-0.4, 0, 0.4)}
        assert min(abs(face.mean() - one) for one in near) < 3


def test_audio_ends_with_each_window(
    videos: Path, extracted: Path, labels: list[VideoRows]
) -> None:
    windows = WindowSet(extracted, labels, OPTIONS, WINDOWS)
    indices = all_windows(labels[0], WINDOWS)
    assert len(windows) == len(indices)
    np.testing.assert_array_equal(windows.stops_s, labels[0].timestamps[indices[:, -1]])
    np.testing.assert_array_equal(windows.speaking, labels[0].speaking[indices[:, -1]])
    assert windows.names == [(MOVIE.name, name) for name in labels[0].names]
    length_s = float(labels[0].timestamps.max()) + OPTIONS.margin_s  # from 0 on
    waveform = Sound(probe(videos / MOVIE.file), ReadOptions()).read(0, round(length_s * 16000))
    assert np.load(audio_path(extracted, MOVIE.name)).shape == (num_rows(len(waveform)), 13)
    expected = ava_asd_mfcc(waveform, labels[0].timestamps, indices)
    for number in range(len(windows)):
        vectors, images = windows.read(number)
        np.testing.assert_allclose(vectors, expected[number], atol=2e-3)
        assert images.shape == (5, 24, 24) and images.dtype == np.uint8


def test_extraction_is_done_once(
    videos: Path, extracted: Path, labels: list[VideoRows], tmp_path: Path
) -> None:
    times = {path: path.stat().st_mtime_ns for path in extracted.glob("*/*/*.face")}
    assert times
    assert extract(extracted, labels, {}, OPTIONS, WINDOWS) == []  # needs no videos any more
    assert times == {path: path.stat().st_mtime_ns for path in extracted.glob("*/*/*.face")}
    other = dataclasses.replace(OPTIONS, own_rates=True)
    with pytest.raises(ValueError, match=r"expected own_rates False.*got own_rates True"):
        extract(extracted, labels, {}, other, WINDOWS)
    with pytest.raises(ValueError, match="expected lose_rows False"):
        WindowSet(extracted, labels, OPTIONS, dataclasses.replace(WINDOWS, lose_rows=True))
    native = extract(tmp_path, labels, {MOVIE.name: videos / MOVIE.file}, other, WINDOWS)
    assert native == []


def test_changed_labels_are_extracted_again(
    videos: Path, labels: list[VideoRows], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows, files = labels[0], {MOVIE.name: videos / MOVIE.file}
    chosen = rows.timestamps < 2.0
    short = dataclasses.replace(
        rows,
        faces=rows.faces[chosen],
        timestamps=rows.timestamps[chosen],
        boxes=rows.boxes[chosen],
        labels=rows.labels[chosen],
    )
    extract(tmp_path, [short], files, OPTIONS, WINDOWS)
    before = {info.name: info.num_frames for info in EntityStore(tmp_path / "faces").entities}
    extract(tmp_path, labels, files, OPTIONS, WINDOWS)
    after = {info.name: info.num_frames for info in EntityStore(tmp_path / "faces").entities}
    tracks = thinned_tracks(rows, WINDOWS)
    assert after == {track_name(rows, track): len(track) for track in tracks}
    assert before.keys() == after.keys() and before != after
    assert "tracks have no images" not in caplog.text
    next((tmp_path / "faces").glob("*/*.face")).unlink()
    WindowSet(tmp_path, labels, OPTIONS, WINDOWS)
    assert "1 tracks have no images" in caplog.text


def test_missing_and_broken_videos_are_reported(
    extracted: Path, labels: list[VideoRows], tmp_path: Path
) -> None:
    broken = tmp_path / "b.mp4"
    broken.write_bytes(b"no video")
    more = [dataclasses.replace(labels[0], video=name) for name in ("a", "b")]
    found = extract(extracted, [*labels, *more], {"b": broken}, OPTIONS, WINDOWS)
    assert found[0] == "video a: found no video a.*"
    assert found[1].startswith("video b: ") and len(found) == 2
    assert len(WindowSet(extracted, [*labels, *more], OPTIONS, WINDOWS)) > 0


def test_batches(extracted: Path, labels: list[VideoRows]) -> None:
    windows = WindowSet(extracted, labels, OPTIONS, WINDOWS)
    speaking = int(windows.speaking.sum())
    fewer = min(speaking, len(windows) - speaking)
    loader = WindowLoader(windows, WindowChoice(batch_size=4, seed=3))
    first = [batch.rows[:, 0].tolist() for batch in loader.epoch(1)]
    drawn = np.array([index for indices in first for index in indices])
    assert len(drawn) == 2 * fewer == len(set(drawn.tolist()))
    assert windows.speaking[drawn].sum() == fewer
    assert len(first) == loader.len_epoch(1)
    assert [batch.rows[:, 0].tolist() for batch in loader.epoch(1, skip=1)] == first[1:]
    assert [batch.rows[:, 0].tolist() for batch in loader.epoch(2)] != first
    halves = [
        [b.rows[:, 0].tolist() for b in WindowLoader(windows, loader.choice, rank, 2).epoch(1)]
        for rank in (0, 1)
    ]
    assert [sorted(a + b) for a, b in zip(*halves, strict=True)] == [sorted(one) for one in first]
    batch = next(loader.in_order([5, 2, 7]))
    assert batch.rows[:, 0].tolist() == [5, 2, 7]
    assert batch.audio.shape == (3, 13, 20) and batch.faces.shape == (3, 5, 24, 24)
    assert batch.labels[:, 0].tolist() == windows.speaking[[5, 2, 7]].astype(int).tolist()
    assert bool(batch.mask.all())


def test_windows_can_be_pickled(extracted: Path, labels: list[VideoRows]) -> None:
    windows = WindowSet(extracted, labels, OPTIONS, WINDOWS)
    expected = windows.read(3)
    found = pickle.loads(pickle.dumps(windows)).read(3)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.slow
def test_workers_yield_the_same_batches(extracted: Path, labels: list[VideoRows]) -> None:
    windows = WindowSet(extracted, labels, OPTIONS, WINDOWS)
    windows.read(0)
    alone = next(WindowLoader(windows, WindowChoice()).in_order([1, 2]))
    read = next(WindowLoader(windows, WindowChoice(num_workers=1)).in_order([1, 2]))
    assert (alone.audio == read.audio).all() and (alone.faces == read.faces).all()


@pytest.mark.slow
def test_processes_write_the_same_store(
    videos: Path, extracted: Path, labels: list[VideoRows], tmp_path: Path
) -> None:
    reports: list[tuple[int, int]] = []
    work = ExtractionWork(2, lambda done, total: reports.append((done, total)))
    twin = dataclasses.replace(labels[0], video="twin")
    files = dict.fromkeys((MOVIE.name, "twin"), videos / MOVIE.file)
    assert extract(tmp_path, [*labels, twin], files, OPTIONS, WINDOWS, work) == []
    assert reports == [(1, 2), (2, 2)]
    alone, both = (
        WindowSet(folder, rows, OPTIONS, WINDOWS)
        for folder, rows in ((extracted, labels), (tmp_path, [*labels, twin]))
    )
    assert len(both) == 2 * len(alone)
    for one, other in zip(alone.read(3), both.read(len(alone) + 3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_small_faces_are_skipped(extracted: Path, labels: list[VideoRows]) -> None:
    # Of 160 x 120: one face is 80 x 84, the other 64 x 84 pixels.
    assert len(WindowSet(extracted, labels, OPTIONS, WINDOWS, min_face=64)) == len(
        WindowSet(extracted, labels, OPTIONS, WINDOWS)
    )
    large = WindowSet(extracted, labels, OPTIONS, WINDOWS, min_face=70)
    assert set(large.faces.tolist()) == {0}
    with pytest.raises(ValueError, match=r"found none; .* 500 pixels wide"):
        WindowSet(extracted, labels, OPTIONS, WINDOWS, min_face=500)


def test_invalid_options() -> None:
    with pytest.raises(ValueError, match="size must be between 8 and 1024, got 4"):
        ExtractOptions(size=4)
    with pytest.raises(ValueError, match="share must be above 0 and at most 1, got 0"):
        WindowChoice(share=0)


def test_own_rate_is_that_of_the_track_that_is_read(tmp_path: Path) -> None:
    silent = MadeTrack(np.zeros(48000), 48000)
    write_tracks(tmp_path / "a.mkv", [silent, MadeTrack(speech(4, 22050), 22050)])
    assert _own_rate(probe(tmp_path / "a.mkv")) == 22050
    write_tracks(tmp_path / "b.mkv", [])
    assert _own_rate(probe(tmp_path / "b.mkv")) == 16000
