"""Options of the demo command, in groups."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from utils.arrays.fusion import ArrayOptions, FusionOptions
from utils.arrays.sound import SoundChecks
from utils.errors import UserError
from utils.flags import flag_name
from utils.model_options import DetectorOptions, ModelOptions
from utils.tracking.crops import CropOptions
from utils.tracking.greedy_tracker import TrackOptions
from utils.tracking.shots import ShotOptions

ESSENTIAL = (  # fields whose flags `--help` shows
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
    """Which videos to analyse, which part of them, and what to write."""

    video_name: Annotated[str, "file name without extension, if no files are given"] = "001"
    video_folder: Annotated[Path, "folder of --videoName"] = Path("demo")
    output_folder: Annotated[
        Path | None,
        "results are written to OUTPUTFOLDER/NAME/ (default: a folder NAME/ beside each video)",
    ] = None
    start: Annotated[float, "start of the analysed part, in seconds"] = 0.0
    duration: Annotated[float, "length of the analysed part, in seconds; 0: up to the end"] = 0.0
    audio_track: Annotated[
        str,
        "audio track to use, counted from 1; all: mix all; auto: the first with speech, mixed "
        "with other tracks that have speech in the same language",
    ] = "auto"
    cuts: Annotated[Path | None, "text file with cut times in seconds, one per line"] = None
    tracks: Annotated[Path | None, "CSV or JSON file with face boxes, instead of detection"] = None
    no_video: Annotated[bool, "do not write the marked video"] = False
    official_tree: Annotated[bool, "also write the folders and pickles of the original demo"] = (
        False
    )
    n_data_loader_thread: Annotated[int, "maximum number of decoding threads"] = 10
    eval_col: Annotated[bool, "evaluate on Columbia ASD, downloaded if missing"] = False
    col_save_path: Annotated[Path, "folder of the Columbia ASD data"] = Path("data/columbia")

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


@dataclass(frozen=True)
class DemoOptions:
    """All options of the demo command."""

    video: VideoOptions
    model: ModelOptions
    shots: ShotOptions
    detector: DetectorOptions
    tracks: TrackOptions
    crops: CropOptions
    array: ArrayOptions
    array_sound: SoundChecks
    fusion: FusionOptions

    def settings(self) -> dict[str, Any]:
        """Return the values of all flags by flag name."""
        return {
            flag_name(name): value
            for group in fields(self)
            for name, value in asdict(getattr(self, group.name)).items()
        }
