"""Flags are generated from option dataclasses and read back into them."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

from utils.flags import (
    add_flags,
    add_groups,
    flag_name,
    make_parser,
    read_flags,
    read_groups,
)


@dataclass(frozen=True)
class Choice:
    """One option of every kind."""

    min_track: Annotated[int, "frames"] = 10
    crop_scale: Annotated[float, "a share"] = 0.4
    device: Annotated[Literal["cpu", "cuda"], "where"] = "cpu"
    cuts: Annotated[Path | None, "a file"] = None
    no_video: Annotated[bool, "a switch"] = False

    def __post_init__(self) -> None:
        if self.min_track < 0:
            raise ValueError(f"--minTrack must be 0 or more, got {self.min_track}")


def parse(*arguments: str) -> Choice:
    parser = argparse.ArgumentParser()
    add_flags(parser, Choice, "choice")
    return read_flags(parser.parse_args(arguments), Choice)


@pytest.mark.parametrize(
    ("name", "flag"), [("start", "start"), ("n_data_loader_thread", "nDataLoaderThread")]
)
def test_flag_name(name: str, flag: str) -> None:
    assert flag_name(name) == flag


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], Choice()),
        (
            ["--minTrack", "3", "--cropScale", "0.5", "--device", "cuda", "--cuts", "a b.txt"],
            Choice(3, 0.5, "cuda", Path("a b.txt")),
        ),
        (["--noVideo"], Choice(no_video=True)),
    ],
    ids=["defaults", "values", "switch"],
)
def test_flags_become_options(arguments: list[str], expected: Choice) -> None:
    assert parse(*arguments) == expected


@pytest.mark.parametrize(
    "arguments", [["--minTrack", "x"], ["--device", "tpu"], ["--noVideo", "1"]]
)
def test_wrong_values_are_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(*arguments)
    assert stop.value.code == 2


def test_checks_of_the_options_count() -> None:
    with pytest.raises(ValueError, match="--minTrack must be 0 or more, got -1"):
        parse("--minTrack", "-1")


def test_help_shows_meaning_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    shown = capsys.readouterr().out
    assert "--minTrack INT" in shown and "frames (default: 10)" in shown


@dataclass(frozen=True)
class Other:
    """Options of another stage."""

    windows: Annotated[str, "seconds"] = ""


@dataclass(frozen=True)
class Both:
    """All options of a command."""

    choice: Choice
    other: Other


def test_groups_of_options() -> None:
    parser = argparse.ArgumentParser()
    add_groups(parser, Both)
    found = read_groups(parser.parse_args(["--windows", "1,2", "--minTrack", "3"]), Both)
    assert found == Both(Choice(3), Other("1,2"))


def test_names_of_a_field_are_its_choices() -> None:
    parser = argparse.ArgumentParser()
    add_groups(parser, Both, {"windows": ("one", "two")})
    assert read_groups(parser.parse_args(["--windows", "two"]), Both).other == Other("two")
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--windows", "three"])
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["--help"], {"--help", "--minTrack", "--cuts"}),
        (["-h", "all"], {"--help", "--minTrack", "--cropScale", "--device", "--cuts", "--noVideo"}),
    ],
    ids=["essential", "all"],
)
def test_help_shows_the_essential_flags_or_all(
    given: list[str], shown: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    parser = make_parser("What it does.", ["min_track", "cuts"])
    parser.add_argument("videos", nargs="*", help="files")
    add_flags(parser, Choice, "choice")
    parser.add_argument("--allCuts", dest="cuts", default=argparse.SUPPRESS, help="--cuts")
    with pytest.raises(SystemExit) as end:
        parser.parse_args(given)
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert set(re.findall(r"--\w+", printed)) - {"--allCuts"} == shown
    assert ("--allCuts" in printed) == (given[-1] == "all")
    assert "What it does." in printed and "videos" in printed
