"""Options of the training command: what a user may set of training and evaluation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from utils.datasets.ava.options import AvaOptions, WindowDataOptions
from utils.datasets.custom.tables import CustomOptions
from utils.datasets.splits import DataOptions
from utils.datasets.talkset.options import BuildOptions
from utils.errors import UserError
from utils.model_options import DetectorOptions


@dataclass(frozen=True)
class NetworkOptions:
    """Which network, from which weights, and where it runs."""

    model: Annotated[str, "network"] = "talknet"
    variant: Annotated[
        str, "of the network, where it begins anew: num_speakers=2,length=9 ...; else as published"
    ] = ""
    initial: Annotated[
        str,
        "what training begins from where its authors' does (VGGish, ImageNet, Kinetics): a file, "
        "or a name in pretrain/weights.toml; none begins at random; else the authors'",
    ] = ""
    pretrain_model: Annotated[
        Path | None,
        "weights to start from or to evaluate: a file, or a name in pretrain/weights.toml; with "
        "ava_asd also a folder, of which all are evaluated into evaluation-results.csv",
    ] = None
    device: Annotated[Literal["auto", "cuda", "mps", "cpu"], "where the network runs"] = "auto"
    windows: Annotated[
        str, "evaluate in windows of so many seconds, averaged: 1,2,3,4,5,6; else entities whole"
    ] = ""
    features: Annotated[
        Path | None,
        "folder of what asc_encoder or asdnet_encoder make of every face, written by --forward; "
        "asc and asdnet read it instead of videos",
    ] = None
    smooth: Annotated[int, "evaluate the median of the logits over so many frames; odd"] = 1

    def __post_init__(self) -> None:
        if not all(part.isdecimal() and int(part) > 0 for part in self.windows.split(",") if part):
            raise UserError(
                f"--windows must be whole seconds above 0 with commas between, got {self.windows!r}"
            )
        if self.smooth < 1 or self.smooth % 2 == 0:
            raise UserError(f"--smooth must be odd and at least 1, got {self.smooth}")

    @property
    def window_lengths(self) -> tuple[int, ...] | None:
        """Window lengths in s; None reads entities whole."""
        return tuple(int(part) for part in self.windows.split(",") if part) or None


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained; what stays unset is as its authors do it."""

    lr: Annotated[float | None, "learning rate of the first epoch; else the network's"] = None
    lr_decay: Annotated[
        float | None,
        "the rate times this after each epoch, or as many as its authors'; else theirs",
    ] = None
    max_epoch: Annotated[int | None, "epochs in all; else the network's"] = None
    test_interval: Annotated[int, "evaluate after every so many epochs"] = 1
    batch_size: Annotated[
        int | None, "frames, clips or contexts that make a batch; else the network's"
    ] = None
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
    early_stopping: Annotated[
        bool, "end training once the loss of the last head on the judged windows stops falling"
    ] = False
    patience: Annotated[
        int, "with --earlyStopping: evaluations in a row that may pass without a lower loss"
    ] = 5

    def __post_init__(self) -> None:
        for flag, number in (("lr", self.lr), ("lrDecay", self.lr_decay)):
            if number is not None and not 0 < number < float("inf"):
                raise UserError(f"--{flag} must be above 0, got {number}")
        for flag, count in (
            ("maxEpoch", self.max_epoch),
            ("testInterval", self.test_interval),
            ("batchSize", self.batch_size),
            ("patience", self.patience),
        ):
            if count is not None and count < 1:
                raise UserError(f"--{flag} must be at least 1, got {count}")
        for flag, amount in (
            ("framesAtOnce", self.frames_at_once),
            ("contrast", self.contrast),
            ("seed", self.seed),
        ):
            if not 0 <= amount < float("inf"):
                raise UserError(f"--{flag} must be 0 or more, got {amount}")

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
    save_minutes: Annotated[
        float, "also keep a checkpoint when the last one is so many minutes old; 0 does not"
    ] = 10.0

    def __post_init__(self) -> None:
        if self.save_interval < 1:
            raise UserError(f"--saveInterval must be at least 1, got {self.save_interval}")
        if not 0 <= self.save_minutes < float("inf"):
            raise UserError(f"--saveMinutes must be 0 or more, got {self.save_minutes}")


@dataclass(frozen=True)
class InsteadOptions:
    """What to do instead of training."""

    evaluation: Annotated[
        bool, "evaluate only, by default the published weights: on AVA those of AVA, else TalkSet's"
    ] = False
    legacy: Annotated[
        bool,
        "with --evaluation: loss, accuracy, ROC area and PR area of each head as Keras measures "
        "them, instead of the report",
    ] = False
    download: Annotated[bool, "fetch and prepare AVA-ActiveSpeaker, then end"] = False
    check_data: Annotated[
        bool, "check own data, name every wrong row, write check_report.json to savePath, then end"
    ] = False
    forward: Annotated[
        bool, "store what a clip network makes of train and val in --features, then end"
    ] = False
    decode: Annotated[
        bool, "with --checkData: decode the videos whole; finds damage inside, takes long"
    ] = False
    build: Annotated[
        str, "build a TalkSet in dataPath from the videos of these folders (with commas), then end"
    ] = ""

    def __post_init__(self) -> None:
        if self.decode and not self.check_data:
            raise UserError("--decode is for --checkData")

    @property
    def makes_data(self) -> bool:
        """Whether data are fetched, built or checked, and no network is used."""
        return self.download or self.check_data or bool(self.build)

    @property
    def build_folders(self) -> tuple[Path, ...]:
        """The folders of `build`, one by one."""
        return tuple(Path(part.strip()) for part in self.build.split(",") if part.strip())


@dataclass(frozen=True)
class Options:
    """The groups; their flags are made of them."""

    network: NetworkOptions
    data: DataOptions
    training: TrainingOptions
    run: RunOptions
    instead: InsteadOptions
    ava: AvaOptions
    own: CustomOptions
    talkset: BuildOptions
    window_data: WindowDataOptions
    detector: DetectorOptions

    def __post_init__(self) -> None:
        """Raise UserError where flags do not go together."""
        kinds = {"download": "ava", "check_data": "own", "build": "talkset"}
        wanted = [name for name in kinds if getattr(self.instead, name)]
        others = self.instead.evaluation + self.instead.forward
        if len(wanted) + others > 1:
            raise UserError(
                "--evaluation, --forward, --download, --checkData and --build each go alone"
            )
        for name in wanted:
            if self.data.data != kinds[name]:
                flag = "checkData" if name == "check_data" else name
                raise UserError(f"--{flag} is for --data {kinds[name]}, found {self.data.data}")
        if self.talkset.lists and not self.instead.build:
            raise UserError("--lists is for --build")
        if self.instead.forward and self.network.features is None:
            raise UserError("--forward needs --features, the folder that is written")
        if self.instead.legacy and not self.instead.evaluation:
            raise UserError("--legacy is for --evaluation of ava_asd; leave it out")
        if self.training.early_stopping and (others or wanted):
            raise UserError("--earlyStopping is for training ava_asd; leave it out")
