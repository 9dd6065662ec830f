"""Files with a final name are always complete."""

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.programs import ROOT
from utils.errors import UserError
from utils.files import (
    append_line,
    check_folder,
    is_abandoned,
    locked,
    read_lines,
    reading_table,
    replacing,
)


def test_the_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert temporary.suffix == ".json" and not path.exists()
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]
    assert path.read_text() == "whole"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("ha")
        raise error
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"


def test_long_names_fit(tmp_path: Path) -> None:
    path = tmp_path / f"{'ä' * 120}.json"
    with replacing(path) as temporary:
        temporary.write_text("whole")
    assert path.read_text() == "whole"


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(OSError, match="a"):
        check_folder(tmp_path / "a")
    check_folder(tmp_path / "b" / "c")
    assert list((tmp_path / "b" / "c").iterdir()) == []


WRITER = """
import os, signal, sys
from pathlib import Path
from utils.files import replacing

with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    print("writing", flush=True)
    sys.stdin.read()
"""


def start_writer(path: Path, how: str) -> subprocess.Popen[str]:
    """Start another process that writes `path`: until it is killed, or its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, path, how],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_killed_processes_left_is_removed_and_what_others_write_stays(tmp_path: Path) -> None:
    with start_writer(tmp_path / "a.json", "killed") as killed:
        pass
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.glob(".a.*.json")
    with start_writer(tmp_path / "b.json", "slow") as slow:
        assert slow.stdout is not None and slow.stdout.readline() == "writing\n"
        (other,) = tmp_path.glob(".b.*.json")
        (tmp_path / ".hidden").write_text("of the user")
        check_folder(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([other, tmp_path / ".hidden"])
        assert left != other
        slow.communicate()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "b.json"]
    assert (tmp_path / "b.json").read_text() == "half"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when it began")
def test_a_later_process_with_the_same_id_is_not_the_writer(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        assert not is_abandoned(temporary)
        host, pid, begun, token = temporary.name.split(".")[2].split("-")
        assert int(pid) == os.getpid()
        assert is_abandoned(tmp_path / f".a.{host}-{pid}-{int(begun) - 1}-{token}.json")


@pytest.mark.parametrize("name", [".a.00000000-1-1-12345678.json", ".a.json"])
def test_an_unknown_writer_has_a_day(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("half")
    assert not is_abandoned(tmp_path / name)
    day_ago = time.time() - 25 * 3600
    os.utime(tmp_path / name, (day_ago, day_ago))
    assert is_abandoned(tmp_path / name)


def test_a_file_is_on_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[int, list[str]]] = []
    sync = os.fsync

    def record(descriptor: int) -> None:
        sync(descriptor)
        names = sorted(path.name.split(".")[-1] for path in (tmp_path / "new").glob("[!.]*"))
        events.append((os.fstat(descriptor).st_ino, names))

    monkeypatch.setattr(os, "fsync", record)
    path = tmp_path / "new" / "a.json"
    with replacing(path) as temporary:
        temporary.write_text("whole")
    ino, folder, above = (one.stat().st_ino for one in (path, path.parent, tmp_path))
    assert events == [(above, []), (ino, []), (folder, ["json"])]
    events.clear()
    append_line(path.parent / "b.txt", "one")
    append_line(path.parent / "b.txt", "two")
    ino = (path.parent / "b.txt").stat().st_ino
    both = ["json", "txt"]
    assert events == [(ino, both), (folder, both), (ino, both)]


def test_lines_are_added_and_a_broken_one_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.txt"
    assert read_lines(path) == []
    append_line(path, "one")
    append_line(path, "zwölf\u2028x")
    assert read_lines(path) == ["one", "zwölf\u2028x"]
    assert caplog.text == ""
    whole = path.read_bytes()
    for torn in (whole + b"thr", whole + "ö".encode()[:1]):
        path.write_bytes(torn)
        assert read_lines(path) == ["one", "zwölf\u2028x"]
        assert "a.txt: the last line is incomplete" in caplog.text
        append_line(path, "three")
        assert path.read_bytes() == whole + b"three\n"
    path.write_bytes(b"on")
    append_line(path, "one")
    assert path.read_bytes() == b"one\n"


HOLDER = """
import sys
from pathlib import Path
from utils.files import locked

with locked(Path(sys.argv[1]), "working"):
    print("locked", flush=True)
    sys.stdin.read()
    Path(sys.argv[1], "done").touch()
"""


def test_the_second_process_waits_for_the_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(
        given, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
        assert holder.stdin is not None
        threading.Timer(0.5, holder.stdin.close).start()
        with locked(tmp_path, "working"):
            assert (tmp_path / "done").exists()
    assert "another process is working in" in caplog.text
    with locked(tmp_path, "working"):
        assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,seconds\nJürgen,1\n".encode("utf-16"), "expected UTF-8 text, found other bytes"),
        (b"a" * 200_000, "expected comma-separated values, found: field larger than field limit"),
    ],
    ids=["UTF-16", "no table"],
)
def test_a_table_that_cannot_be_read(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as failure, reading_table(path) as file:
        list(csv.reader(file))
    assert str(failure.value).startswith(f"{path}: {message}")


def test_a_table_from_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("name\nJürgen\n", encoding="utf-8-sig")
    with reading_table(path) as file:
        assert list(csv.reader(file)) == [["name"], ["Jürgen"]]
