"""Workers started by Ray give what a serial run does, and survive what strikes them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.batch_runs import descendants, with_command
from tests.made_batch import MadeWork
from tests.utils.batch.test_command import kill_and_go_on, run, start, states, write_all
from utils.batch.command import plan, run_batch
from utils.batch.options import BatchOptions
from utils.batch.ray_address import check_cluster
from utils.batch.ray_engine import (
    STORE_BYTES,
    WORKER_BYTES,
    WorkerShare,
    share_cluster,
    share_machine,
)
from utils.errors import ResourceError

pytest.importorskip("ray")


def test_a_machine_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    def share(cores: int, rooms: float, num_videos: int, **options: float) -> WorkerShare:
        monkeypatch.setattr("utils.batch.ray_engine.num_cores", lambda: cores)
        memory = int(rooms * WORKER_BYTES)
        monkeypatch.setattr("utils.batch.ray_engine.available_memory", lambda: memory)
        given = BatchOptions(ray="local", **options)  # type: ignore[arg-type]
        return share_machine(given, num_videos)

    assert share(16, 100, 1000) == WorkerShare(16, 1)
    assert share(16, 4.5, 1000) == WorkerShare(4, 4)
    assert share(16, 100, 3) == WorkerShare(3, 5)
    assert share(16, 0.5, 1000) == WorkerShare(1, 16)
    assert share(16, 100, 1000, workers=8, gpus_per_worker=0.25) == WorkerShare(8, 2, 0.25)
    assert share(2, 100, 1000, workers=4) == WorkerShare(4, 1)


def test_a_cluster_is_counted() -> None:
    nodes = [{"CPU": 8.0, "memory": 5.5 * WORKER_BYTES, "GPU": 1.0}, {"CPU": 4.0, "memory": 1e12}]
    assert share_cluster(nodes, BatchOptions(ray="auto"), 100) == WorkerShare(5 + 4, 1)
    assert share_cluster(nodes, BatchOptions(ray="auto"), 6) == WorkerShare(6, 1)
    gpu = BatchOptions(ray="auto", gpus_per_worker=0.25)
    assert share_cluster(nodes, gpu, 100) == WorkerShare(4, 1, 0.25)
    assert share_cluster([], BatchOptions(ray="auto", workers=3), 100) == WorkerShare(3, 1)


@pytest.mark.slow
def test_all_states(tmp_path: Path) -> None:
    texts = {f"{word}.mp4": word for word in ("corrupt", "crash", "fault", "hang-once", "hang")}
    texts |= {f"{number}.mp4": "fine" for number in range(4)}
    source, out = write_all(tmp_path / "in", texts), tmp_path / "out"
    assert run(source, out, ray="local", workers=2, timeout=5.0) == 1
    found = {name: (line["state"], line["tries"]) for name, line in states(out).items()}
    bad = dict.fromkeys(("corrupt", "crash", "fault", "hang"), ("failed", 2))
    good = {str(number): ("done", 1) for number in range(4)}
    assert found == {**bad, **good, "hang-once": ("done", 2)}
    assert len({line["worker"] for line in states(out).values() if line["worker"]}) >= 2
    assert with_command(descendants(os.getpid()), b"worker_process import main") == []


@pytest.mark.slow
def test_weights_that_are_not_there(tmp_path: Path) -> None:
    source, out = write_all(tmp_path / "in", {"a.mp4": "fine"}), tmp_path / "out"
    weights = tmp_path / "weights"
    weights.write_text("bad")
    with pytest.raises(ResourceError, match=r"no worker can load .*the weights cannot be had"):
        run(source, out, MadeWork(weights=weights), ray="local", workers=2)


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    kill_and_go_on(tmp_path, "local", num_videos=40, rounds=2)


@pytest.mark.slow
def test_actors_that_die(tmp_path: Path) -> None:
    """Ray starts others in their place; a video that lost its machine is not to blame."""
    source = write_all(tmp_path / "in", {f"{number}.mp4": "slow" for number in range(30)})
    out = tmp_path / "out"
    options = BatchOptions(ray="local", workers=2, tries=1)
    batch = plan([source], out, options)
    killer = os.fork()
    if killer == 0:
        kill_actors(os.getppid(), out)
    assert run_batch(batch, options, MadeWork(), []) == 0
    assert os.waitpid(killer, 0)[1] == 0
    assert {line["state"] for line in states(out).values()} == {"done"}


def kill_actors(parent: int, out: Path) -> None:
    """Kill all actors twice, each time after some videos; ends this process."""
    for count in (2, 10):
        while not (out / "status.jsonl").exists() or len(states(out)) < count:
            time.sleep(0.02)
            if os.getppid() != parent:  # the test was interrupted
                os._exit(1)
        actors = with_command(descendants(parent), b"ray::VideoActor")
        if not actors:
            os._exit(1)
        for pid in actors:
            os.kill(pid, signal.SIGKILL)
    os._exit(0)


def test_no_cluster(tmp_path: Path) -> None:
    source = write_all(tmp_path / "in", {"a.mp4": "fine"})
    with pytest.raises(ResourceError, match="expected a running Ray cluster"):
        run(source, tmp_path / "out", ray="127.0.0.1:1")


@pytest.mark.slow
def test_a_running_cluster(tmp_path: Path) -> None:
    """A program of its own reaches it; two workers share the videos."""
    source = write_all(tmp_path / "in", {f"{number}.mp4": "fine" for number in range(4)})
    with running_cluster() as address:
        assert start(source, tmp_path / "out", address).wait() == 0
    assert {line["state"] for line in states(tmp_path / "out").values()} == {"done"}


@contextmanager
def running_cluster() -> Iterator[str]:
    """Start a cluster of this machine as users do; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"]
    command += ["--port", str(port), "--num-cpus", "2", "--include-dashboard", "false"]
    command += ["--node-ip-address", "127.0.0.1", "--object-store-memory", str(STORE_BYTES)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as head:
        try:
            address = f"127.0.0.1:{port}"
            while not answers(address):
                assert head.poll() is None, "ray start has ended"
                time.sleep(0.1)
            yield address
        finally:
            head.terminate()


def answers(address: str) -> bool:
    try:
        check_cluster(address)
    except ResourceError:
        return False
    return True
