"""A command that fails says why on one line and returns the status that tells so."""

import argparse
import io
import logging
from collections.abc import Callable

import pytest

from utils.commands import exit_status, one_line, wrong_usage


@pytest.mark.parametrize(
    ("returned", "status"), [(None, 0), (0, 0), (1, 1)], ids=["done", "well", "badly"]
)
def test_what_returns(returned: int | None, status: int, caplog: pytest.LogCaptureFixture) -> None:
    assert exit_status(lambda: returned) == status
    assert caplog.messages == []


def raising(error: BaseException) -> Callable[[], int]:
    def action() -> int:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("expected one,\n  found two"), "error: expected one, found two"),
        (RuntimeError("no luck"), "error: no luck"),
        (FileNotFoundError("expected a folder"), "error: expected a folder"),
        (PermissionError(13, "Permission denied", "a/b"), "error: a/b: Permission denied; mend it"),
        (OSError(28, "No space left"), "error: No space left; mend it"),
        (
            OSError(21, "Is a directory", ".a.1.mp4", None, "a.mp4"),
            "error: a.mp4: Is a directory; mend it",
        ),
        (KeyboardInterrupt(), "interrupted; half is there"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_stops_it(
    error: BaseException, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert exit_status(raising(error), "half is there", "mend it") == 1
    assert caplog.record_tuples == [("utils.commands", logging.ERROR, message)]


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
    assert exit_status(lambda: print("café 日.mp4 \udcff", end="", flush=True)) == 0
    assert written.getvalue() == printed


def test_no_advice() -> None:
    assert one_line(PermissionError(13, "Permission denied", "a")) == "a: Permission denied"


def test_a_fault_of_the_project_is_not_hidden() -> None:
    with pytest.raises(AssertionError):
        exit_status(raising(AssertionError()))


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"), wrong_usage(argparse.ArgumentParser(prog="it")):
        raise ValueError("--side must be even, got 3")
    assert capsys.readouterr().err.splitlines()[-1] == "it: error: --side must be even, got 3"
