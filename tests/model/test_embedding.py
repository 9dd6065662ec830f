"""Which face embedder is taken, why, and what it is given."""

import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.checkpoints import registry as weights
from model.checkpoints.registry import Checkpoint, find_weights, get_weights
from model.contract import WeightsFile
from model.embedding import choose_embedder, embed_track, load_embedder, places_of
from utils.errors import WeightsUnavailableError
from utils.model_options import EmbedderOptions
from utils.structures import FaceCrops

PRETRAIN = os.environ.get("TALKNET_PRETRAIN")
SHIPPED = Path(__file__).parents[2] / "pretrain" / "bundled.safetensors"
FILES = ("face-reidentification-retail-0095.bin", "face-reidentification-retail-0095.xml")


def put(folder: Path, *names: str) -> None:
    assert PRETRAIN is not None
    for name in names:
        (folder / name).write_bytes((Path(PRETRAIN) / name).read_bytes())


def test_none() -> None:
    assert choose_embedder(EmbedderOptions("none")) is None
    with pytest.raises(ValueError, match="'none' is no embedder"):
        load_embedder("none")


def test_unknown_embedder() -> None:
    with pytest.raises(ValueError, match=r"named one of auto, .*face_reid, none; got 'arcface'"):
        load_embedder("arcface")


def test_no_weights(offline: Path) -> None:
    assert offline.is_dir()
    with pytest.raises(WeightsUnavailableError, match="no face embedder is available") as failure:
        load_embedder("face_reid")
    message = str(failure.value)
    assert "\n" not in message and "--embedder none" in message and FILES[0] in message


@pytest.mark.weights
@pytest.mark.skipif(not PRETRAIN, reason="needs TALKNET_PRETRAIN")
@pytest.mark.parametrize(
    ("name", "reason"), [("auto", "the first choice"), ("face_reid", "as asked for")]
)
def test_what_is_chosen(offline: Path, name: str, reason: str) -> None:
    put(offline, *FILES)
    choice = choose_embedder(EmbedderOptions(name))
    assert choice is not None and choice.embedder.name == "face_reid"
    assert choice.reason == f"face_reid ({FILES[0]}), {reason}"
    assert choice.embedder.weights is not None
    assert choice.embedder.weights.path == offline / FILES[0]


@pytest.mark.weights
@pytest.mark.skipif(not PRETRAIN, reason="needs TALKNET_PRETRAIN")
@pytest.mark.parametrize("there", FILES)
def test_one_of_two_files_is_not_enough(offline: Path, there: str) -> None:
    put(offline, there)
    assert find_weights("face_reid") is None
    with pytest.raises(WeightsUnavailableError) as failure:
        load_embedder("face_reid")
    missing = FILES[1 - FILES.index(there)]
    assert missing in str(failure.value) and there not in str(failure.value)


def test_the_shipped_embedder_takes_over(offline: Path) -> None:
    """Where nothing can be downloaded, the repository's own file is enough."""
    (offline / SHIPPED.name).write_bytes(SHIPPED.read_bytes())
    choice = choose_embedder(EmbedderOptions("auto"))
    assert choice is not None and choice.embedder.name == "bundled"
    assert choice.reason == (
        "bundled (bundled.safetensors), because face_reid is not available "
        "(--embedder face_reid says why)"
    )
    with pytest.raises(WeightsUnavailableError, match="no face embedder is available"):
        choose_embedder(EmbedderOptions("face_reid"))


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Serve a checkpoint of two files, `pair`; gives the folder that they are served from."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("TALKNET_PRETRAIN", raising=False)
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

        def entry(name: str) -> Checkpoint:
            content = name.encode() * 1000
            (folder / name).write_bytes(content)
            return Checkpoint(
                *("pair", "pair", name, "none", "nothing"),
                addresses=(f"http://127.0.0.1:{server.server_port}/{name}",),
                sha256=hashlib.sha256(content).hexdigest(),
                num_bytes=len(content),
            )

        pair = replace(entry("a.bin"), companion=entry("a.xml"))
        monkeypatch.setattr(weights, "registry", lambda: {"pair": pair})
        yield folder
        server.shutdown()


def test_both_files_are_downloaded_once(served: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pretrain"
    assert find_weights("pair", folder) is None
    got = get_weights("pair", folder=folder)
    assert sorted(path.name for path in folder.iterdir()) == ["a.bin", "a.xml"]
    for path in served.iterdir():
        path.unlink()
    for raw in (got, get_weights("pair", folder=folder), find_weights("pair", folder)):
        assert raw is not None and raw.companion is not None and raw.companion.companion is None
        for one, name in ((raw, "a.bin"), (raw.companion, "a.xml")):
            assert one.content == name.encode() * 1000
            digest = hashlib.sha256(one.content).hexdigest()
            assert one.file == WeightsFile("pair", folder / name, digest)


def test_only_what_is_missing_is_downloaded(served: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pretrain"
    get_weights("pair", folder=folder)
    (folder / "a.xml").unlink()
    (served / "a.bin").unlink()
    assert get_weights("pair", folder=folder).companion is not None
    (folder / "a.xml").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"a\.xml to have SHA-256 .* remove it"):
        get_weights("pair", folder=folder)


class Brightness:
    """Embeds a crop as its mean colour."""

    name = "brightness"
    weights: WeightsFile | None = None
    threshold = 0.5

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        means = crops.mean(axis=(1, 2)).astype(np.float32)
        return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)


def test_embed_track() -> None:
    crops = np.zeros((2, 128, 128, 3), np.uint8)
    crops[0, ..., 0], crops[1, ..., 2] = 9, 9
    qualities, thumbnail = np.array([0.5, 0.25], np.float32), np.zeros((128, 128, 3), np.uint8)
    found = embed_track(Brightness(), 7, FaceCrops(np.arange(2), crops, qualities, thumbnail))
    assert found.track == 7
    assert found.embeddings.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert found.qualities is qualities and found.thumbnail is thumbnail


@pytest.mark.parametrize("detector", ["yunet", "tiny_fcos", "s3fd", "another", None])
def test_places(detector: str | None) -> None:
    """The eyes are above the nose, and that above the mouth; all lie inside the box."""
    places = places_of(detector)
    assert places.shape == (5, 2) and (places > 0).all() and (places < 1).all()
    left, right, nose, mouth_left, mouth_right = places
    assert left[0] < nose[0] < right[0] and mouth_left[0] < nose[0] < mouth_right[0]
    assert max(left[1], right[1]) < nose[1] < min(mouth_left[1], mouth_right[1])
