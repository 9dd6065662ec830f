"""Options of the demo command, in groups."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from utils.arrays.fusion import ArrayOptions, FusionOptions
from utils.arrays.sound import SoundChecks
from utils.errors import UserError
from utils.files import check_folder
from utils.flags import flag_name
from utils.model_options import DetectorOptions, EmbedderOptions, ModelOptions
from utils.people.options import PeopleOptions
from utils.processor import num_cores
from utils.report.options import ReportOptions
from utils.tracking.crops import CropOptions
from utils.tracking.greedy_tracker import TrackOptions
from utils.tracking.shots import ShotOptions

if TYPE_CHECKING:
    from utils.media.container import ReadOptions

OFFICIAL_TREE = "TALKNET_OFFICIAL_TREE"  # environment variable: 1 is --officialTree

ESSENTIAL = (  # fields whose flags `--help` shows
    "video_name",
    "video_folder",
    "output_folder",
    "start",
    "duration",
    "no_video",
    "edits",
    "model",
    "detector",
    "device",
    "audio_track",
    "serve",
)


@dataclass(frozen=True)
class VideoOptions:
    """Which videos to analyse, which part of them, and what to write."""

    video_name: Annotated[
        str, "file name, if no files are given; the extension may be left out"
    ] = "001"
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
    threads: Annotated[
        int | None,
        "cores to use: at most so many threads each for decoding, OpenCV, torch and encoding "
        "(default: all cores available to the process)",
    ] = None
    encoder: Annotated[
        Literal["libx264", "h264_nvenc", "h264_videotoolbox"],
        "encoder of the marked video; the others need a GPU of NVIDIA or Apple",
    ] = "libx264"
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

        if self.threads is not None and self.threads < 1:
            raise UserError(f"--threads must be 1 or more, got {self.threads}")
        if self.encoder != "libx264":
            from utils.output.encoders import check_encoder

            check_encoder(self.encoder)

    @property
    def writes_tree(self) -> bool:
        """Whether the flag or the environment asks for the published demo's folders."""
        return self.official_tree or os.environ.get(OFFICIAL_TREE) == "1"

    def read_options(self) -> "ReadOptions":
        """Return the options for reading a video."""
        from utils.media.container import ReadOptions

        threads = min(self.n_data_loader_thread, num_cores())
        return ReadOptions(self.start, self.duration, threads, self.audio_track)

    def results_of(self, path: Path) -> Path:
        """Return the folder that the results of a video go to."""
        return (self.output_folder or path.parent) / path.stem

    def check_apart(self, paths: Sequence[Path]) -> None:
        """Raise UserError if the results of two videos would go to one folder."""
        folders = Counter(self.results_of(path).absolute() for path in paths)
        twice = [str(folder) for folder, count in folders.items() if count > 1]
        if twice:
            raise UserError(
                f"the results of two videos would both go to {twice[0]}; rename one of them, or "
                "run the command twice with different --outputFolder"
            )

    def make_results_folder(self, path: Path) -> Path:
        """Make the folder of a video's results; fails before any work if it cannot be."""
        folder = self.results_of(path)
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(
                f"the results of {path} go to a folder {folder}, but a file has that name; "
                "pass --outputFolder"
            )
        check_folder(folder)
        return folder


@dataclass(frozen=True)
class DemoOptions:
    """All options of the demo command."""

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
    report: ReportOptions

    def settings(self) -> dict[str, Any]:
        """Return the values of all flags by flag name."""
        return {
            flag_name(name): value
            for group in fields(self)
            for name, value in asdict(getattr(self, group.name)).items()
        }
