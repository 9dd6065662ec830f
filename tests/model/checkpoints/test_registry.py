"""Weights are found, verified, translated and rejected by name."""

import hashlib
import http.server
import os
import pickle
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from model.checkpoints import registry as weights
from model.checkpoints.build import build_network, load_released, load_single
from model.checkpoints.files import read_weights
from model.checkpoints.registry import (
    Checkpoint,
    RawWeights,
    default_checkpoint,
    find_file,
    find_weights,
    get_weights,
    registered_name,
    registry,
)
from model.contract import Logits, Network, WeightsFile
from model.names import network_names
from utils.errors import WeightsUnavailableError

PRETRAIN = os.environ.get("TALKNET_PRETRAIN")
CONTENT = b"the weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Small(Network):
    """A network of two layers with published names of its own."""

    radius = 0
    released_names = {  # noqa: RUF012 - as in every network file
        "model.": "",
        "model.front.": "trunk.",
        "lossAV.FC.": "head.",
    }
    released_unused = frozenset({"model.front.dead.weight"})

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(3, 4))
        self.back = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def encode_audio(self, audio: Tensor) -> Tensor:
        return audio

    def encode_faces(self, faces: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        return faces[:, start:stop]

    def fuse(self, audio: Tensor, faces: Tensor) -> Logits:
        return Logits(self.head(self.back(self.trunk(audio + faces))))


def read_state(path: Path) -> dict[str, Tensor]:
    return read_weights(find_file(path)).state


def published(network: Small) -> dict[str, Tensor]:
    """Return the state dict of a network as its authors would have saved it."""
    names = {"trunk": "model.front", "back": "model.back", "head": "lossAV.FC"}
    state = {}
    for key, tensor in network.state_dict().items():
        first, rest = key.split(".", 1)
        state[f"{names[first]}.{rest}"] = tensor
    return state | {"model.front.dead.weight": torch.zeros(5)}


def same(one: Network, other: Network) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize("prefix", ["", "module."], ids=["plain", "data parallel"])
def test_published_names(prefix: str) -> None:
    trained, network = Small(), Small()
    load_released(network, {prefix + key: value for key, value in published(trained).items()})
    assert same(trained, network)


def test_own_names() -> None:
    trained, network = Small(), Small()
    load_released(network, trained.state_dict())
    assert same(trained, network)


@pytest.mark.parametrize(
    ("dropped", "added", "message"),
    [
        ("", {"model.extra.weight": torch.zeros(1)}, "1 unknown keys, such as 'model.extra.weigh"),
        ("lossAV.FC.bias", {}, "1 missing keys, such as 'head.bias'"),
        (
            "",
            {"model.back.weight": torch.zeros(4, 5)},
            r"'model.back.weight' has shape \(4, 5\), expected \(4, 4\)",
        ),
    ],
    ids=["unknown", "missing", "wrong shape"],
)
def test_what_does_not_fit(dropped: str, added: dict[str, Tensor], message: str) -> None:
    state = {key: value for key, value in published(Small()).items() if key != dropped}
    network = Small()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=message) as failure:
        load_released(network, state | added)
    assert "\n" not in str(failure.value)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_another_network_is_recognised() -> None:
    name = network_names()[0]
    with torch.device("meta"):
        state = build_network(name).state_dict()
    with pytest.raises(ValueError, match=f"the file fits {name}"):
        load_released(Small(), state)


@pytest.mark.parametrize("name", network_names())
def test_every_network_is_built(name: str) -> None:
    with torch.device("meta"):
        network = build_network(name)
    assert network.weights is None
    assert type(network).__module__ == f"model.networks.{name}"


def test_unknown_network() -> None:
    with pytest.raises(ValueError, match=r"expected one of the networks .*lr_asd.*got 'nonet'"):
        build_network("nonet")


@pytest.mark.parametrize("nested", [False, True], ids=["bare", "in a training state"])
def test_read_state(tmp_path: Path, nested: bool) -> None:
    state = {"a.weight": torch.arange(3.0)}
    path = tmp_path / "a.model"
    torch.save({"epoch": 3, "state_dict": state} if nested else state, path)
    loaded = read_state(path)
    assert list(loaded) == ["a.weight"] and torch.equal(loaded["a.weight"], state["a.weight"])


def test_safetensors(tmp_path: Path) -> None:
    """Half precision becomes float32; a file cut short is named."""
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.arange(3).half(), "b": torch.arange(2)}, path)
    loaded = read_state(path)
    assert loaded["a"].dtype == torch.float32 and loaded["a"].tolist() == [0, 1, 2]
    assert loaded["b"].dtype == torch.int64
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(
        ValueError, match=r"a\.safetensors is not a safetensors file or is incomplete"
    ):
        read_state(path)


class Hostile:
    """Creates a file when it is unpickled carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


def cut_short(path: Path, legacy: bool) -> None:
    torch.save({"a": torch.zeros(9999)}, path, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(path.read_bytes()[:20000])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "an empty file"),
        (lambda path: path.write_bytes(b"\n<!DOCTYPE html><html>quota"), "a web page"),
        (lambda path: path.write_bytes(b"readme"), "another file"),
        (partial(cut_short, legacy=False), "incomplete or damaged"),
        (partial(cut_short, legacy=True), "incomplete or damaged"),
        (lambda path: path.write_bytes(b"PK\x03\x04 not a zip"), "incomplete or damaged"),
        (lambda path: torch.save([1, 2], path), "expected names and tensors.*found list"),
        (lambda path: torch.save({"a": 1}, path), "expected names and tensors"),
    ],
    ids=["empty", "page", "text", "cut", "cut legacy", "half zip", "list", "numbers"],
)
def test_what_is_no_checkpoint(tmp_path: Path, write: Any, message: str) -> None:
    path = tmp_path / "bad.model"
    write(path)
    with pytest.raises(ValueError, match=message) as failure:
        read_state(path)
    assert "\n" not in str(failure.value) and str(path) in str(failure.value)


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare pickle"])
def test_a_hostile_file_is_not_executed(tmp_path: Path, kind: str) -> None:
    path, trap = tmp_path / "bad.model", tmp_path / "trap"
    if kind == "bare pickle":
        path.write_bytes(pickle.dumps({"a": Hostile(trap)}, protocol=2))
    else:
        state = {"a": Hostile(trap)}
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(ValueError, match=r"no code in it was executed|damaged") as failure:
        read_state(path)
    assert not trap.exists()
    assert "\n" not in str(failure.value)
    with path.open("rb") as file:  # the trap does spring where nobody is careful
        torch.load(file, weights_only=False) if kind != "bare pickle" else pickle.load(file)
    assert trap.exists()


@pytest.mark.parametrize(
    ("weights", "name"),
    [
        ("lr_asd_ava", "lr_asd_ava"),
        ("weight/finetuning_TalkSet.model", "lr_asd_talkset"),
        ("pretrain_TalkSet.model", "talknet_talkset"),
        ("talknet_talkset", "talknet_talkset"),
    ],
)
def test_names_that_weights_are_published_under(weights: str, name: str) -> None:
    assert registered_name(weights) == name


def test_a_file_comes_before_its_published_name(tmp_path: Path) -> None:
    path = tmp_path / "finetuning_TalkSet.model"
    path.touch()
    assert registered_name(path) is None
    with pytest.raises(FileNotFoundError, match=r"found no file .*lr_asd_talkset\.model"):
        registered_name(tmp_path / "lr_asd_talkset.model")  # our own names are given as they are


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a weights file, found no file"):
        read_state(tmp_path / "none.model")
    with pytest.raises(FileNotFoundError, match="expected a weights file, found no file"):
        load_single("lr_asd", tmp_path / "none.model")


@pytest.mark.parametrize("name", ["lr_asd", "light_asd"], ids=["its own", "another's"])
def test_the_variant_of_a_checkpoint_of_training(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.model"
    whole = {"network": "lr_asd", "variant": {"a": 1}, "state_dict": {}, "training": {}}
    torch.save(whole, path)
    weights = read_weights(find_file(path))
    assert weights.network == "lr_asd" and not weights.by_keras
    assert weights.variant_for(name) == ({"a": 1} if name == "lr_asd" else None)


def test_registry_is_whole() -> None:
    known = registry()
    files = [name for one in known.values() for name in {one.file}]
    assert len(files) == len(set(files))
    for name, one in known.items():
        assert one.name == name
        assert one.licence and one.trained_on
        assert all(address.startswith(("https://", "gdrive:")) for address in one.addresses)
        assert one.addresses or one.note
        assert one.sha256 is None or int(one.sha256, 16)
    assert {one.network for one in known.values()} >= {*network_names(), "s3fd", "yunet"}


def test_defaults_are_for_raw_video() -> None:
    names = [default_checkpoint(name).name for name in ("talknet", "lr_asd", "light_asd")]
    assert names == ["talknet_talkset", "lr_asd_talkset", "light_asd_talkset"]


@pytest.fixture
def one_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Serve CONTENT as the checkpoint `small`; gives the folder it is downloaded to."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("TALKNET_PRETRAIN", raising=False)
    served = tmp_path / "served"
    served.mkdir()
    (served / "small.model").write_bytes(CONTENT)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        small = Checkpoint(
            name="small",
            network="small",
            file="small.model",
            licence="none",
            trained_on="nothing",
            addresses=(f"{address}/gone.model", f"{address}/small.model"),
            aliases=("published.model",),
            sha256=SHA256,
            num_bytes=len(CONTENT),
        )
        hidden = Checkpoint("hidden", "small", "hidden.model", "none", "x", note="Never published.")
        both = {"small": small, "hidden": hidden}
        monkeypatch.setattr(weights, "registry", lambda: both)
        yield tmp_path / "pretrain"
        server.shutdown()


def both_of(raw: RawWeights | None) -> tuple[WeightsFile, bytes]:
    assert raw is not None
    return raw.file, raw.content


def test_get_weights_downloads_once(one_checkpoint: Path) -> None:
    expected = WeightsFile("small", one_checkpoint / "small.model", SHA256)
    assert find_weights("small", one_checkpoint) is None
    assert both_of(get_weights("small", folder=one_checkpoint)) == (expected, CONTENT)
    assert [path.name for path in one_checkpoint.iterdir()] == ["small.model"]
    assert both_of(find_weights("small", one_checkpoint)) == (expected, CONTENT)


@pytest.mark.parametrize("file", ["small.model", "published.model"])
def test_shared_folder(one_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    shared = one_checkpoint.parent / "shared"
    shared.mkdir()
    (shared / file).write_bytes(CONTENT)
    monkeypatch.setenv("TALKNET_PRETRAIN", str(shared))
    expected = WeightsFile("small", shared / file, SHA256)
    assert both_of(get_weights("small", folder=one_checkpoint)) == (expected, CONTENT)
    assert not one_checkpoint.exists()


def test_damaged_file_is_refused_but_a_namesake_passed_over(one_checkpoint: Path) -> None:
    one_checkpoint.mkdir()
    (one_checkpoint / "published.model").write_bytes(b"another network's")
    assert find_weights("small", one_checkpoint) is None
    (one_checkpoint / "small.model").write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=r"small.model to have SHA-256 .* remove it"):
        find_weights("small", one_checkpoint)


def test_what_to_do_when_nothing_is_available(one_checkpoint: Path) -> None:
    (one_checkpoint.parent / "served" / "small.model").unlink()
    with pytest.raises(WeightsUnavailableError, match="HTTP 404") as failure:
        get_weights("small", folder=one_checkpoint)
    message = str(failure.value)
    assert "\n" not in message
    assert message.count("HTTP 404") == 2
    assert f"put it into {one_checkpoint} or set TALKNET_PRETRAIN" in message
    with pytest.raises(
        WeightsUnavailableError, match=r"cannot be downloaded: Never published\. put it into"
    ):
        get_weights("hidden", folder=one_checkpoint)


def test_a_folder_that_cannot_be_written(one_checkpoint: Path) -> None:
    """A file stands where the folder should be made; what is served cannot be kept."""
    one_checkpoint.write_text("")
    with pytest.raises(
        WeightsUnavailableError, match=r"^small\.model cannot be written to .*put it into"
    ):
        get_weights("small", folder=one_checkpoint)


def test_unknown_weights() -> None:
    with pytest.raises(ValueError, match=r"expected one of the weights .*got 'nonsense'"):
        find_weights("nonsense")


@pytest.mark.weights
@pytest.mark.skipif(not PRETRAIN, reason="needs TALKNET_PRETRAIN")
@pytest.mark.parametrize(
    "name", ["light_asd_ava", "light_asd_talkset", "lr_asd_ava", "lr_asd_talkset"]
)
def test_released_weights(name: str) -> None:
    one = registry()[name]
    network = load_single(one.network, name)
    assert network.weights is not None and network.weights.sha256 == one.sha256
    assert not network.training
    others = {"light_asd": "lr_asd", "lr_asd": "light_asd"}
    with pytest.raises(ValueError, match=f"the file fits {one.network}"):
        load_single(others[one.network], network.weights.path)
