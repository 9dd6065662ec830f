"""Whitening makes the changes of a face alike in all directions, inside the last layer."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoints.files import read_weights
from model.checkpoints.registry import find_file
from model.checkpoints.training import write_halves
from model.embedders.bundled import EMBEDDING, SIDE, Bundled, BundledNetwork, load
from model.shipped import face_embedder_faces as face_sets
from model.shipped.face_embedder_faces import Faces
from model.shipped.whiten_face_embedder import (
    Whitening,
    embed_spoiled,
    inverse_root,
    main,
    scatter,
    whiten,
)


def test_scatter_is_around_each_person() -> None:
    vectors = np.array([[1, 0], [3, 0], [0, 5], [0, 5]], np.float32)
    people = np.array([4, 4, -7, -7])
    assert scatter(vectors, people).tolist() == [[0.5, 0], [0, 0]]


def test_the_inverse_root_makes_a_covariance_alike_in_all_directions() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    covariance = root @ root.T
    change = inverse_root(covariance, 1e-9)
    same = change @ covariance @ change.T
    np.testing.assert_allclose(same / same[0, 0], np.eye(6), atol=1e-6)
    np.testing.assert_allclose(np.linalg.eigvalsh(change).mean(), 1)
    nearly_none = inverse_root(covariance, 1e6)
    np.testing.assert_allclose(nearly_none, np.eye(6), atol=1e-4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make random weights and faces: two people and two made faces."""
    torch.manual_seed(0)
    write_halves(BundledNetwork().state_dict(), tmp_path / "own.safetensors")
    crops = np.random.default_rng(0).integers(0, 256, (6, SIDE, SIDE, 3)).astype(np.uint8)
    targets = np.zeros((6, EMBEDDING), np.float32)
    face_sets.write(Faces(crops, targets, np.array([0, 0, 1, 1, -1, -1])), tmp_path / "faces.npz")
    return tmp_path


def test_made_faces_are_people_of_their_own(folder: Path) -> None:
    faces = face_sets.read(folder / "faces.npz")
    vectors, people = embed_spoiled(Bundled(BundledNetwork()), faces, 2, 0)
    assert vectors.shape == (12, EMBEDDING)
    assert people.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, -5, -5, -6, -6]


def test_the_last_layer_holds_the_change(folder: Path) -> None:
    output = folder / "bundled.safetensors"
    options = Whitening(folder / "faces.npz", folder / "own.safetensors", output, each=2)
    assert whiten(options) == 0
    own, changed = (
        read_weights(find_file(str(folder / name))).state
        for name in ("own.safetensors", "bundled.safetensors")
    )
    differing = {name for name in own if not torch.equal(own[name], changed[name])}
    assert differing == {"embed.weight", "embed.bias"}
    faces = face_sets.read(folder / "faces.npz")
    spread = []
    for name in ("own.safetensors", "bundled.safetensors"):
        embedder = load(find_file(str(folder / name)), "cpu")
        values = np.linalg.eigvalsh(scatter(*embed_spoiled(embedder, faces, 2, 0)))
        spread.append(values.max() / values.mean())
    assert spread[1] < spread[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--faces and --weights must name"),
        (
            ["--faces", "faces.npz", "--weights", "a.model", "--each", "0"],
            "--each must be at least 1",
        ),
    ],
    ids=["no faces", "no copies"],
)
def test_wrong_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err
