"""Cores and memory are those of this process, not those of the machine."""

import os
from pathlib import Path

import pytest

from utils.processor import LIMIT, available_memory, num_cores


@pytest.mark.parametrize(
    ("share", "cores"), [("1", 1), ("0", 1), ("1000", 0), ("", 0), ("many", 0)], ids=ascii
)
def test_a_share_of_the_cores(share: str, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIMIT, raising=False)
    every = num_cores()
    monkeypatch.setenv(LIMIT, share)
    assert num_cores() == (cores or every)


def test_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "meminfo"
    monkeypatch.setattr("utils.processor.MEMORY_INFO", info)
    monkeypatch.setattr("utils.processor.MEMORY_LIMITS", ((tmp_path / "max", tmp_path / "used"),))
    assert available_memory() is None
    info.write_text("MemTotal:       16000 kB\nMemAvailable:    8000 kB\n")
    assert available_memory() == 8000 * 1024
    (tmp_path / "used").write_text("3000\n")
    for limit, expected in (("max", 8000 * 1024), ("5000", 2000), ("1000", 0), ("9" * 19, 8192000)):
        (tmp_path / "max").write_text(f"{limit}\n")
        assert available_memory() == expected


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux tells")
def test_memory_of_this_machine() -> None:
    found = available_memory()
    assert found is not None
    assert 0 < found <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
