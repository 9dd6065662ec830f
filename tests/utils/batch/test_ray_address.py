"""Addresses without a Ray cluster are refused before Ray tries them for minutes."""

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from utils.batch import ray_address
from utils.batch.ray_address import check_cluster, use_token
from utils.errors import ResourceError, UserError

ADVICE = r"; start one with ray start --head, or use --ray local$"
# The settings with which a gRPC server begins.
SETTINGS = bytes([0, 0, 6, 4, 0, 0, 0, 0, 0]) + bytes([0, 4, 0, 0x3F, 0xFF, 0xFF])


@contextmanager
def server(answer: bytes | None) -> Iterator[str]:
    """Answer each connection alike, with None not at all; yield the address."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:  # it is closed
                    return
                held.append(connection)
                if answer is not None:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    for connection in held:
        connection.close()


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_USE_TLS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))


def test_a_server_of_grpc_is_accepted() -> None:
    with server(SETTINGS) as address:
        check_cluster(address)
        check_cluster(f"ray://{address}")


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_nobody_is_there(scheme: str) -> None:
    message = rf"^--ray {scheme}127.0.0.1:1: expected .* at 127.0.0.1:1, found: Connection refused"
    with pytest.raises(ResourceError, match=message + ADVICE):
        check_cluster(f"{scheme}127.0.0.1:1")


def test_another_program_is_there() -> None:
    message = "found: another program" + ADVICE
    ssh = b"SSH-2.0-OpenSSH_9.6\r\n"
    with server(ssh) as address, pytest.raises(ResourceError, match=message):
        check_cluster(address)


def test_a_silent_program_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_address, "ANSWER_S", 0.1)
    with server(None) as address, pytest.raises(ResourceError, match="found: no answer" + ADVICE):
        check_cluster(address)


def test_the_cluster_that_was_started_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_cluster("auto")  # nothing is known of any
    path = tmp_path / "ray" / "ray_current_cluster"
    path.parent.mkdir()
    path.write_text("127.0.0.1:1\n")
    message = rf"^--ray auto: .* at 127.0.0.1:1 \({re.escape(str(path))}\), found: Connection"
    with pytest.raises(ResourceError, match=message):
        check_cluster("auto")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:2")
    with pytest.raises(ResourceError, match=r"at 127.0.0.1:2 \(RAY_ADDRESS\), found: Connection"):
        check_cluster("auto")
    with server(SETTINGS) as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        check_cluster("auto")


@pytest.mark.parametrize(
    "address", ["cluster", ":6379", "host:port", "host:99999", "http://host:8265", "[::1", "loca"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(UserError, match=r"expected local, auto or HOST:PORT of a cluster, found"):
        check_cluster(address)


@pytest.mark.parametrize(
    ("given", "file", "mode"),
    [
        ({}, False, None),
        ({}, True, "token"),
        ({"RAY_AUTH_TOKEN": "secret"}, False, "token"),
        ({"RAY_AUTH_MODE": "disabled"}, True, "disabled"),
    ],
    ids=str,
)
def test_the_token_of_this_machine(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, str],
    file: bool,
    mode: str | None,
) -> None:
    monkeypatch.setattr("os.environ", {"HOME": str(tmp_path), **given})
    if file:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("secret")
    use_token()
    assert os.environ.get("RAY_AUTH_MODE") == mode
