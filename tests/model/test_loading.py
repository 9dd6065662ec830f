"""The default network depends on the available weights."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch

from model.checkpoints.build import build_network
from model.checkpoints.registry import default_checkpoint
from model.detection import load_detector
from model.loading import choose_device, choose_network, load_network, record_of
from utils.errors import ResourceError, UserError, WeightsUnavailableError
from utils.model_options import AUTO_NETWORKS, ModelOptions
from utils.output.results import ModelRecord

SHIPPED = Path(__file__).parents[2] / "pretrain" / "synchrony.safetensors"


def test_the_order() -> None:
    assert AUTO_NETWORKS == ("talknet", "lr_asd", "synchrony")


def test_the_shipped_network_takes_over(offline: Path) -> None:
    (offline / SHIPPED.name).write_bytes(SHIPPED.read_bytes())
    network, reason = choose_network(ModelOptions(), "cpu")
    assert type(network).__name__ == "Synchrony"
    assert reason == (
        f"synchrony ({SHIPPED.name}), because talknet_talkset.model and lr_asd_talkset.model are "
        "not available (--model talknet says why)"
    )


def test_a_network_that_is_named_is_never_replaced(offline: Path) -> None:
    (offline / SHIPPED.name).write_bytes(SHIPPED.read_bytes())
    with pytest.raises(WeightsUnavailableError, match=r"talknet"):
        choose_network(ModelOptions(model="talknet"), "cpu")


def test_no_network_is_available(offline: Path) -> None:
    with pytest.raises(WeightsUnavailableError) as failure:
        choose_network(ModelOptions(), "cpu")
    message = str(failure.value)
    assert message.startswith("no network is available: ") and "TALKNET_PRETRAIN" in message
    assert all(default_checkpoint(name).file in message for name in AUTO_NETWORKS)
    assert list(offline.iterdir()) == []


def test_a_failing_device_is_not_missing_weights(offline: Path) -> None:
    """No build of PyTorch without a plug-in can move weights there: a real RuntimeError."""
    (offline / SHIPPED.name).write_bytes(SHIPPED.read_bytes())
    with pytest.raises(RuntimeError, match="vulkan"):
        choose_network(ModelOptions(), "vulkan")


@pytest.mark.parametrize("name", AUTO_NETWORKS)
def test_a_damaged_file_is_not_missing_weights(offline: Path, name: str) -> None:
    """The shipped network is there, and yet nothing falls back to it."""
    (offline / SHIPPED.name).write_bytes(SHIPPED.read_bytes())
    damaged = offline / default_checkpoint(name).file
    torch.save({"weight": torch.zeros(1000)}, damaged)
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(UserError, match=rf"{damaged.name}.* damaged"):
        choose_network(ModelOptions(), "cpu")


@pytest.fixture
def read_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove every file of the test that is read, so that reading it again fails."""
    read_bytes = Path.read_bytes

    def read_and_remove(path: Path) -> bytes:
        content = read_bytes(path)
        if path.is_relative_to(tmp_path):  # PyTorch reads files of its own
            path.unlink()
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_remove)


@pytest.mark.parametrize("name", ["auto", "lr_asd"])
@pytest.mark.usefixtures("read_once")
def test_a_weights_file_is_read_once(tmp_path: Path, name: str) -> None:
    """Its network's name, variant, tensors and digest all come from one reading."""
    path = tmp_path / "a.model"
    state = build_network("lr_asd").state_dict()
    torch.save({"network": "lr_asd", "variant": {}, "state_dict": state}, path)
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    network, reason = choose_network(ModelOptions(name, path), "cpu")
    assert reason == "lr_asd (a.model), as asked for"
    assert record_of(network) == ModelRecord("lr_asd", "a.model", digest)
    assert not path.exists()


@pytest.mark.usefixtures("read_once")
def test_a_detectors_file_is_read_once(offline: Path) -> None:
    shutil.copy(SHIPPED.with_name("tiny_fcos.safetensors"), offline)
    assert load_detector("tiny_fcos").name == "tiny_fcos"
    assert list(offline.iterdir()) == []


def test_an_encoder_that_is_not_available(offline: Path, tmp_path: Path) -> None:
    assert offline.is_dir()
    torch.save(build_network("asc").state_dict(), tmp_path / "asc.model")
    with pytest.raises(WeightsUnavailableError, match=r"asc_ste\.pth.* --encoderModel$"):
        load_network("asc", tmp_path / "asc.model")
    with pytest.raises(RuntimeError, match="vulkan") as failure:
        load_network("asc", tmp_path / "asc.model", device="vulkan")
    assert "--encoderModel" not in str(failure.value)


def test_a_device_that_is_not_there() -> None:
    if torch.backends.mps.is_available():
        pytest.skip("needs a machine without Apple's GPU")
    with pytest.raises(ResourceError, match=r"^--device mps: there is none on this machine"):
        choose_device("mps")
