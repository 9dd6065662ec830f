"""The entity store: round trips, partial reads, and error messages about damaged files."""

import os
import secrets
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from utils.datasets.entities import EntityInfo
from utils.datasets.storage.entity_store import INDEX, EntityStore, EntityStoreWriter, entity_path
from utils.datasets.storage.entity_writer import DiskFullError
from utils.files import replacing

NUM_FRAMES = 40
LABELS = np.array([1, 0, -1, 1] * 10, np.int8)
TIMES = 900 + np.arange(NUM_FRAMES) / 30
WAVEFORM = np.random.default_rng(0).integers(-32768, 32768, 20000).astype(np.int16)
ODD_NAMES = ["-a/b:1", "..", "CON", "Größe 東京", "x" * 400, "a%2Fb", "a/b", "A/B"]


def info(name: str = "video:1") -> EntityInfo:
    return EntityInfo(name, "video", NUM_FRAMES, Fraction(30000, 1001), 20, "Ann")


def faces(size: int = 112, colour: bool = False) -> NDArray[np.uint8]:
    """Smooth images, which JPEG preserves well, each a bit lighter than the last."""
    ramp = np.add.outer(np.arange(size), np.arange(size)) * (150 / (2 * size))
    images = (ramp + np.arange(NUM_FRAMES)[:, None, None]).astype(np.uint8)
    return np.stack([images, images + 30, images + 60], axis=-1) if colour else images


def write(folder: Path, name: str = "video:1") -> Path:
    EntityStoreWriter(folder).add(info(name), faces(), WAVEFORM, LABELS, TIMES)
    return entity_path(folder, name)


@pytest.mark.parametrize(
    ("size", "colour"), [(112, False), (112, True), (64, False)], ids=["grey", "colour", "small"]
)
def test_round_trip(tmp_path: Path, size: int, colour: bool) -> None:
    images = faces(size, colour)
    EntityStoreWriter(tmp_path, size, colour).add(info(), iter(images), WAVEFORM, LABELS, TIMES)
    store = EntityStore(tmp_path)
    assert store.entities == [info()]
    part = store.read(0)
    assert part.faces.shape == images.shape
    assert np.abs(part.faces.astype(int) - images).max() <= (8 if colour else 3)
    assert (part.waveform == WAVEFORM).all() and part.waveform.dtype == np.int16
    assert (part.labels == LABELS).all() and (part.timestamps == TIMES).all()


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (7, 29), (39, 40), (0, 40)])
def test_partial_read(tmp_path: Path, start: int, stop: int) -> None:
    write(tmp_path)
    store = EntityStore(tmp_path)
    whole, part = store.read(0), store.read(0, start, stop)
    assert (part.faces == whole.faces[start:stop]).all()
    assert (part.labels == LABELS[start:stop]).all()
    assert (part.timestamps == TIMES[start:stop]).all()
    per_frame = 16000 * 1001 / 30000
    last = len(WAVEFORM) if stop == NUM_FRAMES else int(stop * per_frame)
    assert (part.waveform == WAVEFORM[int(start * per_frame) : last]).all()


def test_invalid_range(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ValueError, match=r"within \[0, 40\), got \[3, 41\)"):
        EntityStore(tmp_path).read(0, 3, 41)


def test_repeated_images_are_stored_once(tmp_path: Path) -> None:
    one = faces()[0]
    EntityStoreWriter(tmp_path).add(info(), [one] * NUM_FRAMES, WAVEFORM, LABELS, TIMES)
    repeated = entity_path(tmp_path, "video:1").stat().st_size
    assert repeated < 2 * len(WAVEFORM) + 40 * 28 + 3000
    part = EntityStore(tmp_path).read(0, 20, 25)
    assert (part.faces == part.faces[0]).all() and part.faces.shape == (5, 112, 112)


def test_names_with_special_characters(tmp_path: Path) -> None:
    for name in ODD_NAMES:
        write(tmp_path / "store", name)
    store = EntityStore(tmp_path / "store")
    assert [entity.name for entity in store.entities] == sorted(ODD_NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    writer = EntityStoreWriter(tmp_path / "store")
    assert all(writer.holds(name, LABELS, TIMES) for name in ODD_NAMES)
    assert not writer.holds("else", LABELS, TIMES)
    assert not writer.holds(ODD_NAMES[0], 1 - LABELS, TIMES)
    assert not writer.holds(ODD_NAMES[0], LABELS, TIMES + 1)


def test_the_index_is_rebuilt(tmp_path: Path) -> None:
    write(tmp_path, "a")
    EntityStoreWriter(tmp_path).write_index()
    write(tmp_path, "b")
    assert [entity.name for entity in EntityStore(tmp_path).entities] == ["a", "b"]
    (tmp_path / INDEX).unlink()
    assert len(EntityStore(tmp_path)) == 2 and (tmp_path / INDEX).is_file()
    (tmp_path / INDEX).write_text("nonsense")
    entity_path(tmp_path, "a").unlink()
    assert [entity.name for entity in EntityStore(tmp_path).entities] == ["b"]


def test_replaced_entity_is_read(tmp_path: Path) -> None:
    """Even if it has the same size and the index is not written again."""
    path = write(tmp_path)
    EntityStoreWriter(tmp_path).write_index()
    num_bytes = path.stat().st_size
    other = replace(info(), person="Bob")
    EntityStoreWriter(tmp_path).add(other, faces(), WAVEFORM, LABELS, TIMES)
    assert path.stat().st_size == num_bytes
    assert EntityStoreWriter(tmp_path).stored() == [other]
    assert EntityStore(tmp_path).entities == [other]
    assert (tmp_path / INDEX).is_file()


@pytest.mark.parametrize("kept", [0, 5, 5000, -300, -20, -1])
def test_truncated_file_is_named(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="damaged or cut off") as failure:
        EntityStore(tmp_path)
    assert str(path) in str(failure.value)


def test_damaged_content_is_found(tmp_path: Path) -> None:
    path = write(tmp_path)
    whole = path.read_bytes()
    store = EntityStore(tmp_path)
    assert list(store.verify()) == []
    for place in (300, whole.index(WAVEFORM.tobytes()) + 9, len(whole) - 2000 + 900):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert [damage.path for damage in store.verify()] == [path], place
    path.write_bytes(whole[:300] + b"?" + whole[301:])
    with pytest.raises(ValueError, match="fails the checksum"):
        store.read(0, 0, 5)


def test_other_version(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"9")
    with pytest.raises(ValueError, match="expected version 1 of the format, found 9"):
        EntityStore(tmp_path)


def test_unfinished_entity_is_removed(tmp_path: Path) -> None:
    writer = EntityStoreWriter(tmp_path)
    with pytest.raises(RuntimeError, match="stop"), writer.open(info()) as entity:
        entity.append(faces()[0], 1, 0.0)
        raise RuntimeError("stop")
    with writer.open(info()) as entity:
        entity.append(faces()[0], 1, 0.0)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not writer.holds("video:1", LABELS, TIMES)


def test_invalid_input(tmp_path: Path) -> None:
    writer = EntityStoreWriter(tmp_path)
    with pytest.raises(ValueError, match=r"expected 40 frames, 20 of them speaking, got 40 and 0"):
        writer.add(info(), faces(), WAVEFORM, np.zeros(40, np.int8), TIMES)
    with pytest.raises(ValueError, match=r"expected uint8 crops of shape \(112, 112\)"):
        writer.add(info(), faces(64), WAVEFORM, LABELS, TIMES)
    with pytest.raises(ValueError, match="expected an int16 waveform"):
        writer.add(info(), faces(), WAVEFORM.astype(np.float32), LABELS, TIMES)
    with pytest.raises(ValueError, match="expected a label -1, 0 or 1, got 2"):
        writer.add(info(), faces(), WAVEFORM, LABELS + 1, TIMES)
    write(tmp_path)
    with pytest.raises(ValueError, match="write into another folder"):
        EntityStoreWriter(tmp_path, colour=True)


def test_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="found none"):
        EntityStore(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="prepare the data first"):
        EntityStore(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda size: "0" * size)
    path = entity_path(tmp_path, "video:1")
    with replacing(path) as temporary:
        temporary.touch()
    path.unlink()
    temporary.symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match="disk is full: entity video:1"):
        EntityStoreWriter(tmp_path).add(info(), faces(), WAVEFORM, LABELS, TIMES)
    assert not path.exists()


def test_only_abandoned_files_are_removed(tmp_path: Path) -> None:
    writer, other = EntityStoreWriter(tmp_path), EntityStoreWriter(tmp_path)
    left = entity_path(tmp_path, "b").with_name(".b.1234abcd.face")
    left.parent.mkdir()
    left.touch()
    os.utime(left, (0, 0))
    with writer.open(info("a")) as entity:
        for face, label, time_s in zip(faces(), LABELS, TIMES, strict=True):
            entity.append(face, int(label), float(time_s))
        other.remove_leftovers()
        entity.finish(WAVEFORM)
    assert not left.exists()
    assert [one.name for one in EntityStore(tmp_path).entities] == ["a"]
