"""Options of the stages that need a network; other stages define their own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from utils.errors import UserError

AUTO_NETWORKS = ("talknet", "lr_asd", "synchrony")  # the first with weights; the last is shipped

AUTO_EMBEDDERS = ("face_reid", "bundled")  # the same


@dataclass(frozen=True)
class ModelOptions:
    """Which network scores the faces, and how."""

    model: Annotated[
        str,
        f"network; auto: the first of {', '.join(AUTO_NETWORKS)} whose weights are available "
        f"or can be downloaded; {AUTO_NETWORKS[-1]} is bundled",
    ] = "auto"
    pretrain_model: Annotated[
        Path | None,
        "weights: a file, or a name in pretrain/weights.toml (default: the TalkSet weights)",
    ] = None
    encoder_model: Annotated[Path | None, "asc and asdnet: weights of their encoder"] = None
    windows: Annotated[
        str,
        "window lengths in seconds whose scores are averaged, such as 1,2,3,4,5,6 (default: those "
        "of the network)",
    ] = ""
    device: Annotated[Literal["auto", "cuda", "mps", "cpu"], "device of the networks"] = "auto"
    precision: Annotated[
        Literal["fp32", "bf16", "auto"],
        "precision of the face encoder; auto: bf16 if this CPU has instructions for it and the "
        "first scores agree",
    ] = "fp32"
    score_silence: Annotated[
        bool, "score digital silence with the network, as the original demo does"
    ] = False

    def __post_init__(self) -> None:
        parts = [part for part in self.windows.split(",") if part]
        if not all(part.isdecimal() and int(part) > 0 and 60 % int(part) == 0 for part in parts):
            raise UserError(
                "--windows must be whole seconds that divide a minute, separated by commas, "
                f"such as 1,2,3,4,5,6; got {self.windows!r}"
            )

    @property
    def window_lengths(self) -> tuple[int, ...] | None:
        """Window lengths in s; None is the network's default."""
        return tuple(int(part) for part in self.windows.split(",") if part) or None


@dataclass(frozen=True)
class DetectorOptions:
    """How faces are detected."""

    detector: Annotated[
        str,
        "face detector; auto: s3fd on a GPU, else yunet, else tiny_fcos; the first whose weights "
        "are available or can be downloaded",
    ] = "auto"
    detect_every: Annotated[
        int | None, "run the detector on every Nth frame (default: 1 on a GPU, 2 on a CPU)"
    ] = None
    facedet_scale: Annotated[float, "s3fd: image size as a fraction of the video's"] = 0.25
    confidence: Annotated[
        float | None,
        "minimum confidence of a detection, in [0, 1] (default: 0.9 for s3fd, 0.6 for yunet, 0.52 "
        "for tiny_fcos)",
    ] = None

    def __post_init__(self) -> None:
        if self.detect_every is not None and self.detect_every < 1:
            raise UserError(f"--detectEvery must be at least 1, got {self.detect_every}")
        if not 0 < self.facedet_scale <= 4:
            raise UserError(f"--facedetScale must be in (0, 4], got {self.facedet_scale}")
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise UserError(f"--confidence must be in [0, 1], got {self.confidence}")

    def every(self, device: str) -> int:
        """Return N: the detector runs on every Nth frame on that device."""
        return self.detect_every or (2 if device == "cpu" else 1)


@dataclass(frozen=True)
class EmbedderOptions:
    """How people are recognised."""

    embedder: Annotated[
        str,
        f"face embedder that tells people apart; auto is the first of {', '.join(AUTO_EMBEDDERS)} "
        "whose weights are on this machine or can be downloaded; none joins no tracks to people",
    ] = "auto"
