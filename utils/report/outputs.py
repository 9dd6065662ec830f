"""Write everything that is asked for of an analysed video or a finished result."""

from dataclasses import dataclass
from pathlib import Path

from utils.media.video import VideoSpan
from utils.output.results import Result
from utils.output.write_outputs import FrameFaces, ImageOutputs, write_images, write_tables
from utils.report.corrections import apply_edits
from utils.report.edits import Edits
from utils.report.options import ReportOptions
from utils.report.page import write_report
from utils.report.page_video import PageVideo, choose_page_video


@dataclass(frozen=True, eq=False)
class Found:
    """What was found in one video."""

    result: Result
    span: VideoSpan | None  # the part of the video that was analysed; None if it is not at hand
    faces: FrameFaces = ()  # of every frame; only for the published tree
    edits: Edits | None = None  # corrections of the result


def write_outputs(
    found: Found, folder: Path, outputs: ImageOutputs, options: ReportOptions
) -> None:
    """Write the tables, then the report, the marked video and the rest.

    result.json is left as it is: edits show in everything else. The report always shows people: its
    edits belong to the result as it is.
    """
    result = found.result if found.edits is None else apply_edits(found.result, found.edits)
    write_tables(result, folder, outputs.per_track)
    if found.span is None:
        return
    video = choose_page_video(found.span, folder, outputs.video, options)
    late = options.embed_video and video.kind != "source"  # the page needs a file not yet there
    if not (options.no_report or late):
        _write_page(found, folder, video, options)
    write_images(result, found.span, folder, outputs, found.faces, video.kind == "proxy")
    if late and not options.no_report:
        _write_page(found, folder, video, options)


def _write_page(found: Found, folder: Path, video: PageVideo, options: ReportOptions) -> None:
    edits = found.edits or Edits()
    write_report(found.result, folder, video, edits, embed=options.embed_video)
