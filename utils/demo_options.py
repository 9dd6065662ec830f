"""Everything that the demo's command line says, in groups."""

import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from utils.arrays.fusion import ArrayOptions, FusionOptions
from utils.arrays.sound import SoundChecks
from utils.errors import UserError
from utils.flags import flag_name
from utils.model_options import DetectorOptions, EmbedderOptions, ModelOptions
from utils.people.options import PeopleOptions
from utils.tracking.crops import CropOptions
from utils.tracking.greedy_tracker import TrackOptions
from utils.tracking.shots import ShotOptions

OFFICIAL_TREE = "TALKNET_OFFICIAL_TREE"  # environment variable: 1 is --officialTree

ESSENTIAL = (  # fields whose flags a newcomer needs
    "video_name",
    "video_folder",
    "output_folder",
    "start",
    "duration",
    "no_video",
    "model",
    "detector",
    "device",
    "audio_track",
)


@dataclass(frozen=True)
class VideoOptions:
    """Which videos are looked at, which part of them, and what is written."""

    video_name: Annotated[
        str, "file name, if no files are given; the extension may be left out"
    ] = "001"
    video_folder: Annotated[Path, "folder that file lies in"] = Path("demo")
    output_folder: Annotated[
        Path | None, "results go to OUTPUTFOLDER/NAME/; else to NAME/ beside each video"
    ] = None
    start: Annotated[float, "where to begin, s"] = 0.0
    duration: Annotated[float, "how much to look at, s; 0 is all to the end"] = 0.0
    audio_track: Annotated[
        str,
        "audio track that is listened to, from 1; all: mixed; auto: the first with speech, mixed "
        "with others that have speech of the same language",
    ] = "auto"
    cuts: Annotated[Path | None, "text file of the cuts' times, s, one a line"] = None
    tracks: Annotated[Path | None, "own face boxes, CSV or JSON, instead of detection"] = None
    no_video: Annotated[bool, "write tables and the timeline only"] = False
    official_tree: Annotated[bool, "write the published demo's folders and pickles too"] = False
    n_data_loader_thread: Annotated[int, "threads that decode, at most"] = 10
    eval_col: Annotated[bool, "evaluate on Columbia ASD, which is downloaded if need be"] = False
    col_save_path: Annotated[Path, "folder of the Columbia data"] = Path("data/columbia")

    def __post_init__(self) -> None:
        for name in ("start", "duration"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"--{name} must be 0 or more seconds, got {getattr(self, name)}")
        if self.audio_track not in ("auto", "all") and not self.audio_track.isdecimal():
            raise UserError(
                f"--audioTrack must be auto, all or a number from 1, got {self.audio_track!r}"
            )
        if self.n_data_loader_thread < 1:
            raise UserError(
                f"--nDataLoaderThread must be 1 or more, got {self.n_data_loader_thread}"
            )

    @property
    def writes_tree(self) -> bool:
        """Whether the flag or the environment asks for the published demo's folders."""
        return self.official_tree or os.environ.get(OFFICIAL_TREE) == "1"


@dataclass(frozen=True)
class DemoOptions:
    """Everything that the command line says."""

    video: VideoOptions
    model: ModelOptions
    shots: ShotOptions
    detector: DetectorOptions
    embedder: EmbedderOptions
    people: PeopleOptions
    tracks: TrackOptions
    crops: CropOptions
    array: ArrayOptions
    array_sound: SoundChecks
    fusion: FusionOptions

    def settings(self) -> dict[str, Any]:
        """Return all flags by their names."""
        return {
            flag_name(name): value
            for group in fields(self)
            for name, value in asdict(getattr(self, group.name)).items()
        }
