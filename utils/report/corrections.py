"""Apply edits to a result. utils/report/page/edits.js does the same in the page."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError
from utils.output.results import Result, find_segments
from utils.output.speech_rule import mean_scores
from utils.report.edits import (
    KIND_NAMES,
    Draw,
    Edit,
    Edits,
    Merge,
    Move,
    Rename,
    Speaker,
    SplitOff,
    Trim,
)
from utils.structures import FPS, Person, ScoredTrack, Segment


def apply_edits(result: Result, edits: Edits) -> Result:
    """Return the result as corrected; with edits, each track is a person if none were formed."""
    if edits == Edits(result=edits.result):
        return result
    cast = _Cast(result, edits.threshold)
    for place, edit in enumerate(edits.edits):
        try:
            cast.apply(edit)
        except UserError as error:
            name = KIND_NAMES[type(edit)]
            raise UserError(f"edits[{place}] ({name}): {error}") from None
    return cast.result()


@dataclass(frozen=True)
class _Speech:
    """Speech of somebody in the frames [start, stop)."""

    speaker: Speaker
    start: float
    stop: float
    track: int | None  # whose face shows it, if any
    score: float | None = None  # only of off-screen speech as it was found


class _Cast:
    """The people of a result and their speech while edits are applied."""

    def __init__(self, result: Result, threshold: float) -> None:
        self.source = result
        self.tracks = {track.id: track for track in result.tracks}
        people = result.people or [Person(number, None, (number,)) for number in self.tracks]
        self.people = {person.id: person for person in people}
        self.owner = {track: person.id for person in people for track in person.tracks}
        self.parts: list[_Speech] = []
        for track in result.tracks:
            for found in find_segments(track, threshold):
                frames = (round(found.start_s * FPS), round(found.stop_s * FPS))
                self.parts.append(_Speech(self.owner[track.id], *frames, track.id))
        for found in result.offscreen:
            start, stop = found.start_s * FPS, found.stop_s * FPS
            self.parts.append(_Speech("offscreen", start, stop, None, found.score))

    def apply(self, edit: Edit) -> None:
        """Apply one edit; UserError says what it names that is not there."""
        match edit:
            case Rename(person, name):
                self.people[person] = replace(self._person(person), name=name, similarity=None)
            case Merge(person, into):
                self._merge(person, into)
            case SplitOff(track, person):
                self._split(track, person)
            case Move(person, start, stop, to):
                self._erase(person, start, stop)
                if to != "nobody":
                    self._draw(to, start, stop)
            case Draw(person, start, stop):
                self._draw(person, start, stop)
            case Trim(person, start, stop, new_start, new_stop):
                self._erase(person, start, stop)
                self._draw(person, new_start, new_stop)

    def _person(self, number: Speaker) -> Person:
        if not isinstance(number, int) or number not in self.people:
            raise UserError(f"there is no person {number} at this point")
        return self.people[number]

    def _merge(self, number: int, into: int) -> None:
        person, other = self._person(number), self._person(into)
        if number == into:
            raise UserError(f"expected two people, found {number} twice")
        tracks = tuple(sorted((*other.tracks, *person.tracks)))
        named, thumbnail = other if other.name else person, other.thumbnail
        self.people[into] = replace(
            other,
            name=named.name,
            similarity=named.similarity,
            tracks=tracks,
            thumbnail=person.thumbnail if thumbnail is None else thumbnail,
        )
        del self.people[number]
        self.parts = [
            replace(part, speaker=into) if part.speaker == number else part for part in self.parts
        ]
        self._join(into)

    def _split(self, track: int, number: int) -> None:
        owner = next((one for one in self.people.values() if track in one.tracks), None)
        if owner is None or len(owner.tracks) < 2 or number in self.people:
            raise UserError(
                f"expected a track of a person with several, and an unused id, found track {track} "
                f"and id {number}"
            )
        rest = tuple(one for one in owner.tracks if one != track)
        # The owner's thumbnail may show the face that is split off.
        self.people[owner.id] = replace(owner, tracks=rest, thumbnail=self._face_of(rest))
        self.people[number] = Person(
            number,
            tracks=(track,),
            uncertain=owner.uncertain,
            thumbnail=self._face_of((track,)),
        )
        self.parts = [
            replace(part, speaker=number)
            if part.speaker == owner.id and part.track == track
            else part
            for part in self.parts
        ]

    def _face_of(self, tracks: Sequence[int]) -> NDArray[np.uint8]:
        """Return the face of the longest of some tracks, (H, W, 3), grey."""
        longest = max((self.tracks[number] for number in tracks), key=lambda one: len(one.scores))
        return np.repeat(longest.thumbnail[..., None], 3, axis=2)

    def _erase(self, speaker: Speaker, start: float, stop: float) -> None:
        """Take away what somebody says in the frames [start, stop)."""
        if speaker != "offscreen":
            self._person(speaker)
        kept: list[_Speech] = []
        for part in self.parts:
            if part.speaker != speaker or part.stop <= start or part.start >= stop:
                kept.append(part)
                continue
            if part.start < start:
                kept.append(replace(part, stop=start, score=None))
            if part.stop > stop:
                kept.append(replace(part, start=stop, score=None))
        self.parts = kept

    def _draw(self, speaker: Speaker, start: float, stop: float) -> None:
        """Add speech of somebody; whatever of theirs it overlaps becomes one with it."""
        if speaker != "offscreen":
            self._person(speaker)
        first = math.floor(start + 0.5)
        last = max(first + 1, math.floor(stop + 0.5))
        self.parts.append(_Speech(speaker, first, last, self._best_track(speaker, first, last)))
        self._join(speaker)

    def _join(self, speaker: Speaker) -> None:
        """Make one of the overlapping parts of somebody."""
        own = [part for part in self.parts if part.speaker == speaker]
        own.sort(key=lambda part: (part.start, part.stop, _order(part.track)))
        joined: list[_Speech] = []
        for part in own:
            if joined and part.start < joined[-1].stop:
                start, stop = joined[-1].start, max(joined[-1].stop, part.stop)
                joined[-1] = _Speech(speaker, start, stop, self._best_track(speaker, start, stop))
            else:
                joined.append(part)
        self.parts = [part for part in self.parts if part.speaker != speaker] + joined

    def _best_track(self, speaker: Speaker, start: float, stop: float) -> int | None:
        """Return the person's track that covers most of a range, the lowest id of equals."""
        best, longest = None, 0.0
        for number in sorted(self.people[speaker].tracks) if isinstance(speaker, int) else ():
            track = self.tracks[number]
            covered = min(stop, track.stop) - max(start, track.start)
            if covered > longest:
                best, longest = number, covered
        return best

    def result(self) -> Result:
        """Return the corrected result."""
        segments = []
        for part, score in zip(self.parts, self._scores(), strict=True):
            person = None if part.speaker == "offscreen" else part.speaker
            kind: Literal["speech", "offscreen"] = "speech" if person is not None else "offscreen"
            times = (part.start / FPS, part.stop / FPS)
            segments.append(Segment(part.track, *times, score, person, kind))
        segments.sort(key=lambda one: (one.start_s, _order(one.track), _order(one.person)))
        return replace(
            self.source,
            tracks=[self._owned(track) for track in self.source.tracks],
            people=[self._spoken(person, segments) for person in self.people.values()],
            corrected=segments,
        )

    def _scores(self) -> list[float | None]:
        """Return the score of each part: the mean over its track's frames, None without any."""
        scores = [part.score for part in self.parts]
        ranges: dict[int, dict[int, tuple[int, int]]] = {}  # by track, by place in the list
        for place, part in enumerate(self.parts):
            if part.track is not None:
                track = self.tracks[part.track]
                start = max(0, int(part.start) - track.start)
                stop = min(len(track.scores), int(part.stop) - track.start)
                if stop > start:
                    ranges.setdefault(track.id, {})[place] = (start, stop)
        for number, found in ranges.items():
            means = mean_scores(self.tracks[number].scores, list(found.values()))
            for place, mean in zip(found, means, strict=True):
                scores[place] = mean
        return scores

    def _owned(self, track: ScoredTrack) -> ScoredTrack:
        owners = (person.id for person in self.people.values() if track.id in person.tracks)
        return replace(track, person=next(owners, None))

    @staticmethod
    def _spoken(person: Person, segments: Iterable[Segment]) -> Person:
        spoken = (one.stop_s - one.start_s for one in segments if one.person == person.id)
        return replace(person, speaking_s=round(sum(spoken), 4))


def _order(number: int | None) -> float:
    """Return the place of an id in an order in which missing ones come last."""
    return math.inf if number is None else number
