"""Cores and memory are those of this process, not those of the machine."""

import os
from ctypes import CDLL
from pathlib import Path

import pytest

from tests.programs import run_python
from utils.processor import LIMIT, available_memory, encoder_threads, num_cores, use_cores


@pytest.mark.parametrize(
    ("share", "cores"), [("1", 1), ("0", 1), ("1000", 0), ("", 0), ("many", 0)], ids=ascii
)
def test_a_share_of_the_cores(share: str, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIMIT, raising=False)
    every = num_cores()
    monkeypatch.setenv(LIMIT, share)
    assert num_cores() == (cores or every)


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("100000 100000", 1),
        ("150000 100000", 2),
        ("20000 100000", 1),
        ("800000 100000", 8),
        ("max 100000", 64),
        ("", 64),
    ],
)
def test_the_limit_of_a_container(
    limit: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(LIMIT, raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("utils.processor.CPU_LIMIT", tmp_path / "cpu.max")
    assert num_cores() == 64
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    assert num_cores() == cores
    assert encoder_threads() == (0 if cores == 64 else cores)


USE = """
from utils.processor import num_cores, use_cores
use_cores(LIMIT)
import cv2, torch
from threading import Thread
counts = [num_cores(), torch.get_num_threads(), cv2.getNumThreads()]
thread = Thread(target=lambda: counts.append(torch.get_num_threads()))
thread.start()
thread.join()
print(*counts)
"""


def test_every_library_keeps_to_the_cores_that_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every thread: torch counts its own for each thread that calls it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv(LIMIT, raising=False)
    done = run_python("-c", USE.replace("LIMIT", "1"))
    assert (done.stdout.split(), done.stderr) == (["1"] * 4, "")


@pytest.mark.parametrize("given", [None, "ACTIVE"])
def test_idle_threads_sleep_unless_the_user_decides(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "")  # so that it is restored
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("utils.processor.CPU_LIMIT", Path("/nowhere"))
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    else:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    use_cores(None)
    assert os.environ["OMP_WAIT_POLICY"] == (given or "PASSIVE")
    assert os.environ["OMP_NUM_THREADS"] == "1"


POOLS = """
import ctypes, threading
from utils.processor import share_memory
SHARE
barrier = threading.Barrier(4)
def work():
    blocks = [bytearray(100_000) for _ in range(10)]
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.skipif(not hasattr(CDLL(None), "malloc_info"), reason="only glibc has several pools")
def test_threads_share_one_pool_of_memory() -> None:
    pools = [
        run_python("-c", POOLS.replace("SHARE", call)).stdout.count("<heap nr=")
        for call in ("share_memory()", "")
    ]
    assert pools[0] == 1 < pools[1]


RELEASE = """
import os
from utils.processor import release_memory
def held():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20
pieces = [bytes(1000) for _ in range(100_000)]
last = bytes(1000)  # the C library gives back by itself only what nothing lies behind
del pieces
before = held()
release_memory()
print(before - held())
"""


@pytest.mark.skipif(not hasattr(CDLL(None), "malloc_trim"), reason="not glibc")
def test_memory_is_released() -> None:
    assert int(run_python("-c", RELEASE).stdout) > 80


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
