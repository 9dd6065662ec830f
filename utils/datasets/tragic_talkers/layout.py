"""The published folder of TragicTalkers: two rigs of 16 microphones and 11 cameras each."""

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
CONDITIONS = (  # source of positions and source of speech activity
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
    """The recording of a sequence by one camera."""

    sequence: str
    camera: int  # from 1; 12 to 22 belong to rig 2

    @classmethod
    def parse(cls, name: str) -> "CameraView":
        """Return the view of a name such as interactive4_t3-cam06.

        Raises:
            UserError: The name is invalid.
        """
        match = re.fullmatch(r"(.+)-cam(\d\d)", name)
        if not match or not 1 <= int(match[2]) <= CAMERAS_PER_RIG * len(RIGS):
            raise UserError(
                f"expected a view such as interactive4_t3-cam06, camera 01 to 22, found {name!r}"
            )
        return cls(match[1], int(match[2]))

    @property
    def name(self) -> str:
        """The published name."""
        return f"{self.sequence}-cam{self.camera:02d}"

    @property
    def rig(self) -> int:
        """Rig of the camera, 1 or 2."""
        return (self.camera - 1) // CAMERAS_PER_RIG + 1

    @property
    def rig_index(self) -> int:
        """Index of the camera in its rig, 0 to 10."""
        return (self.camera - 1) % CAMERAS_PER_RIG


class TragicTalkers:
    """Paths of the data set.

    Args:
        root: The published project folder, or its folder `data`.

    Raises:
        FileNotFoundError: The folder is neither.
    """

    def __init__(self, root: Path) -> None:
        self.root = root / "data" if (root / "data").is_dir() else root
        if not (self.root / "TragicTalkers").is_dir():
            raise FileNotFoundError(
                f"expected TragicTalkers/audio in {root} or its folder data, found neither; get "
                "the recordings from the authors and arrange them as in docs/array_audio.md"
            )

    def audio_folder(self, split: Split, sequence: str) -> Path:
        """Return the folder of a sequence's audio."""
        return self.root / "TragicTalkers" / "audio" / split / sequence

    def video_path(self, view: CameraView) -> Path:
        """Return the path of a test view's video."""
        folder = self.root / "TragicTalkers" / "videos" / "test" / view.sequence
        return folder / f"{view.name}.mp4"

    def truth_path(self, view: CameraView) -> Path:
        """Return the path of a view's ground truth."""
        return self.root / "GT" / view.sequence / f"{view.rig:02d}" / f"{view.name}_GT.csv"

    def labels_path(self, condition: str) -> Path:
        """Return the path of the labels of a supervision condition.

        Raises:
            UserError: The condition is unknown.
        """
        location, _, activity = condition.rpartition("_")
        if not location or activity not in ("GT", "VAD"):
            raise UserError(
                f"expected a supervision condition such as {', '.join(CONDITIONS)}, "
                f"the source of positions followed by GT or VAD; found {condition!r}"
            )
        return self.root / "csv" / f"development_{condition}.csv"

    def sequences(self, split: Split) -> list[str]:
        """Return the names of all sequences of a split that have audio, sorted."""
        folder = self.root / "TragicTalkers" / "audio" / split
        if not folder.is_dir():
            raise FileNotFoundError(
                f"expected a folder for each sequence in {folder}, found no such folder"
            )
        return sorted(path.name for path in folder.iterdir() if path.is_dir())

    def views_with_truth(self, sequences: Iterable[str]) -> list[CameraView]:
        """Return the views of sequences that have ground truth, in order."""
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

    def audio(self, split: Split, sequence: str, rig: int) -> ArraySound:
        """Open the audio of a sequence recorded by one rig.

        Raises:
            FileNotFoundError: Microphones are missing; the message names them.
            UserError: A microphone has several files, or the files do not match.
        """
        return open_microphones(self.audio_folder(split, sequence), RIGS[rig])


def open_microphones(folder: Path, numbers: Iterable[int]) -> ArraySound:
    """Open a mono WAV file per microphone; its name begins with the microphone's two digits."""
    if not folder.is_dir():
        raise FileNotFoundError(f"expected the audio of a sequence in {folder}, found no folder")
    digits = [f"{number:02d}" for number in numbers]
    found: dict[str, list[Path]] = {number: [] for number in digits}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == ".wav" and path.name[:2] in found:
            found[path.name[:2]].append(path)
    missing = [number for number, paths in found.items() if not paths]
    if missing:
        raise FileNotFoundError(
            f"{folder}: expected a WAV file for each of the {len(digits)} microphones {digits[0]} "
            f"to {digits[-1]}, found none for {', '.join(missing)}"
        )
    several = [paths for paths in found.values() if len(paths) > 1]
    if several:
        names = ", ".join(path.name for path in several[0])
        raise UserError(f"{folder}: expected one WAV file per microphone, found {names}")
    files = [open_wav(found[number][0]) for number in digits]
    return ArraySound(files, [f"microphone {number}" for number in digits])
