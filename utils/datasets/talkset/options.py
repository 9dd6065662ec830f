"""Options of TalkSet."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from utils.errors import UserError

TALKSET_EACH = 500
TALKSET_KINDS = ("TAudio", "FAudio", "TFAudio", "TSilence", "FSilence")


@dataclass(frozen=True)
class BuildOptions:
    """Which clips a TalkSet has."""

    lists: Annotated[
        str, "with --build: published lists, separated by commas, of videos in its folders"
    ] = ""
    clips_each: Annotated[
        int | None,
        f"with --build: number of clips of each kind (default: {TALKSET_EACH}; 30000 with --lists)",
    ] = None
    clips: Annotated[
        str, "with --build: numbers of clips by kind, such as TAudio=800,FSilence=0"
    ] = ""
    val_share: Annotated[float, "with --build: fraction of people and clips for validation"] = 0.1
    people: Annotated[
        Path | None, "with --build: CSV table of the people in the videos: file,identity,kind"
    ] = None

    def __post_init__(self) -> None:
        if self.clips_each is not None and self.clips_each < 1:
            raise UserError(f"--clipsEach must be at least 1, got {self.clips_each}")
        if not 0 <= self.val_share < 1:
            raise UserError(f"--valShare must be in [0, 1), got {self.val_share}")
        for part in filter(None, self.clips.split(",")):
            kind, _, count = part.partition("=")
            if kind.strip() not in TALKSET_KINDS or not count.strip().isdecimal():
                raise UserError(
                    "--clips must be KIND=COUNT,KIND=COUNT with kinds "
                    f"{', '.join(TALKSET_KINDS)}, got {part!r}"
                )
        if self.lists and self.clips:
            raise UserError("--clips cannot be used with --lists, which define the clips")

    @property
    def counts(self) -> dict[str, int]:
        """Number of clips of each kind."""
        counts = dict.fromkeys(TALKSET_KINDS, self.clips_each or TALKSET_EACH)
        for part in filter(None, self.clips.split(",")):
            kind, _, count = part.partition("=")
            counts[kind.strip()] = int(count)
        return counts

    @property
    def list_files(self) -> tuple[Path, ...]:
        """The files of `lists`."""
        return tuple(Path(part.strip()) for part in self.lists.split(",") if part.strip())
