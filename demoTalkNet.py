"""Find who speaks in a video: draws a green box around a speaking face, a red one around others.

python demoTalkNet.py --videoName 001 --videoFolder demo
python demoTalkNet.py /some/where/*.mp4 --outputFolder results
"""

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model.names import detector_names, network_names
from utils import flags
from utils.commands import ErrorReport, add_debug, exit_status, wrong_usage
from utils.demo_options import ESSENTIAL, DemoOptions, VideoOptions
from utils.errors import UserError
from utils.files import check_folder, replacing
from utils.flags import add_groups, read_groups
from utils.progress import bar, byte_bar

if TYPE_CHECKING:
    from talkNet import ActiveSpeakers, Models, Result
    from utils.media.container import ReadOptions, VideoInfo
    from utils.media.video import VideoSpan
    from utils.output.write_outputs import FrameFaces
    from utils.structures import Detections, Frame

logger = logging.getLogger("demoTalkNet")

ADVICE = "fix this, or choose another folder with --outputFolder"  # if a file cannot be written


@dataclass(frozen=True, eq=False)
class Found:
    """The analysis of one video."""

    result: "Result"
    span: "VideoSpan"  # the part of the video that was analysed
    faces: "FrameFaces"  # of every frame; only for the original demo's folders


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, analyse the videos, return the exit status."""
    parser = make_parser()
    parsed = parser.parse_args(arguments)
    with wrong_usage(parser):
        options = read_groups(parsed, DemoOptions)
    if parsed.videos and options.video.eval_col:
        parser.error("--evalCol has its own video; leave out the files")
    for flag, given in (("tracks", options.video.tracks), ("array", options.array.array)):
        if given and len(parsed.videos) > 1:
            parser.error(f"--{flag} belongs to one video; give one file")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    report = ErrorReport(ADVICE, folder=options.video.output_folder, debug=parsed.debug)
    action = partial(act, parsed.videos, options, report)
    return exit_status(action, report, "no incomplete files are left")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all flags."""
    parser = flags.make_parser(__doc__, ESSENTIAL)
    parser.add_argument("videos", nargs="*", type=Path, help="video files (default: --videoName)")
    names = {"model": network_names(), "detector": detector_names()}
    add_groups(parser, DemoOptions, {field: ("auto", *found) for field, found in names.items()})
    add_debug(parser)
    return parser


def act(paths: Sequence[Path], options: DemoOptions, report: ErrorReport) -> int:
    """Run the command; return the exit status."""
    if options.video.eval_col:
        evaluate_columbia(options)
        return 0
    return analyse_all(paths or [find_video(options.video)], options, report)


def find_video(options: VideoOptions) -> Path:
    """Return the one file called --videoName in --videoFolder, whatever its extension."""
    folder, name = options.video_folder, options.video_name
    if not folder.is_dir():
        raise FileNotFoundError(f"--videoFolder: {folder} is not a folder")
    matches = sorted(path for path in folder.iterdir() if path.stem == name and path.is_file())
    if len(matches) != 1:
        found = ", ".join(path.name for path in matches) or "no such file"
        raise FileNotFoundError(
            f"expected one video named {name!r} in {folder}, found: {found}; "
            "give the file itself, or --videoName and --videoFolder"
        )
    return matches[0]


def results_of(path: Path, options: VideoOptions) -> Path:
    """Return the folder for the results of a video."""
    return (options.output_folder or path.parent) / path.stem


def output_folder(path: Path, options: VideoOptions) -> Path:
    """Create the folder for the results of a video; raise if it is not writable."""
    folder = results_of(path, options)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(
            f"the results of {path} need a folder {folder}, but a file has that name; "
            "pass --outputFolder"
        )
    check_folder(folder)
    return folder


def analyse_all(paths: Sequence[Path], options: DemoOptions, report: ErrorReport) -> int:
    """Analyse videos one by one, continuing after one that fails; return the exit status.

    The models are loaded once, before the first video; if that fails, the command stops.

    Args:
        paths: The videos.
        options: All options.
        report: How errors are reported.
    """
    folders = Counter(results_of(path, options.video).absolute() for path in paths)
    twice = [str(folder) for folder, count in folders.items() if count > 1]
    if twice:
        raise UserError(
            f"the results of two videos would both go to {twice[0]}; rename one of them, or run "
            "the command twice with different --outputFolder"
        )
    from utils.media.audio_streams.choice import choose_sound
    from utils.media.container import probe
    from utils.media.source_frames import check_span

    models: Models | None = None
    failed = 0
    for path in paths:
        of_video = replace(report, subject=path.name, folder=results_of(path, options.video))
        with of_video:
            video = probe(path)
            choose_sound(video, options.video.audio_track)  # fails before anything is written
            if options.video.start:
                check_span(video, read_options(options.video))
            folder = output_folder(path, options.video)
        if not of_video.failed:
            models = models or load_models(options)
            with of_video:
                found = analyse(video, models, options)
                write_all(found, folder, options)
                logger.info("%s: %s", path.name, summary(found.result))
        failed += of_video.failed
    return int(failed > 0)


def load_models(options: DemoOptions) -> "Models":
    """Load the network and the detector; log which and why."""
    import talkNet

    with byte_bar("downloading weights") as progress:
        models = talkNet.load_models(
            options.model, None if options.video.tracks else options.detector, progress
        )
    logger.info("network: %s", models.network_record.reason)
    logger.info("detector: %s", models.detector_record.reason)
    return models


def analyse(video: "VideoInfo", models: "Models", options: DemoOptions) -> Found:
    """Find the speakers of one video."""
    import talkNet

    heard = None
    if options.array.array is not None:
        from model.arrays.hearing import listen

        heard = listen(options.array, options.array_sound, models.device)
    speakers = make_speakers(video, models, options)
    faces: list[tuple[int, Detections | None]] = []
    start_s = speakers.span.options.start_s
    span_s = min(options.video.duration or float("inf"), max(0.0, video.duration_s - start_s))
    with bar(f"{video.path.name}: finding speakers", span_s, "s") as advance:

        def on_frame(frame: "Frame") -> None:
            advance((frame.index + 1) / talkNet.FPS - start_s)
            if options.video.official_tree:
                faces.append((frame.index, frame.faces))

        speakers.on_frame = on_frame
        for _ in speakers:
            pass
    result = replace(
        speakers.result(options.settings()),
        network=models.network_record,
        detector=models.detector_record,
    )
    if heard is not None:
        from utils.arrays.fusion import fuse_tracks

        result = replace(
            result, tracks=fuse_tracks(result.tracks, video.width, heard, options.fusion)
        )
    for warning in result.warnings:
        logger.warning("%s: %s", video.path.name, warning)
    return Found(result, speakers.span, faces)


def write_all(found: Found, folder: Path, options: DemoOptions) -> None:
    """Write all requested outputs; print the path of the tables even if the video fails."""
    from utils.output.write_outputs import ImageOutputs, write_images, write_tables

    outputs = ImageOutputs(not options.video.no_video, options.video.official_tree, options.crops)
    write_tables(found.result, folder)
    try:
        write_images(found.result, found.span, folder, outputs, found.faces)
    finally:
        print(folder / "result.json")


def read_options(options: VideoOptions) -> "ReadOptions":
    """Return the options for reading a video."""
    from utils.media.container import ReadOptions
    from utils.processor import num_cores

    threads = min(options.n_data_loader_thread, num_cores())
    return ReadOptions(options.start, options.duration, threads, options.audio_track)


def make_speakers(video: "VideoInfo", models: "Models", options: DemoOptions) -> "ActiveSpeakers":
    """Return the analysis of one video, not yet started."""
    import talkNet
    from utils.tracking.shots import read_cuts
    from utils.tracking.track_files import read_boxes

    tracks, cuts = options.video.tracks, options.video.cuts
    boxes = read_boxes(tracks, video.width, video.height) if tracks else None
    analysis = talkNet.AnalysisOptions(
        read=read_options(options.video),
        shots=options.shots,
        tracks=options.tracks,
        crops=options.crops,
        detect_every=options.detector.every(models.device),
        windows=options.model.window_lengths,
        precision=options.model.precision,
        # The array may record speech while the video's own audio is silent.
        score_silence=options.model.score_silence or options.array.array is not None,
        cuts=read_cuts(cuts) if cuts else None,
        boxes=boxes,
    )
    return talkNet.ActiveSpeakers(video, models.network, models.detector, analysis)


def summary(result: "Result") -> str:
    """Return a one-line summary of a result."""
    if not result.tracks:
        return "no face found"
    speaking = {segment.track for segment in result.segments}
    speech_s = sum(segment.stop_s - segment.start_s for segment in result.segments)
    return (
        f"{len(result.tracks)} face tracks in {len(result.shots)} shots, "
        f"{len(speaking)} of them speak, {speech_s:.1f} s in all"
    )


def evaluate_columbia(options: DemoOptions) -> None:
    """Print and write F1 on Columbia ASD by the published procedure and with its errors fixed."""
    from utils.datasets import columbia
    from utils.media.container import probe
    from utils.metrics.columbia import evaluate, format_tables

    folder = options.video.col_save_path
    check_folder(folder)
    with byte_bar("downloading Columbia ASD") as progress:
        columbia.download(folder, lambda _, done, total: progress(done, total))
    path = columbia.find_video(folder)
    results = folder / path.stem
    video = probe(path)
    found = analyse(video, load_models(options), options)
    result = found.result
    report = evaluate(columbia.read_labels(folder), result.tracks, result.video.height)
    report["settings"] = options.settings()
    report["network"] = vars(result.network)
    report["detector"] = vars(result.detector)
    with replacing(results / "columbia.json") as temporary:
        temporary.write_text(json.dumps(report, indent=1, default=str) + "\n", encoding="utf-8")
    print(format_tables(report))
    write_all(found, results, options)


if __name__ == "__main__":
    sys.exit(main())
