"""Options of the training command."""

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
        str,
        "variant of a newly initialised network, such as num_speakers=2,length=9 (default: as "
        "published)",
    ] = ""
    initial: Annotated[
        str,
        "initial weights of backbones that the authors pretrain (VGGish, ImageNet, Kinetics): a "
        "file, or a name in pretrain/weights.toml; none: random (default: those of the authors)",
    ] = ""
    pretrain_model: Annotated[
        Path | None,
        "weights to fine-tune or evaluate: a file, or a name in pretrain/weights.toml; for ava_asd "
        "also a folder, whose files are all evaluated, results in evaluation-results.csv",
    ] = None
    device: Annotated[Literal["auto", "cuda", "mps", "cpu"], "device of the network"] = "auto"
    windows: Annotated[
        str,
        "evaluation: window lengths in seconds whose scores are averaged, such as 1,2,3,4,5,6 "
        "(default: whole entities)",
    ] = ""
    features: Annotated[
        Path | None,
        "folder of the face embeddings of asc_encoder or asdnet_encoder, written by --forward and "
        "read by asc and asdnet instead of videos",
    ] = None
    smooth: Annotated[int, "evaluation: median filter of the logits, in frames; odd"] = 1

    def __post_init__(self) -> None:
        if not all(part.isdecimal() and int(part) > 0 for part in self.windows.split(",") if part):
            raise UserError(
                "--windows must be positive whole seconds, separated by commas, got "
                f"{self.windows!r}"
            )
        if self.smooth < 1 or self.smooth % 2 == 0:
            raise UserError(f"--smooth must be odd and at least 1, got {self.smooth}")

    @property
    def window_lengths(self) -> tuple[int, ...] | None:
        """Window lengths in s; None for whole entities."""
        return tuple(int(part) for part in self.windows.split(",") if part) or None


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained; unset options are those of its authors."""

    lr: Annotated[float | None, "initial learning rate (default: that of the network)"] = None
    lr_decay: Annotated[
        float | None,
        "factor of the learning rate per epoch, or per decay interval of the network (default: "
        "that of the network)",
    ] = None
    max_epoch: Annotated[int | None, "number of epochs (default: that of the network)"] = None
    test_interval: Annotated[int, "evaluate after every N epochs"] = 1
    batch_size: Annotated[
        int | None, "frames, clips or contexts per batch (default: that of the network)"
    ] = None
    frames_at_once: Annotated[
        int, "maximum number of frames per forward pass, to fit memory; 0: no limit"
    ] = 0
    freeze: Annotated[
        str, "weights to freeze: patterns separated by commas, such as visual_frontend.*"
    ] = ""
    contrast: Annotated[float, "weight of the contrastive loss TalkNCE, see --talkNCE"] = 0.0
    seed: Annotated[int, "random seed; training is reproducible"] = 0
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], "bf16: mixed precision; auto: bf16 on a GPU"
    ] = "auto"
    early_stopping: Annotated[
        bool, "ava_asd: stop when the loss of the last head on the validation windows stops falling"
    ] = False
    patience: Annotated[
        int, "with --earlyStopping: number of evaluations without a lower loss before stopping"
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
        """The patterns of `freeze`."""
        return tuple(part.strip() for part in self.freeze.split(",") if part.strip())


@dataclass(frozen=True)
class RunOptions:
    """Where a run writes its files."""

    save_path: Annotated[Path, "folder for checkpoints, logs and predictions"] = Path("exps/exp1")
    keep_all: Annotated[
        bool, "keep the weights of every evaluated epoch, not only best and last"
    ] = False
    save_interval: Annotated[int, "also write a checkpoint after every N batches of an epoch"] = 500
    save_minutes: Annotated[
        float, "also write a checkpoint when the last one is N minutes old; 0: never"
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
        bool, "evaluate only, by default the published weights (those of AVA on AVA, else TalkSet)"
    ] = False
    legacy: Annotated[
        bool,
        "with --evaluation of ava_asd: report loss, accuracy, ROC AUC and PR AUC of each head, "
        "computed as in Keras",
    ] = False
    download: Annotated[bool, "download and prepare AVA-ActiveSpeaker, then exit"] = False
    check_data: Annotated[
        bool, "check own data, list all errors, write SAVEPATH/check_report.json, then exit"
    ] = False
    forward: Annotated[
        bool, "write the embeddings of a clip network for train and val to --features, then exit"
    ] = False
    decode: Annotated[
        bool, "with --checkData: decode the videos completely to find damage (slow)"
    ] = False
    build: Annotated[
        str, "build a TalkSet in DATAPATH from videos in these folders (a,b,...), then exit"
    ] = ""

    def __post_init__(self) -> None:
        if self.decode and not self.check_data:
            raise UserError("--decode requires --checkData")

    @property
    def makes_data(self) -> bool:
        """Whether data are downloaded, built or checked, and no network is used."""
        return self.download or self.check_data or bool(self.build)

    @property
    def build_folders(self) -> tuple[Path, ...]:
        """The folders of `build`."""
        return tuple(Path(part.strip()) for part in self.build.split(",") if part.strip())


@dataclass(frozen=True)
class Options:
    """All options of the training command, in groups."""

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
        """Raise UserError if flags contradict each other."""
        kinds = {"download": "ava", "check_data": "own", "build": "talkset"}
        actions = [name for name in kinds if getattr(self.instead, name)]
        others = self.instead.evaluation + self.instead.forward
        if len(actions) + others > 1:
            raise UserError(
                "--evaluation, --forward, --download, --checkData and --build exclude each other; "
                "pass one of them"
            )
        for name in actions:
            if self.data.data != kinds[name]:
                flag = "checkData" if name == "check_data" else name
                raise UserError(
                    f"--{flag} requires --data {kinds[name]}, found --data {self.data.data}"
                )
        if self.talkset.lists and not self.instead.build:
            raise UserError("--lists requires --build")
        if self.instead.forward and self.network.features is None:
            raise UserError("--forward requires --features, the folder to write")
        if self.instead.legacy and not self.instead.evaluation:
            raise UserError("--legacy requires --evaluation and --model ava_asd")
        if self.training.early_stopping and (others or actions):
            raise UserError("--earlyStopping only applies to training; leave it out")
