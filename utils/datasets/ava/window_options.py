"""What a user may set of the windows that ava_asd learns from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from utils.errors import UserError


@dataclass(frozen=True)
class AvaAsdOptions:
    """Which windows there are of AVA's labels, and which of them are drawn."""

    window_path: Annotated[
        Path | None, "folder of the windows, made when first needed; else dataPath/windows"
    ] = None
    window_stride: Annotated[int, "rows from one window to the next, 10 rows a second"] = 4
    window_share: Annotated[
        float, "share of the windows (of the smaller class) that an epoch draws"
    ] = 1.0
    unbalanced: Annotated[bool, "draw windows as they come, not as many that speak as do not"] = (
        False
    )
    min_face: Annotated[
        int, "leave out windows with a face of fewer pixels; published, if wanted: 100"
    ] = 0
    one_label: Annotated[bool, "leave out windows in which the label changes"] = False
    judged_share: Annotated[
        float, "share of the windows of evalDataType, drawn anew, that judges an epoch"
    ] = 0.1
    lose_rows: Annotated[
        bool, "leave out the first row of each track but the first, as published"
    ] = False
    late_pictures: Annotated[
        bool, "take each picture 0.1 to 0.2 s before its row, as published"
    ] = False
    own_rates: Annotated[
        bool, "take sound at each file's own rate, as published, not at the demo's"
    ] = False

    legacy: Annotated[
        bool,
        "with --evaluation: loss, accuracy, ROC area and PR area of each head as Keras measures "
        "them, instead of the report",
    ] = False
    early_stopping: Annotated[
        bool, "end training once the loss of the last head on the judged windows stops falling"
    ] = False
    patience: Annotated[
        int, "with --earlyStopping: evaluations in a row that may pass without a lower loss"
    ] = 5

    def __post_init__(self) -> None:
        if self.window_stride < 1 or self.min_face < 0:
            raise UserError(
                "--windowStride must be at least 1 and --minFace 0 or more, got "
                f"{self.window_stride} and {self.min_face}"
            )
        if self.patience < 1:
            raise UserError(f"--patience must be at least 1, got {self.patience}")
        for flag, share in (
            ("windowShare", self.window_share),
            ("judgedShare", self.judged_share),
        ):
            if not 0 < share <= 1:
                raise UserError(f"--{flag} must be above 0 and at most 1, got {share}")
