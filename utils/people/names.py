"""Give names to the people of a video, from images of faces or from a table."""

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError
from utils.people.grouping import mean_direction
from utils.structures import Person, ScoredTrack, TrackEmbeddings

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
NAME_SHARE = 0.75  # of the threshold of tracks: a wrong name is worse than none


@dataclass(frozen=True, eq=False)
class EnrolledPerson:
    """A name and what its face looks like."""

    name: str
    vectors: NDArray[np.float32]  # (N, C) of unit length, one an image


@dataclass(frozen=True)
class KnownNames:
    """What is known of the people of a video before it is analysed."""

    enrolled: Sequence[EnrolledPerson] = ()
    by_number: Mapping[int, str] = field(default_factory=dict)  # from a table


def find_images(folder: Path) -> dict[str, list[Path]]:
    """Return the images of each name in a folder, NAME.jpg or NAME/*.jpg, in order of names.

    Raises:
        UserError: There are none; says what was expected.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        images = [one for one in inside if one.suffix.lower() in IMAGE_SUFFIXES]
        name = path.name if path.is_dir() else path.stem
        if images:
            found.setdefault(name.strip(), []).extend(images)
    if not found:
        raise UserError(
            f"expected images NAME.jpg or NAME/*.jpg in the folder of --people, found none in "
            f"{folder}"
        )
    return found


def read_names(path: Path) -> dict[int, str]:
    """Return the names of a CSV file by the person's number.

    Raises:
        UserError: The file is no such table; says which line.
    """
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except UnicodeDecodeError:
        raise UserError(f"{path}: expected UTF-8 text, found other bytes") from None
    header = [cell.strip() for cell in rows[0]] if rows else []
    if "person" not in header or "name" not in header:
        raise UserError(f"{path}, line 1: expected the header person,name, found {header}")
    names: dict[int, str] = {}
    for line, row in enumerate(rows[1:], start=2):
        cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
        if not any(cells.values()):
            continue
        number, name = cells.get("person", ""), cells.get("name", "")
        if not number.isdecimal() or int(number) in names:
            raise UserError(
                f"{path}, line {line}: expected the number of another person, found {number!r}"
            )
        if name:
            names[int(number)] = name
    return names


def name_by_number(people: Sequence[Person], names: Mapping[int, str]) -> list[Person]:
    """Return the people with the names of a table; warn of numbers that nobody has."""
    for number in sorted(names.keys() - {one.id for one in people}):
        logger.warning("--people names person %d, but there are %d people", number, len(people))
    return [replace(one, name=names.get(one.id, one.name)) for one in people]


def name_by_faces(
    people: Sequence[Person],
    enrolled: Sequence[EnrolledPerson],
    tracks: Sequence[ScoredTrack],
    embeddings: Sequence[TrackEmbeddings],
    threshold: float,
) -> list[Person]:
    """Return the people with the names of the faces that they resemble most.

    A person gets a name only if the cosine with one of its images is at least
    1 - 0.75 `threshold`. People who get the same name and are never seen together become one;
    of those who are, the most similar one has the name.

    Args:
        people: In order of first appearance.
        enrolled: The names and their faces.
        tracks: All tracks of the video.
        embeddings: One for each track, in the same order.
        threshold: Mean cosine distance of tracks above which two groups are two people.
    """
    vectors = {
        one.track: mean_direction(one.embeddings, one.qualities) * float(one.qualities.max())
        for one in embeddings
    }
    lowest = 1 - NAME_SHARE * threshold
    pairs = []
    for person in people:
        total = np.sum([vectors[track] for track in person.tracks], axis=0)
        centre = total / max(float(np.linalg.norm(total)), 1e-6)
        for place, one in enumerate(enrolled):
            similarity = float((one.vectors @ centre).max())
            if similarity >= lowest:
                pairs.append((-similarity, person.id, place))
    spans = {track.id: (track.start, track.stop) for track in tracks}
    owners: dict[str, list[Person]] = {}
    named: set[int] = set()
    for negative, number, place in sorted(pairs):
        person, name = people[number], enrolled[place].name
        if number in named or any(_meet(person, one, spans) for one in owners.get(name, ())):
            continue
        named.add(number)
        owners.setdefault(name, []).append(replace(person, name=name, similarity=-negative))
    unnamed = [person for person in people if person.id not in named]
    return _renumbered([*unnamed, *map(_joined, owners.values())])


def _meet(first: Person, second: Person, spans: Mapping[int, tuple[int, int]]) -> bool:
    """Return whether two people are seen at the same time."""
    return any(
        spans[track][0] < spans[other][1] and spans[other][0] < spans[track][1]
        for track in first.tracks
        for other in second.tracks
    )


def _joined(people: Sequence[Person]) -> Person:
    """Return one person for several of one name, the most similar first."""
    tracks = tuple(sorted(track for one in people for track in one.tracks))
    number = min(one.id for one in people)
    return replace(people[0], id=number, tracks=tracks, uncertain=all(o.uncertain for o in people))


def _renumbered(people: Sequence[Person]) -> list[Person]:
    """Return the people numbered from 0 in their order."""
    ordered = sorted(people, key=lambda one: one.id)
    return [replace(one, id=number) for number, one in enumerate(ordered)]
