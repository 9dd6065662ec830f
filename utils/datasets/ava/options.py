"""Options of AVA-ActiveSpeaker: mirrors, stored faces, and windows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from utils.errors import UserError

AVA_MOVIES = "https://s3.amazonaws.com/ava-dataset"  # the mirror of CVDF
AVA_LABELS = "https://research.google.com/ava/download"


@dataclass(frozen=True)
class AvaOptions:
    """Where AVA-ActiveSpeaker is downloaded from, and how its faces are stored."""

    mirror: Annotated[
        str, "with --download: address of the folders annotations, trainval and test"
    ] = AVA_MOVIES
    label_mirror: Annotated[str, "with --download: address of the archives of labels"] = AVA_LABELS
    any_labels: Annotated[
        bool, "with --download: accept archives of labels without the official MD5"
    ] = False
    num_downloads: Annotated[int, "with --download: number of parallel downloads"] = 8
    crop_size: Annotated[int, "with --download: height and width of the faces, in pixels"] = 112
    colour: Annotated[
        bool, "with --download: store faces in colour; networks that read grey convert them"
    ] = False

    def __post_init__(self) -> None:
        for flag, address in (("mirror", self.mirror), ("labelMirror", self.label_mirror)):
            if not address.startswith(("http://", "https://")):
                raise UserError(
                    f"--{flag} must be an HTTP address such as {AVA_MOVIES}, got {address!r}"
                )
        if self.num_downloads < 1:
            raise UserError(f"--numDownloads must be at least 1, got {self.num_downloads}")
        if not 8 <= self.crop_size <= 1024:
            raise UserError(f"--cropSize must be between 8 and 1024, got {self.crop_size}")


@dataclass(frozen=True)
class WindowDataOptions:
    """The windows of AVA's labels, and how many are drawn."""

    window_path: Annotated[
        Path | None,
        "folder of the windows, created when first needed (default: DATAPATH/windows)",
    ] = None
    window_stride: Annotated[int, "rows between windows, at 10 rows per second"] = 4
    window_share: Annotated[
        float, "fraction of the windows (of the smaller class) drawn in an epoch"
    ] = 1.0
    unbalanced: Annotated[bool, "do not balance the classes when drawing windows"] = False
    min_face: Annotated[
        int, "drop windows with a face smaller than this, in pixels; 100 as published"
    ] = 0
    one_label: Annotated[bool, "drop windows in which the label changes"] = False
    judged_share: Annotated[
        float, "fraction of the windows of evalDataType, drawn at random, that validates an epoch"
    ] = 0.1

    def __post_init__(self) -> None:
        if self.window_stride < 1 or self.min_face < 0:
            raise UserError(
                "--windowStride must be at least 1 and --minFace 0 or more, got "
                f"{self.window_stride} and {self.min_face}"
            )
        for flag, share in (
            ("windowShare", self.window_share),
            ("judgedShare", self.judged_share),
        ):
            if not 0 < share <= 1:
                raise UserError(f"--{flag} must be above 0 and at most 1, got {share}")
