"""Options of the report and of commands on finished results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated


@dataclass(frozen=True)
class ReportOptions:
    """Whether and how report.html is written, and what a finished result is changed by."""

    no_report: Annotated[bool, "write no report.html"] = False
    proxy: Annotated[
        bool, "if browsers cannot play the source, write proxy.mp4 (H.264, no boxes) for the report"
    ] = False
    embed_video: Annotated[bool, "put the video into report.html, which is then one file"] = False
    edits: Annotated[Path | None, "edits.json saved from the report; needs a result.json"] = None
    video: Annotated[Path | None, "video of the given result.json, if it was moved"] = None
