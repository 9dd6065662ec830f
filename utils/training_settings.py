"""What a user may set of training and evaluation, whatever the network and the data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

DataName = Literal["ava", "talkset", "own"]


@dataclass(frozen=True)
class NetworkOptions:
    """Which network, from which weights, and where it runs."""

    model: Annotated[Literal["talknet", "lr_asd", "light_asd"], "network"] = "talknet"
    pretrain_model: Annotated[
        Path | None,
        "weights to start from or to evaluate: a file, or a name in pretrain/weights.toml",
    ] = None
    device: Annotated[Literal["auto", "cuda", "mps", "cpu"], "where the network runs"] = "auto"
    windows: Annotated[
        str, "evaluate in windows of so many seconds, averaged: 1,2,3,4,5,6; else entities whole"
    ] = ""

    def __post_init__(self) -> None:
        if not all(part.isdecimal() and int(part) > 0 for part in self.windows.split(",") if part):
            raise ValueError(
                f"--windows must be whole seconds above 0 with commas between, got {self.windows!r}"
            )

    @property
    def window_lengths(self) -> tuple[int, ...] | None:
        """Window lengths in s; None reads entities whole."""
        return tuple(int(part) for part in self.windows.split(",") if part) or None


@dataclass(frozen=True)
class DataOptions:
    """Which data, and how batches are made of them."""

    data: Annotated[DataName, "kind of data set"] = "ava"
    data_path: Annotated[Path, "folder of the data set"] = Path("/data08/AVA")
    eval_data_type: Annotated[Literal["train", "val", "test"], "split that is evaluated"] = "val"
    n_data_loader_thread: Annotated[int, "processes that read data; 0 reads in the main one"] = 4
    max_clip: Annotated[
        int, "longer entities are cut to clips of so many frames; 0 is batchSize"
    ] = 0
    published_batches: Annotated[
        bool, "cut all clips of a batch to the shortest and lose the rest, as published"
    ] = False
    no_augment: Annotated[bool, "train on pictures and sound as they are"] = False
    desync: Annotated[
        float,
        "share of speaking clips that get another sound and count as not speaking: half of them "
        "their own, moved by 0.3 to 2 s, half another voice",
    ] = 0.0

    def __post_init__(self) -> None:
        for flag, count in (
            ("nDataLoaderThread", self.n_data_loader_thread),
            ("maxClip", self.max_clip),
        ):
            if count < 0:
                raise ValueError(f"--{flag} must be 0 or more, got {count}")
        if not 0 <= self.desync <= 1:
            raise ValueError(f"--desync must be in [0, 1], got {self.desync}")


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained; what stays unset is as its authors do it."""

    lr: Annotated[float | None, "learning rate of the first epoch; else the network's"] = None
    lr_decay: Annotated[float | None, "the rate times this after each epoch; else 0.95"] = None
    max_epoch: Annotated[int | None, "epochs in all; else the network's"] = None
    test_interval: Annotated[int, "evaluate after every so many epochs"] = 1
    batch_size: Annotated[int | None, "frames that make a batch; else the network's"] = None
    frames_at_once: Annotated[
        int, "split batches to pass at most so many frames at once, to fit memory; 0 is no split"
    ] = 0
    freeze: Annotated[
        str, "weights to leave as they are, patterns with commas between: visual_frontend.*"
    ] = ""
    contrast: Annotated[float, "weight of the contrastive loss TalkNCE, see --talkNCE"] = 0.0
    seed: Annotated[int, "of every random choice; the same seed trains the same network"] = 0
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], "bf16 is mixed precision; auto is bf16 on a GPU"
    ] = "auto"

    def __post_init__(self) -> None:
        for flag, number in (("lr", self.lr), ("lrDecay", self.lr_decay)):
            if number is not None and not 0 < number < float("inf"):
                raise ValueError(f"--{flag} must be above 0, got {number}")
        for flag, count in (
            ("maxEpoch", self.max_epoch),
            ("testInterval", self.test_interval),
            ("batchSize", self.batch_size),
        ):
            if count is not None and count < 1:
                raise ValueError(f"--{flag} must be at least 1, got {count}")
        for flag, amount in (
            ("framesAtOnce", self.frames_at_once),
            ("contrast", self.contrast),
            ("seed", self.seed),
        ):
            if not 0 <= amount < float("inf"):
                raise ValueError(f"--{flag} must be 0 or more, got {amount}")

    @property
    def frozen_patterns(self) -> tuple[str, ...]:
        """The patterns of `freeze`, one by one."""
        return tuple(part.strip() for part in self.freeze.split(",") if part.strip())


@dataclass(frozen=True)
class RunOptions:
    """Where a run keeps what it makes."""

    save_path: Annotated[Path, "folder of checkpoints, logs and predictions"] = Path("exps/exp1")
    keep_all: Annotated[bool, "keep the weights of every evaluated epoch, not best and last"] = (
        False
    )
    save_interval: Annotated[
        int, "also keep a checkpoint after every so many batches of an epoch"
    ] = 500

    def __post_init__(self) -> None:
        if self.save_interval < 1:
            raise ValueError(f"--saveInterval must be at least 1, got {self.save_interval}")


@dataclass(frozen=True)
class BuildOptions:
    """What to do instead of training."""

    evaluation: Annotated[bool, "evaluate only, by default the published AVA weights"] = False
    download: Annotated[bool, "fetch and prepare AVA-ActiveSpeaker, then end"] = False
    check_data: Annotated[bool, "check own data, name every wrong row, then end"] = False
    build: Annotated[
        Path | None, "build a TalkSet in dataPath from the videos of this folder, then end"
    ] = None
    lists: Annotated[
        str, "with --build: published lists with commas between, of videos below that folder"
    ] = ""
    clips_each: Annotated[int, "with --build: clips of each of the five kinds"] = 500
    val_share: Annotated[float, "with --build: share of people and clips for validation"] = 0.1
    people: Annotated[
        Path | None, "with --build: CSV table of who is in which video: file,identity,kind"
    ] = None

    def __post_init__(self) -> None:
        if self.clips_each < 1:
            raise ValueError(f"--clipsEach must be at least 1, got {self.clips_each}")
        if not 0 <= self.val_share < 1:
            raise ValueError(f"--valShare must be in [0, 1), got {self.val_share}")
