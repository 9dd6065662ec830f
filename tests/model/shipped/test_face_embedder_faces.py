"""Faces are collected person by person, in full size, and embedded before they are reduced."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.contract import WeightsFile
from model.shipped.face_embedder_faces import FaceSources, collect, cut, make, read, sample, write
from tests.made_faces import WholeFace
from tests.made_video import write_video
from utils.errors import UserError

LEVELS = {"ann": 200, "bob": 120, "eve": 60}


class MeanColour:
    """Embeds a crop as its mean colour; remembers the sizes it was given."""

    name = "brightness"
    weights: WeightsFile | None = None
    threshold = 0.5

    def __init__(self) -> None:
        self.sizes: set[int] = set()

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.sizes.add(crops.shape[1])
        means = crops.mean(axis=(1, 2)).astype(np.float32) + 1
        return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One video of each person, two of ann; nothing is seen in one of nobody."""
    folder = tmp_path_factory.mktemp("videos")
    rows = ["file,identity"]
    for name, level in {**LEVELS, "ann2": 190, "dark": 0}.items():
        write_video(folder / f"{name}.mp4", [np.full((96, 96, 3), level, np.uint8)] * 30)
        rows.append(f"{name}.mp4,{name[:3]}")
    (folder / "INDEX.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_sample(folder: Path) -> None:
    found = list(sample([folder / "ann.mp4", folder / "ann2.mp4"], 6))
    assert len(found) == 6 and all(one.shape == (96, 96, 3) for one in found)
    assert abs(int(found[0].mean()) - 200) < 4 and abs(int(found[-1].mean()) - 190) < 4
    assert len(list(sample([folder / "ann.mp4", folder / "ann2.mp4"], 1))) == 1


def test_collect(folder: Path) -> None:
    told: list[int] = []
    found = collect(WholeFace(), FaceSources([folder], ("ann2.mp4", "bob"), each=4), told.append)
    assert {name: len(crops) for name, crops in found.items()} == {"ann": 4, "eve": 4}
    assert found["ann"].shape[1:] == (128, 128, 3) and abs(found["ann"].mean() - 200) < 4
    assert told == [1, 2, 3, 4]
    only = FaceSources([folder], only=("bob", "eve"), each=2)
    assert list(collect(WholeFace(), only, told.append)) == ["bob", "eve"]
    with pytest.raises(UserError, match="two people or more, found those of 1"):
        collect(WholeFace(), FaceSources([folder], only=("bob",)), told.append)


def test_the_largest_face_is_cut() -> None:
    rows, columns = np.mgrid[:128, :128]
    picture = np.stack([rows, columns, rows], axis=2).astype(np.uint8)
    crop = cut(WholeFace(), picture)
    assert crop is not None
    inside = (slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(crop.astype(int)[inside], picture[inside], atol=2)
    assert cut(WholeFace(), np.zeros((128, 128, 3), np.uint8)) is None
    assert cut(WholeFace(), np.full((40, 40, 3), 99, np.uint8)) is None


def test_make(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    people = {name: rng.integers(0, 256, (3, 128, 128, 3), np.uint8) for name in LEVELS}
    teacher, told = MeanColour(), list[int]()
    faces = make(teacher, people, 70, 5, told.append)
    assert teacher.sizes == {128} and told == [64, 70]
    assert faces.crops.shape == (70, 64, 64, 3) and faces.targets.shape == (70, 3)
    assert faces.people.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, *[-1] * 61]
    reduced = people["ann"][0].reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(faces.crops[0], reduced, atol=1)
    np.testing.assert_array_equal(faces.targets[:3], MeanColour().embed(people["ann"]))
    again = make(MeanColour(), people, 70, 5, told.append)
    np.testing.assert_array_equal(again.crops, faces.crops)
    write(faces, tmp_path / "faces.npz")
    kept = read(tmp_path / "faces.npz")
    for name in ("crops", "targets", "people"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(faces, name))
