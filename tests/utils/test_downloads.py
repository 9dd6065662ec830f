"""Downloads are complete and verified, from a real server on this machine."""

import hashlib
import http.server
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from utils.downloads import Expected, download
from utils.errors import ResourceError

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
WHOLE = Expected(SHA256, len(CONTENT))
ROOT = Path(__file__).parents[2]


class RangeHandler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT or an error, by path; records the requests."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Range"]))
        body = {"/page": b"<!DOCTYPE html><p>Sign in", "/other": CONTENT[::-1]}.get(
            self.path, CONTENT
        )
        if self.path == "/gone":
            self.send_error(404)
            return
        start = 0
        span = self.headers["Range"]
        if span and self.path != "/no-ranges":
            start = int(span.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if self.path == "/breaks" or (self.path == "/breaks-once" and not start):
            self.wfile.write(body[start : start + len(body) // 4])
        elif self.path == "/slow":
            self.wfile.write(body[: len(body) // 2])
            time.sleep(30)
        else:
            self.wfile.write(body[start:])

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    RangeHandler.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), RangeHandler) as running:
        running.daemon_threads = True
        running.block_on_close = False
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "paths",
    [["good"], ["gone", "good"], ["page", "good"], ["other", "good"], ["no-ranges"]],
    ids=[
        "good",
        "missing, then mirror",
        "web page, then mirror",
        "other file, then mirror",
        "bare",
    ],
)
def test_good_file(server: str, tmp_path: Path, paths: list[str]) -> None:
    target = tmp_path / "new" / "weights.model"
    seen: list[tuple[int, int | None]] = []
    download([f"{server}/{path}" for path in paths], target, WHOLE, lambda *now: seen.append(now))
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == ["weights.model"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [path for path, _ in RangeHandler.asked] == [f"/{path}" for path in paths]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gone", "HTTP 404"),
        ("page", "received a web page instead of the file"),
        ("other", f"expected SHA-256 {SHA256[:12]}, got"),
        ("breaks", "connection closed after"),
    ],
)
def test_bad_file(server: str, tmp_path: Path, path: str, reason: str) -> None:
    with pytest.raises(ResourceError, match=reason) as failure:
        download([f"{server}/{path}"], tmp_path / "weights.model", WHOLE)
    assert "\n" not in str(failure.value)
    assert f"{server}/{path}" in str(failure.value)
    assert "weights.model" not in names(tmp_path)


def test_bad_size(server: str, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"expected 7 bytes, got 1048576"):
        download([f"{server}/good"], tmp_path / "weights.model", Expected(num_bytes=7))
    assert names(tmp_path) == []


def test_broken_line_is_taken_up_at_once(server: str, tmp_path: Path) -> None:
    download([f"{server}/breaks-once"], tmp_path / "weights.model", Expected())
    assert (tmp_path / "weights.model").read_bytes() == CONTENT
    assert [span for _, span in RangeHandler.asked] == [None, f"bytes={len(CONTENT) // 4}-"]


@pytest.mark.parametrize(
    ("path", "part", "asked"),
    [
        ("good", CONTENT[:1000], ["bytes=1000-"]),
        ("good", CONTENT, [f"bytes={len(CONTENT)}-"]),
        ("no-ranges", CONTENT[:1000], ["bytes=1000-"]),
        ("good", b"<html>" + CONTENT[:500], ["bytes=506-", None]),
    ],
    ids=["half", "all of it", "server without ranges", "part of another file"],
)
def test_part_of_an_earlier_call(
    server: str, tmp_path: Path, path: str, part: bytes, asked: list[str | None]
) -> None:
    (tmp_path / "weights.model.part").write_bytes(part)
    download([f"{server}/{path}"], tmp_path / "weights.model", WHOLE)
    assert (tmp_path / "weights.model").read_bytes() == CONTENT
    assert [span for _, span in RangeHandler.asked] == asked


def test_part_is_not_taken_up_without_a_checksum(server: str, tmp_path: Path) -> None:
    (tmp_path / "weights.model.part").write_bytes(b"of who knows what")
    download([f"{server}/good"], tmp_path / "weights.model", Expected())
    assert (tmp_path / "weights.model").read_bytes() == CONTENT
    assert [span for _, span in RangeHandler.asked] == [None]


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        address = f"http://127.0.0.1:{reserved.getsockname()[1]}/weights.model"
        with pytest.raises(ResourceError, match="refused"):
            download([address] * 3, tmp_path / "weights.model", WHOLE)
    assert names(tmp_path) == []


def test_drive_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gdown")
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{reserved.getsockname()[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(ResourceError, match=r"gdrive:abc \(") as failure:
            download(["gdrive:abc"], tmp_path / "weights.model", WHOLE)
    assert "\n" not in str(failure.value)
    assert names(tmp_path) == []


def test_interrupt_leaves_no_final_name(server: str, tmp_path: Path) -> None:
    code = (
        "import signal, sys; from pathlib import Path\n"
        "from utils.downloads import Expected, download\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in the background
        "download([sys.argv[1]], Path(sys.argv[2]), Expected())"
    )
    target = tmp_path / "weights.model"
    with subprocess.Popen(
        [sys.executable, "-c", code, f"{server}/slow", str(target)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        part = tmp_path / "weights.model.part"
        deadline = time.monotonic() + 120
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert "KeyboardInterrupt" in errors
    assert names(tmp_path) == ["weights.model.part"]
