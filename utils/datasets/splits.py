"""Open a split of whatever data set, so that training and evaluation need not know which it is."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from utils.datasets.ava.dataset import AvaSplit
from utils.datasets.custom.prepare import CustomPrepareOptions, prepare
from utils.datasets.custom.tables import CustomOptions
from utils.datasets.entities import DataSet
from utils.datasets.storage.entity_store import EntityStore
from utils.errors import UserError
from utils.files import locked

logger = logging.getLogger(__name__)

SHOWN = 20  # problems of a data set that are logged one by one


DataName = Literal["ava", "talkset", "own", "custom"]


@dataclass(frozen=True)
class DataOptions:
    """Which data, and how batches are made of them."""

    data: Annotated[DataName, "kind of data set; custom is another spelling of own"] = "ava"
    data_path: Annotated[Path, "folder of the data set"] = Path("data/AVA")
    videos: Annotated[
        Path | None, "with --data own: folder of the videos (default: the folder of the tables)"
    ] = None
    eval_data_type: Annotated[Literal["train", "val", "test"], "split to evaluate"] = "val"
    n_data_loader_thread: Annotated[
        int, "number of reader processes; 0: read in the main process"
    ] = 4
    num_processes: Annotated[
        int, "number of processes that crop faces during preparation; 0: one per core"
    ] = 0
    max_clip: Annotated[
        int, "maximum clip length, in frames; longer entities are cut; 0: --batchSize"
    ] = 0
    original: Annotated[
        bool,
        "restore faults of the published loaders. Networks that read sequences: clips of a batch "
        "are cut to the shortest, the rest is lost. Clip networks: random crops are smaller and "
        "at the upper left. ava_asd: the first row of every track but the first is lost, images "
        "are 0.1 to 0.2 s late, audio keeps each file's own rate",
    ] = False
    no_augment: Annotated[bool, "no augmentation of images and audio"] = False
    desync: Annotated[
        float,
        "fraction of speaking clips whose audio is replaced and that then count as not speaking; "
        "half by their own audio shifted by 0.3 to 2 s, half by another voice",
    ] = 0.0

    def __post_init__(self) -> None:
        for flag, count in (
            ("nDataLoaderThread", self.n_data_loader_thread),
            ("numProcesses", self.num_processes),
            ("maxClip", self.max_clip),
        ):
            if count < 0:
                raise UserError(f"--{flag} must be 0 or more, got {count}")
        if not 0 <= self.desync <= 1:
            raise UserError(f"--desync must be in [0, 1], got {self.desync}")
        if self.data == "custom":
            object.__setattr__(self, "data", "own")


@dataclass(frozen=True, eq=False)
class Split:
    """A split, and the official table of its labels if there is one."""

    name: str
    dataset: DataSet
    table: Path | None = None

    @property
    def num_frames(self) -> int:
        """Frames of all entities."""
        return sum(entity.num_frames for entity in self.dataset.entities)


def prepare_split(
    data: DataOptions,
    own: CustomOptions,
    name: str,
    progress: Callable[[float, float], None] | None = None,
) -> None:
    """Cut own data into a store beside their tables, as far as that has not been done.

    The other kinds are prepared once, by --download and --build. Of several processes on one data
    set, the first works and the others wait for it.

    Args:
        data: Where it is, and how many processes cut it.
        own: How rows become tracks.
        name: The split.
        progress: Told how many videos are done of those that have to be.

    Raises:
        UserError: Nothing came of it; says what to do.
    """
    if data.data != "own":
        return
    path, how = data.data_path, CustomPrepareOptions(own, num_processes=data.num_processes)
    store = custom_store(path, name)
    with locked(store, f"preparing {name}"):
        report = prepare(path, name, store, data.videos, how, progress)
    for problem in report.problems[:SHOWN]:
        logger.warning("%s", problem)
    if len(report.problems) > SHOWN:
        logger.warning("... %d problems in all; see --checkData", len(report.problems))
    if report.removed:
        why = "the tables do not have them any more"
        logger.warning("%s: %d stored faces were removed: %s", path, report.removed, why)
    if not report.videos + report.skipped:
        raise UserError(
            f"{path}: expected rows of the split {name!r}, in a table {name}.csv or with {name} in "
            "a column split, found none; see docs/data.md"
        )
    if not report.entities:
        raise UserError(
            f"{path}: expected faces of the split {name!r}, found none in {report.videos} videos, "
            f"and {report.skipped} more that are missing or broken; --checkData says why"
        )


def open_split(data: DataName, path: Path, name: str) -> Split:
    """Open a split of a data set that has been prepared.

    Raises:
        FileNotFoundError: It is not there; says what to do.
    """
    if data == "ava":
        ava = AvaSplit(path, name)
        return Split(name, ava, ava.truth if ava.truth.is_file() else None)
    folder = custom_store(path, name) if data in ("own", "custom") else path / name
    if data == "talkset" and not folder.is_dir():
        raise FileNotFoundError(
            f"expected a TalkSet with a split {name!r} in {path}, found no folder {folder}; build "
            "one with --build FOLDER_OF_VIDEOS"
        )
    return Split(name, EntityStore(folder))


def custom_store(path: Path, name: str) -> Path:
    """Return where the store of a split of own data lies."""
    return (path if path.is_dir() else path.parent) / "store" / name


def describe_data(data: DataOptions, num_frames: int) -> dict[str, str | int | float | bool]:
    """Return what must stay the same of the data when training is resumed."""
    return {
        "--data": data.data,
        "number of frames": num_frames,
        "--maxClip": data.max_clip,
        "--original": data.original,
        "--noAugment": data.no_augment,
        "--desync": data.desync,
    }
