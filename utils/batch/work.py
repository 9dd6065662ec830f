"""What is done with each of many videos: a job, its outcome, and the functions that do it."""

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from utils.demo_options import DemoOptions
from utils.media.container import ReadOptions, VideoInfo, probe
from utils.media.video import VideoSpan
from utils.output.results import ModelRecord, Result
from utils.output.write_outputs import MARKED, ImageOutputs
from utils.processor import num_cores
from utils.report.outputs import Found, write_outputs
from utils.report.page import NAME as REPORT

logger = logging.getLogger(__name__)

TABLES = (
    *("result.json", "scores.csv", "speech.csv", "speech.rttm", "speech.vtt", "people.csv"),
    "timeline.png",
)
TREE = "pywork/scores.pckl"  # the last file of the published tree

# Settings on which no score depends: names of files, what is written, how many threads. Weights
# count by their digests instead of their names.
INDIFFERENT = frozenset(
    [
        *("videoName", "videoFolder", "outputFolder", "noVideo", "officialTree"),
        *("nDataLoaderThread", "threads", "encoder", "evalCol", "colSavePath"),
        *("pretrainModel", "encoderModel"),
        *("noReport", "proxy", "embedVideo", "edits", "video"),
    ]
)


class LoadedModels(Protocol):
    """What `utils.batch` reads of loaded models."""

    @property
    def network_record(self) -> ModelRecord:
        """The network, its weights and why it was chosen."""
        ...

    @property
    def detector_record(self) -> ModelRecord:
        """The same of the face detector."""
        ...

    @property
    def embedder_record(self) -> ModelRecord | None:
        """The same of the face embedder; None if no people are formed."""
        ...

    @property
    def device(self) -> str:
        """Where they run."""
        ...


Models = TypeVar("Models", bound=LoadedModels)


@dataclass(frozen=True)
class VideoJob:
    """A video that is to be analysed."""

    path: Path
    folder: Path  # where its results go
    timeout_s: float = 0.0  # 0 depends on its length
    attempt: int = 1
    finished: bool = False  # its result is whole, only further outputs are wanted
    missing: tuple[str, ...] = ()  # these


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    error: str = ""  # one line; empty if it is done
    seconds: float = 0.0
    video_s: float = 0.0  # how much of the video was analysed
    warnings: tuple[str, ...] = ()
    worker: str = ""  # host and process
    memory_mb: float = 0.0  # of the process, afterwards
    lost: bool = False  # the worker's machine went away, which is not the video's fault
    unexpected: bool = False  # no error of the user; the process may be damaged


@dataclass(frozen=True)
class LoadedWorker:
    """What a worker says once it has loaded the models."""

    identity: Mapping[str, Any]  # what results depend on beside the video
    lines: tuple[str, ...]  # which models, and why
    versions: Mapping[str, str]


class Work(Protocol):
    """What worker processes do; picklable."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Files that a finished video has, relative to its results folder."""
        ...

    def load(self) -> object:
        """Load the models, once in each process."""
        ...

    def describe(self, models: Any) -> tuple[Mapping[str, Any], tuple[str, ...]]:  # noqa: ANN401
        """Return what results depend on beside the video, and lines for the log."""
        ...

    def open(self, path: Path) -> tuple[Any, float]:
        """Return a video and how much of it there is to analyse, s, as far as the file says it."""
        ...

    def run(self, job: VideoJob, video: Any, models: Any) -> tuple[str, ...]:  # noqa: ANN401
        """Do a job on the video that was opened; return warnings."""
        ...


@dataclass(frozen=True)
class VideoWork(Generic[Models]):
    """Analyses videos with the functions of a command, which are pickled by name."""

    options: DemoOptions
    load_models: Callable[[DemoOptions], Models]
    make_outputs: Callable[[VideoInfo, Path, Models, DemoOptions], Result]
    given: Mapping[str, str] = field(default_factory=dict)  # digests of files that options name

    @property
    def outputs(self) -> tuple[str, ...]:
        """Files that a finished video has, relative to its results folder."""
        video = self.options.video
        more = (MARKED,) * (not video.no_video) + (TREE,) * video.writes_tree
        more += (REPORT,) * (not self.options.report.no_report)
        return (*TABLES, *more)

    def load(self) -> Models:
        """Load the models, once in each process."""
        return self.load_models(self.options)

    def describe(self, models: Models) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return what results depend on beside the video, and lines for the log."""
        settings = self.options.settings()
        relevant = {name: value for name, value in settings.items() if name not in INDIFFERENT}
        relevant["detectEvery"] = self.options.detector.every(models.device)
        records = {"network": models.network_record, "detector": models.detector_record}
        kinds: dict[str, Any] = {"embedder": None}
        if models.embedder_record is not None:
            records["embedder"] = models.embedder_record
        kinds |= {name: _what_counts(record) for name, record in records.items()}
        lines = tuple(f"{name}: {record.reason}" for name, record in records.items())
        return {**relevant, **kinds, **self.given}, lines

    def open(self, path: Path) -> tuple[VideoInfo, float]:
        """Return a video and how much of it there is to analyse, s, as far as the file says it."""
        video = probe(path)
        rest_s = max(0.0, video.duration_s - self.options.video.start)
        return video, min(self.options.video.duration or float("inf"), rest_s)

    def run(self, job: VideoJob, video: VideoInfo, models: Models) -> tuple[str, ...]:
        """Do a job on the video that was opened; return warnings."""
        if job.finished and not {"result.json", TREE} & set(job.missing):
            return self._complete(job, video)
        return tuple(self.make_outputs(video, job.folder, models, self.options).warnings)

    def _complete(self, job: VideoJob, video: VideoInfo) -> tuple[str, ...]:
        """Write the missing outputs of a finished result; no network is run."""
        given = self.options.video
        result = Result.read_json(job.folder / "result.json")
        threads = min(given.n_data_loader_thread, num_cores())
        read = ReadOptions(given.start, given.duration, threads, given.audio_track)
        logger.info(
            "%s: the result is whole; only %s is made", job.path.name, ", ".join(job.missing)
        )
        per_track = self.options.people.per_track
        outputs = ImageOutputs(MARKED in job.missing, per_track=per_track, encoder=given.encoder)
        write_outputs(
            Found(result, VideoSpan(video, read)), job.folder, outputs, self.options.report
        )
        return tuple(result.warnings)


def _what_counts(record: ModelRecord) -> dict[str, Any]:
    """Return what results depend on of a model; not why it was chosen."""
    encoder = None if record.encoder is None else _what_counts(record.encoder)
    return {"name": record.name, "sha256": record.sha256, "encoder": encoder}


def digests(options: DemoOptions) -> dict[str, str]:
    """Return the digests of the files that the options name and results depend on."""
    files = {"cuts": options.video.cuts, "tracks": options.video.tracks}
    files |= {"array": options.array.array, "arrayGeometry": options.array.array_geometry}
    files["people"] = options.people.people
    return {name: _digest(path) for name, path in files.items() if path and path.exists()}


def _digest(path: Path) -> str:
    """Return the digest of a file, or of the names and contents of all files in a folder."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    whole = hashlib.sha256()
    for file in sorted(one for one in path.rglob("*") if one.is_file()):
        name = os.fsencode(file.relative_to(path))
        whole.update(name + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()
