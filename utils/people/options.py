"""What a user may set about people."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated


@dataclass(frozen=True)
class PeopleOptions:
    """How people are named and shown."""

    people: Annotated[
        Path | None,
        "names of people: a folder of NAME.jpg or NAME/*.jpg, or a CSV with the header person,name",
    ] = None
    per_track: Annotated[
        bool, "name tracks instead of people in speech.*, timeline.png and the marked video"
    ] = False
    save_embeddings: Annotated[
        bool, "write the embeddings of faces into result.json; they are biometric data"
    ] = False
    no_offscreen: Annotated[bool, "do not look for speech of people who are not seen"] = False
