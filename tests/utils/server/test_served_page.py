"""The local page in a real browser, with a real server and real worker processes.

The page's policy forbids text as code, so conditions are looked at again and again.
"""

import base64
import http.server
import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.batch_runs import descendants, with_command
from benchmarks.command import loop_clip
from tests.made_report import Page, browser_of_system, squares
from tests.made_served import served, served_command
from tests.made_video import write_video
from utils.report.edits import Draw, Edits, Rename

pytestmark = pytest.mark.slow
SHOWN = """[...document.querySelectorAll(".job")].map(one =>
  [one.querySelector(".job-name").textContent, one.dataset.state])"""
DROP = """files => {
  const moved = new DataTransfer();
  for (const [name, text] of files) {
    moved.items.add(new File([Uint8Array.from(atob(text), one => one.charCodeAt(0))], name));
  }
  document.dispatchEvent(new DragEvent("drop", { dataTransfer: moved, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browser_of_system() as started:
        yield started


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    write_video(path, squares(25))
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MADE_SERVED", str(tmp_path))
    (tmp_path / "served").mkdir()
    return tmp_path / "served"


@contextmanager
def opened(browser: Any, address: str) -> Iterator[Page]:
    """Open an address; nothing may have gone wrong there in the end."""
    page = Page(browser, address)
    yield page
    page.close()
    assert page.faults == []


def add(page: Page, path: Path, model: str = "auto") -> None:
    page.page.locator("#model").select_option(model)
    page.page.locator("#files").set_input_files(path)


def wait_for(page: Page, *rows: tuple[str, str]) -> None:
    """Wait until the list shows these names and states."""
    while [tuple(row) for row in page.run(SHOWN)] != list(rows):
        time.sleep(0.05)


def press(page: Page, label: str, number: int = 0) -> None:
    page.page.locator(".job").nth(number).get_by_role("button", name=label).click()


def facts(page: Page, number: int = 0) -> str:
    return str(page.page.locator(".job-facts").nth(number).inner_text())


def test_from_upload_to_a_corrected_report(browser: Any, tmp_path: Path) -> None:
    """With the command itself and bundled models."""
    loop_clip(tmp_path / "talk <b>.mp4", 2.0)
    flags = ("--detector", "tiny_fcos", "--embedder", "none")
    command = served_command(tmp_path / "served", *flags)
    with command as address, opened(browser, address) as page:
        page.page.locator("#empty").wait_for(state="visible")
        add(page, tmp_path / "talk <b>.mp4", "synchrony")
        seen = set()
        while page.run(SHOWN) != [["talk <b>.mp4", "done"]]:
            seen |= set(
                page.run("[...document.querySelectorAll('.job-facts')].map(one => one.innerText)")
            )
            assert page.run(SHOWN)[:1] != [["talk <b>.mp4", "failed"]], seen
            time.sleep(0.05)
        assert any("loading the models" in one for one in seen)
        assert any("finding speakers · 0:0" in one and " of 0:02 · " in one for one in seen)
        assert re.fullmatch(r"done0:02 · [1-9]\d* (person|people) · .*", facts(page))
        with page.page.expect_navigation(wait_until="commit"):
            page.page.get_by_role("link", name="Open the report").click(no_wait_after=True)
        page.wait_ready()
        assert page.page.title().startswith("talk <b>.mp4")
        page.load_video()
        page.seek(1.2)
        assert abs(page.run("player.video.currentTime") - 1.2) <= 0.04
        page.run("edit => model.add(edit)", {"edit": "rename", "person": 0, "name": "Ann"})
        page.run("edit => model.add(edit)", {"edit": "draw", "person": 0, "start": 5, "stop": 45})
        page.page.keyboard.press("Control+s")
        page.wait("!model.unsaved")
        page.page.reload(wait_until="commit")
        page.wait_ready()
        assert page.run("[model.list.length, model.unsaved, model.speakerName(0)]") == [
            2,
            False,
            "Ann",
        ]
    (edits,) = tmp_path.rglob("edits.json")
    assert Edits.read_json(edits).edits == (Rename(0, "Ann"), Draw(0, 5, 45))
    assert " Ann " in edits.with_name("speech.rttm").read_text()
    assert json.loads(edits.with_name("result.json").read_text())["video"]["path"] == "talk <b>.mp4"


def test_a_reload_a_second_browser_and_cancelling(browser: Any, folder: Path, video: Path) -> None:
    with (
        served(folder) as address,
        opened(browser, address) as page,
        opened(browser, address) as other,
    ):
        add(page, video, "hang")
        add(page, video)
        rows = (("a.mp4", "waiting"), ("a.mp4", "running"))
        wait_for(page, *rows)
        wait_for(other, *rows)
        page.page.reload(wait_until="commit")
        page.wait_ready()
        wait_for(page, *rows)
        while "2 faces so far" not in facts(page, 1):
            time.sleep(0.05)
        assert page.run("document.querySelector('progress').value") == 1
        press(other, "Cancel", 1)
        wait_for(page, ("a.mp4", "done"), ("a.mp4", "cancelled"))
        press(page, "Delete", 1)
        page.page.get_by_role("button", name="Back").last.click()
        press(page, "Delete", 1)
        page.page.get_by_role("button", name="Delete", exact=True).click()
        wait_for(other, ("a.mp4", "done"))
        press(other, "Run again")
        other.page.locator("#again-threshold").fill("-2")
        other.page.locator("#again").get_by_role("button", name="Run again").click()
        wait_for(page, ("a.mp4", "done"), ("a.mp4", "done"))
        assert "from a score of -2" in facts(page)
        assert len(list(folder.glob("*/results/result.json"))) == 2


def test_a_killed_worker(browser: Any, folder: Path, video: Path) -> None:
    """The video is tried once more, then given up; the next one is analysed."""
    with served(folder) as address, opened(browser, address) as page:
        add(page, video, "hang")
        add(page, video)
        for _ in range(2):
            while "2 faces so far" not in facts(page, 1):
                time.sleep(0.05)
            for pid in with_command(descendants(os.getpid()), b"worker_process import main"):
                os.kill(pid, signal.SIGKILL)
            while "2 faces so far" in facts(page, 1):
                time.sleep(0.01)
        wait_for(page, ("a.mp4", "done"), ("a.mp4", "failed"))
        assert "SIGKILL" in facts(page, 1)


def test_a_server_that_stops_and_starts(browser: Any, folder: Path, video: Path) -> None:
    """The page says so, and goes on with the queue."""
    with served(folder) as address:
        page = Page(browser, address)
        add(page, video, "hang")
        wait_for(page, ("a.mp4", "running"))
    page.page.locator("#lost").wait_for()
    with served(folder, int(address.rpartition(":")[2])):
        page.page.locator("#lost").wait_for(state="hidden")
        wait_for(page, ("a.mp4", "running"))
        press(page, "Cancel")
        wait_for(page, ("a.mp4", "cancelled"))
        page.close()


NAMES = ["../../../up.mp4", "/etc/passwd.mp4", "<img src=x onerror=alert(1)>.mp4", "..", "é\n.m p4"]


def test_names_are_only_shown(browser: Any, folder: Path, video: Path) -> None:
    text = base64.b64encode(video.read_bytes()).decode("ascii")
    with served(folder) as address, opened(browser, address) as page:
        page.page.locator("#model").select_option("hang")
        page.run(DROP, [[name, text] for name in NAMES])
        while len(page.run(SHOWN)) < len(NAMES) or "uploading" in str(page.run(SHOWN)):
            time.sleep(0.05)
        names = sorted(row[0] for row in page.run(SHOWN))
        assert names == sorted(
            ["up.mp4", "passwd.mp4", "<img src=x onerror=alert(1)>.mp4", "..", "é.m p4"]
        )
        assert page.run("document.querySelectorAll('.job img').length") == 0
    found = {path.name for path in folder.rglob("*") if path.is_file()}
    assert found - {"job.json", "progress.json", "analysis.log"} == {"video.mp4", "video.bin"}
    assert sorted(one.name for one in folder.parent.iterdir()) == ["served"]


ASK = """async ([address, id]) => {
  const found = [];
  for (const [method, path, mode] of [
    ["POST", `/jobs/${id}/cancel`, "no-cors"], ["POST", `/jobs/${id}/cancel`, "cors"],
    ["DELETE", `/jobs/${id}`, "cors"], ["PUT", "/videos?name=b.mp4", "cors"],
    ["GET", "/jobs", "cors"],
  ]) {
    const content = method === "PUT" ? "text" : undefined;
    const answer = fetch(address + path, { method, mode, body: content, credentials: "include" });
    found.push(await answer.then(one => one.type, () => "refused"));
  }
  for (const kind of ["video", "img", "iframe"]) {
    const made = document.createElement(kind);
    const ended = new Promise(done => {
      made.onerror = () => done("refused");
      made.onloadedmetadata = () => done("loaded");
      made.onload = () => done(kind === "iframe" ? "empty" : "loaded");
    });
    made.src = kind === "iframe" ? address : `${address}/jobs/${id}/video.mp4`;
    document.body.append(made);
    found.push(await ended);
  }
  return found;
}"""


@contextmanager
def foreign_page(host: str) -> Iterator[str]:
    """Serve a page of another origin."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b'<!doctype html><html data-ready="true"><body></body></html>')

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://{host}:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_pages_of_other_origins(browser: Any, folder: Path, video: Path, host: str) -> None:
    """They can neither read nor change anything, nor show the page inside of theirs."""
    with (
        served(folder) as address,
        foreign_page(host) as other,
        opened(browser, address) as page,
    ):
        add(page, video, "hang")
        wait_for(page, ("a.mp4", "running"))
        job_id = page.run("document.querySelector('.job').id")
        foreign = Page(browser, other)
        found = foreign.run(ASK, [address, job_id])
        foreign.close()
        # A refused frame loads an error page.
        assert found == [*["refused"] * 7, "empty"]
        wait_for(page, ("a.mp4", "running"))
        assert len(list(folder.glob("*/job.json"))) == 1
