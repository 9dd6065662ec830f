"""People get the names of faces that they resemble, or those of a table."""

from pathlib import Path

import numpy as np
import pytest

from tests.made_faces import directions, made_embeddings, made_track
from utils.errors import UserError
from utils.people.grouping import form_people
from utils.people.names import (
    EnrolledPerson,
    find_images,
    name_by_faces,
    name_by_number,
    read_names,
)
from utils.structures import Person

THRESHOLD = 0.7


def named(
    people: list[int], starts: list[int], names: dict[str, int], noise: float = 0.5
) -> list[tuple[int, tuple[int, ...], str | None]]:
    """Return (id, tracks, name) of tracks of these people; `names` says whom faces show."""
    faces = directions(6)
    tracks = [made_track(i, start) for i, start in enumerate(starts)]
    embeddings = [made_embeddings(i, faces[who], noise) for i, who in enumerate(people)]
    enrolled = [EnrolledPerson(name, faces[who][None]) for name, who in names.items()]
    formed = form_people(tracks, embeddings, THRESHOLD)
    found = name_by_faces(formed, enrolled, tracks, embeddings, THRESHOLD)
    assert all((one.similarity is None) == (one.name is None) for one in found)
    return [(one.id, one.tracks, one.name) for one in found]


@pytest.mark.parametrize(
    ("people", "starts", "names", "expected"),
    [
        ([0, 1, 0], [0, 0, 90], {}, [(0, (0, 2), None), (1, (1,), None)]),
        ([0, 1, 0], [0, 0, 90], {"Ann": 1}, [(0, (0, 2), None), (1, (1,), "Ann")]),
        ([0, 1], [0, 90], {"Bo": 0, "Ann": 1}, [(0, (0,), "Bo"), (1, (1,), "Ann")]),
        ([0, 1], [0, 90], {"Cy": 5}, [(0, (0,), None), (1, (1,), None)]),
        ([3, 3], [0, 20], {"Bo": 3}, [(0, (0,), "Bo"), (1, (1,), None)]),
    ],
    ids=["no names", "one name", "two names", "a stranger", "a name is given once at a time"],
)
def test_name_by_faces(
    people: list[int],
    starts: list[int],
    names: dict[str, int],
    expected: list[tuple[int, tuple[int, ...], str | None]],
) -> None:
    found = named(people, starts, names)
    if people == [3, 3]:  # which of the two is more like Bo is chance
        assert sorted(name or "" for *_, name in found) == ["", "Bo"]
    else:
        assert found == expected


def test_people_of_one_name_who_never_meet_are_one() -> None:
    faces = directions(3)
    vectors = [faces[0], faces[1]]
    tracks = [made_track(i, 100 * i) for i in range(2)]
    embeddings = [made_embeddings(i, one, noise=0.1) for i, one in enumerate(vectors)]
    people = [Person(i, None, (i,)) for i in range(2)]
    enrolled = [EnrolledPerson("Ann", np.stack(vectors))]
    (found,) = name_by_faces(people, enrolled, tracks, embeddings, THRESHOLD)
    assert (found.id, found.tracks, found.name) == (0, (0, 1), "Ann")
    assert found.similarity == pytest.approx(0.99, abs=0.02)


def test_find_images(tmp_path: Path) -> None:
    for name in ("Ann Lee.jpg", "Bo/1.PNG", "Bo/2.jpeg", "Cy/notes.txt", ".x.jpg", "d.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert find_images(tmp_path) == {
        "Ann Lee": [tmp_path / "Ann Lee.jpg"],
        "Bo": [tmp_path / "Bo" / "1.PNG", tmp_path / "Bo" / "2.jpeg"],
    }
    with pytest.raises(UserError, match=r"expected images NAME\.jpg or NAME/\*\.jpg .* --people"):
        find_images(tmp_path / "Cy")


def test_a_table_of_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "names.csv"
    path.write_text("name, person\nAnn Lee,1\n\n,0\nJosé,7\n", encoding="utf-8")
    names = read_names(path)
    assert names == {1: "Ann Lee", 7: "José"}
    people = [Person(number, None, (number,)) for number in range(3)]
    assert [one.name for one in name_by_number(people, names)] == [None, "Ann Lee", None]
    assert "--people names person 7, but there are 3 people" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the header person,name"),
        ("id,name\n0,Ann\n", "line 1: expected the header person,name"),
        ("person,name\nAnn,0\n", "line 2: expected the number of another person, found 'Ann'"),
        ("person,name\n0,Ann\n0,Bo\n", "line 3: expected the number of another person, found '0'"),
    ],
    ids=["empty", "header", "columns", "twice"],
)
def test_a_wrong_table(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "names.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_names(path)
