"""The released network gives the reference embeddings; damaged files are refused by name."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.checkpoints.registry import RawWeights, find_weights
from model.contract import WeightsFile
from model.embedders.face_reid import FaceReid, FaceReidNetwork, build, load
from tests.parity.references import reference

PRETRAIN = os.environ.get("TALKNET_PRETRAIN")
needs_weights = pytest.mark.skipif(not PRETRAIN, reason="needs TALKNET_PRETRAIN")


def released() -> RawWeights:
    raw = find_weights("face_reid")
    assert raw is not None
    return raw


def references() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return RGB images (6, 128, 128, 3), two of noise and four of blocks, and embeddings."""
    stored = reference("face_reid")
    noise = np.random.default_rng(11).integers(0, 256, (2, 3, 128, 128)).astype(np.uint8)
    blocks = stored["blocks_bgr"].repeat(8, axis=2).repeat(8, axis=3)
    bgr = np.concatenate([noise, blocks])
    return np.ascontiguousarray(bgr[:, ::-1].transpose(0, 2, 3, 1)), stored["embeddings"]


@pytest.mark.weights
@needs_weights
def test_parity() -> None:
    images, expected = references()
    network = build(released()).eval()
    bgr = torch.from_numpy(images[..., ::-1].copy()).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        np.testing.assert_allclose(network(bgr).numpy(), expected, rtol=0, atol=1e-4)
    embedder = load(released(), "cpu")
    units = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    found = embedder.embed(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, units, rtol=0, atol=1e-5)
    assert embedder.weights == released().file


def test_any_number_of_crops() -> None:
    """Crops do not influence each other; none gives none."""
    torch.manual_seed(0)
    embedder = FaceReid(FaceReidNetwork())
    crops = np.random.default_rng(0).integers(0, 256, (8, 128, 128, 3), np.uint8)
    found = embedder.embed(crops)
    assert found.shape == (8, 256)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), np.ones(8), atol=1e-6)
    np.testing.assert_allclose(embedder.embed(crops[7:]), found[7:], atol=1e-5)
    assert embedder.embed(crops[:0]).shape == (0, 256)


Change = Callable[[bytes, bytes], tuple[bytes, bytes]]


def first(old: bytes, new: bytes) -> Change:
    """Return a change of the first such text of the graph."""

    def change(numbers: bytes, graph: bytes) -> tuple[bytes, bytes]:
        assert old in graph
        return numbers, graph.replace(old, new, 1)

    return change


@pytest.mark.weights
@needs_weights
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda numbers, graph: (numbers, graph[:5000]), r"\.xml is no XML or is cut short"),
        (lambda numbers, _: (numbers, b"<html></html>"), "graph of OpenVINO in .*found <html>"),
        (lambda numbers, graph: (numbers[:-2], graph), r"'408_compressed' .*bytes or more, found"),
        (first(b'type="PReLU"', b'type="ReLU"'), "expected PReLU with"),
        (first(b'shape="64, 3, 3, 3"', b'shape="3, 64, 3, 3"'), r"Convolution with \(64, 3, 3, 3"),
        (first(b'size="3456"', b'size="3458"'), "expected 3456 bytes for the shape"),
        (first(b'offset="12"', b'offset="-12"'), "bytes or more, found"),
        (first(b'offset="12"', b'offset="a"'), "invalid literal"),
        (first(b'element_type="f16"', b'element_type="i64"'), "numbers of f16 or f32, got i64"),
        (first(b'type="Const"', b'type="Parameter"'), "a graph of 209 constants"),
    ],
    ids=[
        *("cut graph", "page", "cut numbers", "layer", "shape", "size", "before", "no number"),
        *("kind", "too few"),
    ],
)
def test_damaged_files(change: Change, message: str) -> None:
    raw = released()
    assert raw.companion is not None
    numbers, graph = change(raw.content, raw.companion.content)
    damaged = replace(raw, content=numbers, companion=replace(raw.companion, content=graph))
    with pytest.raises(ValueError, match=message) as failure:
        build(damaged)
    assert "\n" not in str(failure.value) and "again" in str(failure.value)


def test_a_small_graph(tmp_path: Path) -> None:
    """Constants come in the order of the graph, in either precision, with their readers."""
    from model.checkpoints.openvino import read_constants

    numbers = np.array([1, 2], "<f2").tobytes() + np.array([[3, 4, 5]], "<f4").tobytes()
    graph = """<net name="a" version="11"><layers>
        <layer id="0" type="Const" name="a"><data element_type="f16" shape="2" offset="0" size="4"/>
        </layer><layer id="1" type="Convert" name="b"/><layer id="2" type="PReLU" name="c"/>
        <layer id="3" type="Const" name="d">
        <data element_type="f32" shape="1, 3" offset="4" size="12"/></layer></layers>
        <edges><edge from-layer="0" to-layer="1"/><edge from-layer="1" to-layer="2"/></edges></net>
    """
    files = [WeightsFile("a", tmp_path / name, "") for name in ("a.bin", "a.xml")]
    raw = RawWeights(files[0], numbers, RawWeights(files[1], graph.encode()))
    found = read_constants(raw)
    assert [(one.reader, one.values.tolist()) for one in found] == [
        ("PReLU", [1.0, 2.0]),
        ("", [[3.0, 4.0, 5.0]]),
    ]
