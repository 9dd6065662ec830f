"""What all tests of model/ have in common."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Run small operations on one thread: several would mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Leave no weights on the machine, nor a way to any; gives an empty shared folder."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv("TALKNET_PRETRAIN", str(shared))
    folder = tmp_path / "pretrain"
    monkeypatch.setattr("model.checkpoints.registry.find_weights.__defaults__", (folder,))
    monkeypatch.setattr("model.checkpoints.registry.get_weights.__defaults__", (None, folder))
    return shared
