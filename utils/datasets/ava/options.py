"""Options of AVA-ActiveSpeaker: where it comes from, how faces are stored."""

from dataclasses import dataclass
from typing import Annotated

from utils.errors import UserError

AVA_MOVIES = "https://s3.amazonaws.com/ava-dataset"  # the mirror of CVDF
AVA_LABELS = "https://research.google.com/ava/download"


@dataclass(frozen=True)
class AvaOptions:
    """Where AVA-ActiveSpeaker comes from, and what its faces are stored as."""

    mirror: Annotated[
        str, "with --download: address with the movies' folders annotations, trainval, test"
    ] = AVA_MOVIES
    label_mirror: Annotated[str, "with --download: address with the archives of labels"] = (
        AVA_LABELS
    )
    any_labels: Annotated[
        bool, "with --download: take archives of labels that are not the official ones, by MD5"
    ] = False
    num_downloads: Annotated[int, "with --download: movies fetched side by side"] = 8
    crop_size: Annotated[int, "with --download: height and width of the faces, pixels"] = 112
    colour: Annotated[
        bool, "with --download: keep the faces' colour; networks that read grey convert it"
    ] = False

    def __post_init__(self) -> None:
        for flag, address in (("mirror", self.mirror), ("labelMirror", self.label_mirror)):
            if not address.startswith(("http://", "https://")):
                raise UserError(
                    f"--{flag} must be an address such as {AVA_MOVIES}, got {address!r}"
                )
        if self.num_downloads < 1:
            raise UserError(f"--numDownloads must be at least 1, got {self.num_downloads}")
        if not 8 <= self.crop_size <= 1024:
            raise UserError(f"--cropSize must be within 8 and 1024, got {self.crop_size}")
