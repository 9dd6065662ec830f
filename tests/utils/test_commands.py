"""Error messages and exit statuses of commands."""

import argparse
import io
import logging
import multiprocessing
import re
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import av.error
import numpy as np
import pytest
import torch

from utils.commands import ErrorReport, exit_status, one_line, wrong_usage
from utils.errors import ResourceError, UserError, WeightsUnavailableError


@pytest.mark.parametrize(
    ("returned", "status"), [(None, 0), (0, 0), (1, 1)], ids=["done", "well", "badly"]
)
def test_what_returns(returned: int | None, status: int, caplog: pytest.LogCaptureFixture) -> None:
    report = ErrorReport()
    assert exit_status(lambda: returned, report) == status
    assert caplog.messages == [] and not report.failed


def raising(error: BaseException) -> Callable[[], int]:
    def action() -> int:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("expected one,\n  found two"), "error: expected one, found two"),
        (ResourceError("no luck"), "error: no luck"),
        (WeightsUnavailableError("none here"), "error: none here"),
        (FileNotFoundError("expected a folder"), "error: expected a folder"),
        (FileExistsError("a file has that name"), "error: a file has that name"),
        (PermissionError(13, "Permission denied", "a/b"), "error: a/b: Permission denied; mend it"),
        (OSError(28, "No space left"), "error: No space left; mend it"),
        (av.error.PermissionError(13, "Denied", "a.mp4"), "error: a.mp4: Denied; mend it"),
        (
            OSError(21, "Is a directory", ".a.1.mp4", None, "a.mp4"),
            "error: a.mp4: Is a directory; mend it",
        ),
        (KeyboardInterrupt(), "interrupted; half is there"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_a_user_can_mend(
    error: BaseException, message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report = ErrorReport("mend it", folder=tmp_path)
    assert exit_status(raising(error), report, "half is there") == 1
    assert caplog.record_tuples == [("utils.commands", logging.ERROR, message)]
    assert caplog.records[0].exc_info is None
    assert list(tmp_path.iterdir()) == []


def divided() -> None:
    np.zeros(3) @ np.zeros(4)  # NumPy's own ValueError


def moved() -> None:
    torch.zeros(1).to("vulkan")  # PyTorch's own RuntimeError


def refused() -> None:
    raise ConnectionResetError(104, "Connection reset by peer")  # of no file


def in_a_process() -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(divided).result()


@pytest.mark.parametrize(
    ("action", "kind", "place"),
    [
        (divided, "ValueError: matmul", "in divided"),
        (moved, "RuntimeError: PyTorch is not linked", "in moved"),
        (refused, "ConnectionResetError: [Errno 104] Connection", "in refused"),
        (in_a_process, "ValueError: matmul", "in divided"),
        (raising(AssertionError()), "AssertionError;", "in action"),
    ],
    ids=["NumPy's", "PyTorch's", "of no file", "in another process", "without a message"],
)
def test_a_fault_keeps_its_traceback(
    action: Callable[[], int | None],
    kind: str,
    place: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert exit_status(action, ErrorReport(folder=tmp_path)) == 1
    (path,) = tmp_path.iterdir()
    assert re.fullmatch(r"talknet-error-\d{8}-\d{6}-\d+\.log", path.name)
    (message,) = caplog.messages
    assert message.startswith(f"error: unexpected {kind}") and "\n" not in message
    assert message.endswith(f"; the traceback is in {path}")
    assert caplog.records[0].exc_info is None
    assert place in path.read_text() and kind.partition(":")[0].strip(";") in path.read_text()


@pytest.mark.parametrize("kind", ["none", "missing", "a file"])
def test_a_folder_that_cannot_be_written(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder, temporary = tmp_path / "out", tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    if kind == "a file":
        folder.touch()
    assert exit_status(moved, ErrorReport(folder=None if kind == "none" else folder)) == 1
    (path,) = temporary.iterdir()
    assert caplog.messages[0].endswith(f"; the traceback is in {path}")
    assert folder.exists() == (kind == "a file")


def test_where_nothing_can_be_written_the_screen_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert exit_status(moved, ErrorReport(folder=tmp_path / "missing")) == 1
    assert "the traceback is in" not in caplog.text and "in moved" in caplog.text


@pytest.mark.parametrize(
    "action", [moved, raising(UserError("expected one"))], ids=["fault", "user"]
)
def test_debug_shows_every_traceback(
    action: Callable[[], int | None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert exit_status(action, ErrorReport(folder=tmp_path, debug=True)) == 1
    assert "Traceback (most recent call last)" in caplog.text and "the traceback" not in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_the_subject_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with ErrorReport(subject="a.mp4") as report:
        raise UserError("it broke")
    assert report.failed
    assert caplog.messages == ["error: a.mp4: it broke"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit], ids=lambda one: one.__name__)
def test_what_passes(error: type[BaseException]) -> None:
    report = ErrorReport()
    with pytest.raises(error), report:
        raise error
    assert not report.failed


@pytest.mark.parametrize(
    ("encoding", "errors", "printed"),
    [
        ("cp1252", "strict", rb"caf\xe9 \u65e5.mp4 \udcff"),
        ("ascii", "strict", rb"caf\xe9 \u65e5.mp4 \udcff"),
        ("utf-8", "strict", "café 日.mp4 ".encode() + rb"\udcff"),
        ("utf-8", "surrogateescape", "café 日.mp4 ".encode() + b"\xff"),
    ],
)
def test_any_name_can_be_printed(
    encoding: str, errors: str, printed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    if encoding == "cp1252":  # which has the é
        printed = printed.replace(rb"\xe9", b"\xe9")
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding, errors))
    assert exit_status(lambda: print("café 日.mp4 \udcff", end="", flush=True), ErrorReport()) == 0
    assert written.getvalue() == printed


def test_no_advice() -> None:
    assert one_line(PermissionError(13, "Permission denied", "a")) == "a: Permission denied"


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"), wrong_usage(argparse.ArgumentParser(prog="it")):
        raise UserError("--side must be even, got 3")
    assert capsys.readouterr().err.splitlines()[-1] == "it: error: --side must be even, got 3"


def test_a_fault_is_no_wrong_usage() -> None:
    with pytest.raises(ValueError, match="matmul"), wrong_usage(argparse.ArgumentParser()):
        divided()
