"""Open a finished result.json, find its video, and write outputs without running a network."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from utils.commands import ErrorReport
from utils.errors import UserError
from utils.files import check_folder, replacing
from utils.media.container import ReadOptions, VideoInfo, probe
from utils.media.video import VideoSpan
from utils.output.results import Result
from utils.output.write_outputs import ImageOutputs
from utils.report.edits import Edits
from utils.report.options import ReportOptions
from utils.report.outputs import Found, write_outputs

LENGTH_S = 1.0  # two videos of a result differ by less
ASK = "pass it with --video FILE"


def write_all_finished(
    paths: Sequence[Path],
    output_folder: Path | None,
    outputs: ImageOutputs,
    options: ReportOptions,
    report: ErrorReport,
) -> int:
    """Write the outputs of results one by one, after one that fails too; return the exit status."""
    failed = 0
    for path in paths:
        with replace(report, subject=str(path), folder=path.parent) as of_result:
            print(write_finished(path, output_folder, outputs, options))
        failed += of_result.failed
    return int(failed > 0)


def write_finished(
    path: Path, output_folder: Path | None, outputs: ImageOutputs, options: ReportOptions
) -> Path:
    """Write what is asked for of a finished result; return the result.json of these outputs.

    Args:
        path: The result.json; it is never changed.
        output_folder: Outputs go to a folder in it named after the video; None is beside `path`.
        outputs: What is written in addition to the tables.
        options: Of the report; with the edits to apply and the place of the video.
    """
    result = Result.read_json(path)
    if outputs.official_tree:
        raise UserError("--officialTree needs every detection, which no result.json has")
    edits = None
    if options.edits is not None:
        edits = Edits.read_json(options.edits)
        edits.check(result, options.edits)
    span = None
    if outputs.video or not options.no_report:
        span = _span(result, _find_video(result, path, options.video))
    folder = path.parent
    if output_folder is not None:
        folder = output_folder / (Path(result.video.path).stem or "video")
    check_folder(folder)
    if folder.resolve() != path.parent.resolve():
        with replacing(folder / "result.json") as temporary:
            shutil.copyfile(path, temporary)
    write_outputs(Found(result, span, (), edits), folder, outputs, options)
    return folder / "result.json"


def _find_video(result: Result, path: Path, given: Path | None) -> VideoInfo:
    """Return the video of a result: where it was, or where it lies now if both were moved."""
    if given is not None:
        return _checked(probe(given), result)
    recorded = Path(result.video.path)
    folder = path.absolute().parent
    places = [recorded, folder.parent / recorded.name, folder / recorded.name]
    base = str(result.settings.get("outputFolder") or "")
    if base and not Path(base).is_absolute() and not recorded.is_absolute():
        depth = len(Path(base).parts)  # the folder of the command was so many above the result's
        places += [parent / recorded for parent in folder.parents[depth : depth + 1]]
    for place in places:
        if place.is_file():
            return _checked(probe(place), result)
    raise FileNotFoundError(
        f"expected the video of {path} at {recorded}, found no file there, nor one of that name "
        f"beside the result; {ASK}, or leave it out with --noVideo --noReport"
    )


def _checked(video: VideoInfo, result: Result) -> VideoInfo:
    """Return the video if it can be that of the result."""
    facts = result.video
    same_size = (video.width, video.height) == (facts.width, facts.height)
    if not same_size or abs(video.duration_s - facts.duration_s) > LENGTH_S:
        raise UserError(
            f"expected the video of the result, {facts.width} x {facts.height} and "
            f"{facts.duration_s:.1f} s long, found {video.width} x {video.height} and "
            f"{video.duration_s:.1f} s: {video.path}; {ASK}"
        )
    return video


def _span(result: Result, video: VideoInfo) -> VideoSpan:
    """Return the part of the video that was analysed."""
    settings = result.settings
    track = settings.get("audioTrack", "auto")
    times = (float(settings.get("start") or 0), float(settings.get("duration") or 0))
    return VideoSpan(video, ReadOptions(*times, audio_track=str(track)))
