"""The TragicTalkers folder as published: two rigs of 16 microphones and 11 cameras each."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from utils.arrays.sound import ArraySound
from utils.errors import UserError
from utils.media.wav import open_wav

RIGS = {1: tuple(range(1, 17)), 2: tuple(range(23, 39))}  # microphones of each, in order
CAMERAS_PER_RIG = 11
CONDITIONS = (  # where positions come from, and speech activity
    "GT_GT",
    "GT_VAD",
    "ASC_GT",
    "ASC_VAD",
    "ASC(s)_GT",
    "ASC(s)_VAD",
    "TalkNet_GT",
    "TalkNet_VAD",
)
Split = Literal["development", "test"]


@dataclass(frozen=True, order=True)
class CameraView:
    """What one camera saw of a sequence."""

    sequence: str
    camera: int  # from 1; 12 to 22 stand at rig 2

    @classmethod
    def parse(cls, name: str) -> "CameraView":
        """Return the view of that name, such as interactive4_t3-cam06.

        Raises:
            UserError: It is no such name.
        """
        found = re.fullmatch(r"(.+)-cam(\d\d)", name)
        if not found or not 1 <= int(found[2]) <= CAMERAS_PER_RIG * len(RIGS):
            raise UserError(
                f"expected a view such as interactive4_t3-cam06, camera 01 to 22, found {name!r}"
            )
        return cls(found[1], int(found[2]))

    @property
    def name(self) -> str:
        """The published name."""
        return f"{self.sequence}-cam{self.camera:02d}"

    @property
    def rig(self) -> int:
        """At which rig the camera stands, 1 or 2."""
        return (self.camera - 1) // CAMERAS_PER_RIG + 1

    @property
    def place(self) -> int:
        """Which of its rig's cameras it is, 0 to 10."""
        return (self.camera - 1) % CAMERAS_PER_RIG


class TragicTalkers:
    """Where everything of the data set lies.

    Args:
        root: The published project folder, or its folder `data`.

    Raises:
        FileNotFoundError: It is neither.
    """

    def __init__(self, root: Path) -> None:
        self.root = root / "data" if (root / "data").is_dir() else root
        if not (self.root / "TragicTalkers").is_dir():
            raise FileNotFoundError(
                f"expected TragicTalkers/audio in {root} or its folder data, found neither; the "
                "authors give the recordings out; lay them out as docs/array_audio.md says"
            )

    def audio_folder(self, split: Split, sequence: str) -> Path:
        """Return where a sequence's sound lies."""
        return self.root / "TragicTalkers" / "audio" / split / sequence

    def video_path(self, view: CameraView) -> Path:
        """Return where a test view's video lies."""
        folder = self.root / "TragicTalkers" / "videos" / "test" / view.sequence
        return folder / f"{view.name}.mp4"

    def truth_path(self, view: CameraView) -> Path:
        """Return where a view's ground truth lies."""
        return self.root / "GT" / view.sequence / f"{view.rig:02d}" / f"{view.name}_GT.csv"

    def labels_path(self, condition: str) -> Path:
        """Return where the labels of a supervision condition lie.

        Raises:
            UserError: There is no such condition.
        """
        location, _, activity = condition.rpartition("_")
        if not location or activity not in ("GT", "VAD"):
            raise UserError(
                f"expected a supervision condition such as {', '.join(CONDITIONS)}, "
                f"where positions come from and then GT or VAD; found {condition!r}"
            )
        return self.root / "csv" / f"development_{condition}.csv"

    def sequences(self, split: Split) -> list[str]:
        """Return the names of all sequences of a split that have sound, sorted."""
        folder = self.root / "TragicTalkers" / "audio" / split
        if not folder.is_dir():
            raise FileNotFoundError(
                f"expected a folder for each sequence in {folder}, found no such folder"
            )
        return sorted(path.name for path in folder.iterdir() if path.is_dir())

    def views_with_truth(self, sequences: Iterable[str]) -> list[CameraView]:
        """Return the views of sequences whose ground truth is there, in order."""
        views = [
            CameraView(sequence, camera)
            for sequence in sequences
            for camera in range(1, CAMERAS_PER_RIG * len(RIGS) + 1)
        ]
        found = [view for view in views if self.truth_path(view).is_file()]
        if not found:
            raise FileNotFoundError(
                f"expected ground truth such as {self.truth_path(views[0])}, found none"
                if views
                else "expected sequences, got none"
            )
        return found

    def sound(self, split: Split, sequence: str, rig: int) -> ArraySound:
        """Open the sound of a sequence as one rig heard it.

        Raises:
            FileNotFoundError: Microphones are missing; names them.
            UserError: A microphone has several files, or they do not fit each other.
        """
        return open_microphones(self.audio_folder(split, sequence), RIGS[rig])


def open_microphones(folder: Path, numbers: Iterable[int]) -> ArraySound:
    """Open one mono WAV file for each microphone, whose two-digit number its name begins with."""
    if not folder.is_dir():
        raise FileNotFoundError(f"expected the sound of a sequence in {folder}, found no folder")
    wanted = [f"{number:02d}" for number in numbers]
    found: dict[str, list[Path]] = {number: [] for number in wanted}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == ".wav" and path.name[:2] in found:
            found[path.name[:2]].append(path)
    missing = [number for number, paths in found.items() if not paths]
    if missing:
        raise FileNotFoundError(
            f"{folder}: expected a WAV file for each of the {len(wanted)} microphones {wanted[0]} "
            f"to {wanted[-1]}, found none for {', '.join(missing)}"
        )
    several = [paths for paths in found.values() if len(paths) > 1]
    if several:
        names = ", ".join(path.name for path in several[0])
        raise UserError(f"{folder}: expected one WAV file a microphone, found {names}")
    files = [open_wav(found[number][0]) for number in wanted]
    return ArraySound(files, [f"microphone {number}" for number in wanted])
