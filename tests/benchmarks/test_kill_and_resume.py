"""What was killed and resumed is as what was not; where it is not, the comparison says so."""

import json
from pathlib import Path
from random import Random

import pytest

from benchmarks.kill_and_resume import Job, compare, contents, kill_and_resume
from tests.programs import run_python


@pytest.mark.slow
@pytest.mark.parametrize("program", ["preparation", "training", "demo"])
def test_killed_programs_go_on(program: str, tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    given = ["--kills", "3", "--seed", "1", "--only", program, "--json", str(table)]
    done = run_python("-m", "benchmarks.kill_and_resume", *given)
    assert done.returncode == 0, done.stderr[-3000:]
    (row,) = json.loads(table.read_text())["rows"]
    assert (row["program"], row["kills"]) == (program, 3)
    assert row["compared"] >= 1 and row["files"] >= 5


def test_a_file_that_is_left_or_lost_is_named(tmp_path: Path) -> None:
    whole = {"a.csv": "x", "log.csv": [{"epoch": "1"}]}
    job = Job("demo", lambda _: 0, Path.mkdir)
    compare(job, whole, dict(whole))
    for found, name in (
        ({**whole, ".a.1234.csv": ""}, r"\.a\.1234\.csv"),
        ({"a.csv": "x"}, r"log\.csv"),
        ({**whole, "a.csv": "y"}, r"a\.csv"),
    ):
        with pytest.raises(AssertionError, match=f"demo, killed and resumed, differs in {name}$"):
            compare(job, whole, found)
    (tmp_path / "log.csv").write_text("epoch,seconds\n1,3.5\n")
    (tmp_path / ".left.csv").write_text("")
    assert contents(tmp_path)["log.csv"] == [{"epoch": "1"}]
    assert set(contents(tmp_path)) == {"log.csv", ".left.csv"}


def test_a_program_that_fails_is_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="bad failed with status"):
        kill_and_resume(Job("bad", lambda _: 1, Path.mkdir), tmp_path, 1, Random(0))
