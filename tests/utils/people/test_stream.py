"""People are numbered shot by shot, and numbers that were given never change."""

import numpy as np

from tests.made_faces import directions, made_embeddings, made_track
from utils.people.stream import PeopleStream

THRESHOLD = 0.7


def add(stream: PeopleStream, first: int, *given: tuple[int, int]) -> list[int]:
    """Add a shot of tracks given as (person, start); they are numbered from `first` on."""
    people = directions(5)
    tracks = [made_track(first + i, start) for i, (_, start) in enumerate(given)]
    embeddings = [made_embeddings(first + i, people[who]) for i, (who, _) in enumerate(given)]
    return stream.add(tracks, embeddings)


def test_numbers_go_on_over_shots() -> None:
    stream = PeopleStream(THRESHOLD)
    assert add(stream, 0, (2, 0), (4, 10)) == [0, 1]
    assert add(stream, 2, (4, 100)) == [1]
    assert add(stream, 3, (1, 200), (2, 200), (4, 200)) == [2, 0, 1]
    assert add(stream, 6) == []
    assert add(stream, 6, (1, 300), (1, 400)) == [2, 2]  # one person twice in a shot
    assert add(stream, 8, (1, 500), (1, 500)) in ([2, 3], [3, 2])  # seen twice at once
    assert stream.merged == {}


def test_people_who_turn_out_to_be_one_are_reported() -> None:
    """Two halves of a face, each far from the other, and then the whole of it."""
    stream = PeopleStream(THRESHOLD)
    first, second = directions(2, seed=4)
    whole = (first + second) / np.linalg.norm(first + second)
    faces = [first, second, *[whole.astype(np.float32)] * 6]
    numbers = [
        stream.add([made_track(i, 100 * i)], [made_embeddings(i, face, noise=0.05)])[0]
        for i, face in enumerate(faces)
    ]
    assert numbers[:2] == [0, 1]
    assert stream.merged == {1: 0}
    assert numbers[-1] == 0


def test_blurred_faces_are_people_of_their_own() -> None:
    stream = PeopleStream(THRESHOLD)
    face = directions(1)[0]
    blurred = [made_embeddings(i, face, quality=0.005) for i in range(2)]
    assert [stream.add([made_track(i, 100 * i)], [blurred[i]]) for i in range(2)] == [[0], [1]]
