"""The bundled embedder gives unit vectors, reads its file alone, and knows people apart."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.checkpoints.registry import find_file
from model.checkpoints.training import write_halves
from model.embedders.bundled import Bundled, BundledNetwork, load, reduce
from utils.errors import UserError

SHIPPED = Path(__file__).parents[3] / "pretrain" / "bundled.safetensors"


def network(seed: int = 0) -> BundledNetwork:
    torch.manual_seed(seed)
    return BundledNetwork()


def crops(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 128, 128, 3), np.uint8)


def test_any_number_of_crops() -> None:
    embedder = Bundled(network())
    found = embedder.embed(crops(7))
    assert found.shape == (7, 256) and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), np.ones(7), atol=1e-6)
    np.testing.assert_allclose(embedder.embed(crops(7)[5:]), found[5:], atol=1e-5)
    assert embedder.embed(crops(0)).shape == (0, 256)


def test_folding_changes_nothing() -> None:
    own, copy = network(), network()
    with torch.no_grad():  # normalisations that do something
        for _ in range(3):
            own(100 + 50 * torch.randn(8, 3, 64, 64))
    copy.load_state_dict(own.state_dict())
    images = torch.from_numpy(crops(3)).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        own.eval()
        faces = torch.stack([own(reduce(images)), own(reduce(images.flip(3)))])
        unit = torch.nn.functional.normalize(faces, dim=2)
        expected = torch.nn.functional.normalize(unit.sum(dim=0))
    np.testing.assert_allclose(Bundled(copy).embed(crops(3)), expected.numpy(), atol=1e-4)


def test_weights_are_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_halves(network().state_dict(), path)
    assert path.stat().st_size <= 700_000
    embedder = load(find_file(path), "cpu")
    assert embedder.weights is not None and embedder.weights.path == path
    np.testing.assert_allclose(
        embedder.embed(crops(2)), Bundled(network()).embed(crops(2)), atol=0.01
    )


def test_shipped_weights() -> None:
    """The file fits; a mirrored crop stays nearer to itself than noise is."""
    embedder = load(find_file(SHIPPED), "cpu")
    assert SHIPPED.stat().st_size <= 700_000
    rows, columns = np.mgrid[:128, :128]
    smooth = np.stack([rows, columns, 255 - rows], axis=2).astype(np.uint8)
    pair = np.stack([smooth, smooth[:, ::-1], crops(1)[0]])
    own, mirrored, noise = embedder.embed(pair)
    assert own @ mirrored > own @ noise


def test_other_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_halves({"a": torch.zeros(3)}, path)
    with pytest.raises(UserError, match=r"weights of bundled in .*a\.safetensors, found others"):
        load(find_file(path), "cpu")
