"""Nothing half-written bears a final name."""

import csv
from pathlib import Path

import pytest

from utils.errors import UserError
from utils.files import check_folder, reading_table, replacing


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
