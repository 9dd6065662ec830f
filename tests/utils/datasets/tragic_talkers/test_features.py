"""Stored features equal those of the audio in every layout; writing can be resumed."""

import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.made_array import write_wav
from utils.arrays.sound import SoundChecks
from utils.datasets.tragic_talkers.chunks import AudioChunk, cut
from utils.datasets.tragic_talkers.features import (
    LiveFeatures,
    StoredFeatures,
    StoreOptions,
    build_store,
    group,
    measure_scaler,
)
from utils.datasets.tragic_talkers.labels import read_labels
from utils.datasets.tragic_talkers.layout import TragicTalkers
from utils.datasets.tragic_talkers.synthetic_scene import SceneOptions, make_data, plan
from utils.errors import ResourceError
from utils.features.gcc_phat import gcc_phat


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> TragicTalkers:
    root = tmp_path_factory.mktemp("data")
    make_data(root, plan("walk", 1, 0, SceneOptions(3, "noise")))
    return TragicTalkers(root)


@pytest.fixture(scope="module")
def chunks(layout: TragicTalkers) -> list[AudioChunk]:
    return cut(read_labels(layout.labels_path("GT_GT")))


@pytest.fixture(scope="module")
def live(layout: TragicTalkers, chunks: list[AudioChunk]) -> LiveFeatures:
    return LiveFeatures(layout, "development", chunks, "gcc_phat")


def test_cameras_of_a_rig_share_their_audio(chunks: list[AudioChunk]) -> None:
    assert len(chunks) == 33
    assert group(chunks) == [0, 1, 2] * 11


def test_features_of_the_audio(
    layout: TragicTalkers, chunks: list[AudioChunk], live: LiveFeatures
) -> None:
    audio = layout.audio("development", "walk1", 1)
    np.testing.assert_array_equal(live.read(1), gcc_phat(audio.read(48000, 144000)))
    np.testing.assert_array_equal(live.read(1), live.read(4))
    fast = LiveFeatures(layout, "development", chunks, "gcc_phat", "float32")
    np.testing.assert_allclose(fast.read(1), live.read(1), atol=1e-3)


@pytest.mark.parametrize("shape", ["shared", "published"])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 0), ("float16", 0.04)])
def test_stored_features(
    tmp_path: Path,
    chunks: list[AudioChunk],
    live: LiveFeatures,
    shape: Literal["shared", "published"],
    precision: Literal["float32", "float16"],
    tolerance: float,
) -> None:
    some = chunks[:6]
    path = tmp_path / "development_dataset.h5"
    source = Part(live, len(some))
    build_store(path, some, source, StoreOptions(shape, precision))
    stored = StoredFeatures(path, some, "gcc_phat")
    for number in range(len(some)):
        expected = live.read(number)
        np.testing.assert_allclose(stored.read(number), expected, atol=tolerance, rtol=0)
    stored.close()
    with h5py.File(path) as file:
        assert file["features"].shape == (3 if shape == "shared" else 6, 16, 960, 64)
        assert file["features"].dtype == precision
        assert file["cams"].shape == (6, 1, 11)
        assert file["cams"][:, 0].argmax(axis=1).tolist() == [0, 0, 0, 1, 1, 1]
        for name, field in (
            ("target_coords", "positions"),
            ("pseudo_labels", "located"),
            ("speech_activity", "speaking"),
        ):
            expected = np.stack([getattr(chunk, field) for chunk in some])
            np.testing.assert_array_equal(file[name][:], expected.astype(np.float32))
        assert file["sequence"][3] == b"walk1-cam02"


class Part:
    """Counts the reads of a source, and fails at a given one."""

    def __init__(self, source: LiveFeatures, count: int, fail_at: int = -1) -> None:
        self.feature = source.feature
        self.groups = source.groups[:count]
        self.source, self.fail_at = source, fail_at
        self.read_numbers: list[int] = []

    def read(self, number: int) -> NDArray[np.floating]:
        if number == self.fail_at:
            raise OSError("the disk is gone")
        self.read_numbers.append(number)
        return self.source.read(number)


def test_interrupted_writing_is_resumed(
    tmp_path: Path, chunks: list[AudioChunk], live: LiveFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.datasets.tragic_talkers.features.FLUSH_EVERY", 1)
    some, path = chunks[:4], tmp_path / "store.h5"
    options = StoreOptions("published")
    with pytest.raises(OSError, match="the disk is gone"):
        build_store(path, some, Part(live, 4, fail_at=3), options, num_threads=1)
    assert not path.exists()
    second = Part(live, 4)
    build_store(path, some, second, options, num_threads=1)
    assert 0 not in second.read_numbers
    stored = StoredFeatures(path, some, "gcc_phat")
    for number in range(4):
        np.testing.assert_array_equal(stored.read(number), live.read(number))
    stored.close()


def test_file_written_by_another_process(
    tmp_path: Path, chunks: list[AudioChunk], live: LiveFeatures
) -> None:
    part = tmp_path / "store.h5.part"
    with h5py.File(part, "w") as file:
        file.attrs["plan"] = "another"
    content = part.read_bytes()
    with part.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as HDF5 does while it writes
        with pytest.raises(ResourceError, match="is being written by another process"):
            build_store(tmp_path / "store.h5", chunks[:1], Part(live, 1), StoreOptions())
    assert part.read_bytes() == content


def test_other_plan_starts_over(
    tmp_path: Path, chunks: list[AudioChunk], live: LiveFeatures
) -> None:
    path = tmp_path / "store.h5"
    for left in (b"no HDF5", None):
        part = path.with_name("store.h5.part")
        if left is not None:
            part.write_bytes(left)
        else:
            with h5py.File(part, "w") as file:
                file.attrs["plan"] = "another"
        build_store(path, chunks[:1], Part(live, 1), StoreOptions())
        assert not part.exists()


def test_store_of_other_chunks(
    tmp_path: Path, chunks: list[AudioChunk], live: LiveFeatures
) -> None:
    path = tmp_path / "store.h5"
    with pytest.raises(FileNotFoundError, match="stored features"):
        StoredFeatures(path, chunks, "gcc_phat")
    build_store(path, chunks[:1], Part(live, 1), StoreOptions())
    with pytest.raises(ValueError, match="gcc_phat of 2 chunks, found gcc_phat of 1"):
        StoredFeatures(path, chunks[:2], "gcc_phat")
    with pytest.raises(ValueError, match="salsa_lite of 1 chunks, found gcc_phat"):
        StoredFeatures(path, chunks[:1], "salsa_lite")


def test_scaler_is_weighted_by_views(live: LiveFeatures) -> None:
    scaler = measure_scaler(live)
    everything = np.concatenate([live.read(number) for number in range(3)], axis=1)
    exact = everything.astype(np.float64)
    np.testing.assert_allclose(scaler.mean[:, 0], exact.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(scaler.std[:, 0], exact.std(axis=1), atol=1e-5)
    assert scaler.feature == "gcc_phat"


@pytest.fixture
def damaged(tmp_path: Path, layout: TragicTalkers) -> Iterator[Path]:
    """Copy a sequence to a folder, to damage it."""
    folder = tmp_path / "TragicTalkers" / "audio" / "development" / "walk1"
    folder.mkdir(parents=True)
    for path in layout.audio_folder("development", "walk1").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    yield folder


def test_unusable_audio(tmp_path: Path, damaged: Path, chunks: list[AudioChunk]) -> None:
    def open_it(checks: SoundChecks | None = None) -> LiveFeatures:
        layout = TragicTalkers(tmp_path)
        return LiveFeatures(layout, "development", chunks, "gcc_phat", checks=checks)

    open_it(SoundChecks())
    write_wav(damaged / "07_made.wav", np.zeros((144000, 1)))
    open_it()
    with pytest.raises(ValueError, match=r"sequence walk1, rig 01: .*silent microphone 07"):
        open_it(SoundChecks())
    for path in damaged.iterdir():
        write_wav(path, np.zeros((90000, 1)))
    with pytest.raises(ValueError, match=r"at least 2 s of audio, a chunk, found 1\.88 s"):
        open_it()
    (damaged / "02_made.wav").unlink()
    with pytest.raises(FileNotFoundError, match="found none for 02"):
        open_it()
    with pytest.raises(ValueError, match="a feature of gcc_phat, salsa_lite"):
        LiveFeatures(TragicTalkers(tmp_path), "development", chunks, "mfcc")
