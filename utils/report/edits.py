"""Corrections of a result by hand: an ordered list of edits, kept apart from the result.

utils/report/page/edits.js applies the same edits in the page; both must agree.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

from utils.errors import UserError
from utils.files import replacing
from utils.output.results import Result
from utils.output.speech_rule import stored_scores

VERSION = 1  # of the format
MAX_NAME = 100  # characters

Speaker: TypeAlias = "int | Literal['offscreen']"  # Person.id, or whoever is not visible


@dataclass(frozen=True)
class Rename:
    """Give a person a name, everywhere; None takes it away."""

    person: int
    name: str | None


@dataclass(frozen=True)
class Merge:
    """Two people are one: give the tracks and the speech of `person` to `into`."""

    person: int
    into: int


@dataclass(frozen=True)
class SplitOff:
    """A track is somebody else: make a new person of it, with the id `person`."""

    track: int
    person: int


@dataclass(frozen=True)
class Move:
    """Speech in the frames [start, stop) is that of `to`."""

    person: Speaker
    start: float
    stop: float
    to: Speaker | Literal["nobody"]


@dataclass(frozen=True)
class Draw:
    """Somebody speaks in the frames [start, stop)."""

    person: Speaker
    start: float
    stop: float


@dataclass(frozen=True)
class Trim:
    """Speech in the frames [start, stop) is at [new_start, new_stop) instead."""

    person: Speaker
    start: float
    stop: float
    new_start: float
    new_stop: float


Edit: TypeAlias = Rename | Merge | SplitOff | Move | Draw | Trim
KINDS: Mapping[str, type[Edit]] = {
    "rename": Rename,
    "merge": Merge,
    "split": SplitOff,
    "move": Move,
    "draw": Draw,
    "trim": Trim,
}
KIND_NAMES = {kind: name for name, kind in KINDS.items()}


@dataclass(frozen=True)
class Edits:
    """What edits.json holds."""

    edits: tuple[Edit, ...] = ()
    threshold: float = 0.0  # score from which a face speaks
    result: str | None = None  # `fingerprint` of the result they belong to

    @staticmethod
    def read_json(path: Path) -> "Edits":
        """Read what the page or `write_json` wrote."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise UserError(f"expected JSON in {path}, found: {error}; save it again") from None
        version = content.get("version") if isinstance(content, dict) else None
        if version != VERSION:
            raise UserError(
                f"expected edits of version {VERSION} in {path}, found version {version}; "
                "save them again from the report"
            )
        threshold, edits = content.get("threshold", 0.0), content.get("edits", [])
        if not _is_number(threshold) or not isinstance(edits, list):
            raise UserError(f"{path}: expected a number as threshold and a list of edits")
        read = [_parse_edit(part, f"{path}: edits[{place}]") for place, part in enumerate(edits)]
        return Edits(tuple(read), float(threshold), content.get("result"))

    def write_json(self, path: Path) -> None:
        """Write the file that docs/report.md describes."""
        text = json.dumps(self.as_json(), ensure_ascii=True, indent=1)
        with replacing(path) as temporary:
            temporary.write_text(text + "\n", encoding="ascii")

    def as_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        return {
            "version": VERSION,
            "result": self.result,
            "threshold": self.threshold,
            "edits": [{"edit": KIND_NAMES[type(one)], **vars(one)} for one in self.edits],
        }

    def check(self, result: Result, path: Path) -> None:
        """Raise if the edits were made on another result."""
        if self.result is not None and self.result != fingerprint(result):
            raise UserError(
                f"{path} corrects another result of this or another video: tracks or scores "
                "differ; open this result's report.html and save the edits from there"
            )


def fingerprint(result: Result) -> str:
    """Return 16 digits that depend on what edits refer to: tracks and their scores."""
    digest = hashlib.sha256()
    for track in result.tracks:
        digest.update(f"{track.id} {track.start} {track.person} ".encode("ascii"))
        digest.update(stored_scores(track.scores).astype("<i8").tobytes())
    return digest.hexdigest()[:16]


def clean_name(name: str | None) -> str | None:
    """Return a name on one line and of bounded length, or None if nothing is left."""
    return " ".join((name or "").split())[:MAX_NAME].strip() or None


def _parse_edit(part: object, place: str) -> Edit:
    """Return an edit from what edits.json says of it; unknown keys are ignored."""
    name = part.get("edit") if isinstance(part, dict) else None
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None or not isinstance(part, dict):
        expected = ", ".join(KINDS)
        raise UserError(f'{place}: expected "edit" to be one of {expected}, found {name!r}')
    values: dict[str, Any] = {}
    for one in fields(kind):
        value = part.get(one.name)
        if not _fits(one.name, value):
            raise UserError(f"{place} ({name}): found {value!r} as {one.name}")
        values[one.name] = clean_name(value) if one.name == "name" else value
    for prefix in ("", "new_"):
        if not 0 <= values.get(f"{prefix}start", 0) < values.get(f"{prefix}stop", 1):
            raise UserError(f"{place} ({name}): expected {prefix}start from 0 below {prefix}stop")
    return kind(**values)


def _fits(name: str, value: object) -> bool:
    """Tell whether a value has the type of a field of an edit."""
    is_id = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if name == "name":
        return value is None or isinstance(value, str)
    if name in ("into", "track"):
        return is_id
    if name == "person":
        return is_id or value == "offscreen"
    if name == "to":
        return is_id or value in ("offscreen", "nobody")
    return _is_number(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
