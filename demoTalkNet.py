"""Find who speaks in a video and mark it: a green box speaks, a red one does not.

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

from model.names import detector_names, embedder_names, network_names
from utils import flags
from utils.commands import ErrorReport, add_debug, exit_status, wrong_usage
from utils.demo_options import ESSENTIAL, DemoOptions, VideoOptions
from utils.errors import UserError
from utils.files import check_folder, replacing
from utils.flags import add_groups, read_groups
from utils.progress import bar, byte_bar

if TYPE_CHECKING:
    from model.enrolment import KnownNames
    from talkNet import ActiveSpeakers, Models, Result
    from utils.media.container import ReadOptions, VideoInfo
    from utils.media.video import VideoSpan
    from utils.output.write_outputs import Seen
    from utils.people.names import EnrolledPerson
    from utils.structures import Detections, Frame

logger = logging.getLogger("demoTalkNet")

ADVICE = "choose another folder with --outputFolder or mend this"  # where a file is refused


@dataclass(frozen=True, eq=False)
class Found:
    """What was found in one video."""

    result: "Result"
    span: "VideoSpan"  # the part of the video that was analysed
    faces: "Seen"  # of every frame; only for the published tree


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, look at the videos, return the exit status."""
    parser = make_parser()
    parsed = parser.parse_args(arguments)
    with wrong_usage(parser):
        options = read_groups(parsed, DemoOptions)
    if parsed.videos and options.video.eval_col:
        parser.error("--evalCol brings its own video; leave out the files")
    for flag, given in (("tracks", options.video.tracks), ("array", options.array.array)):
        if given and len(parsed.videos) > 1:
            parser.error(f"--{flag} belongs to one video; give one file")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    report = ErrorReport(ADVICE, folder=options.video.output_folder, debug=parsed.debug)
    action = partial(act, parsed.videos, options, report)
    return exit_status(action, report, "nothing half-written is left")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all flags."""
    parser = flags.make_parser(__doc__, ESSENTIAL)
    parser.add_argument("videos", nargs="*", type=Path, help="video files; else --videoName")
    names = {"model": network_names(), "detector": detector_names()}
    names["embedder"] = (*embedder_names(), "none")
    add_groups(parser, DemoOptions, {field: ("auto", *found) for field, found in names.items()})
    add_debug(parser)
    return parser


def act(paths: Sequence[Path], options: DemoOptions, report: ErrorReport) -> int:
    """Do what the options ask for; return the exit status."""
    if options.video.eval_col:
        evaluate_columbia(options)
        return 0
    from utils.media.video_files import find_named

    video = options.video
    paths = paths or [find_named(video.video_folder, video.video_name)]
    return look_at(paths, options, report)


def results_of(path: Path, options: VideoOptions) -> Path:
    """Return the folder that the results of a video go to."""
    return (options.output_folder or path.parent) / path.stem


def output_folder(path: Path, options: VideoOptions) -> Path:
    """Make the folder that the results of a video go to; fails before any work if it cannot be."""
    folder = results_of(path, options)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(
            f"the results of {path} go to a folder {folder}, but a file has that name; "
            "pass --outputFolder"
        )
    check_folder(folder)
    return folder


def look_at(paths: Sequence[Path], options: DemoOptions, report: ErrorReport) -> int:
    """Analyse videos one by one, going on after those that fail; return the exit status.

    The models are loaded once, when there is a video to analyse; that they cannot be is an error of
    the whole command.

    Args:
        paths: The videos.
        options: What is asked for.
        report: How the errors of a video are reported.
    """
    folders = Counter(results_of(path, options.video).absolute() for path in paths)
    twice = [str(folder) for folder, count in folders.items() if count > 1]
    if twice:
        raise UserError(
            f"the results of two videos would both go to {twice[0]}; rename one of them, or give "
            "them in two runs with another --outputFolder"
        )
    from model.enrolment import read_known
    from utils.media.audio_streams.choice import choose_sound
    from utils.media.container import probe
    from utils.media.source_frames import check_span
    from utils.output.write_outputs import summary

    models: Models | None = None
    names = None
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
            names = names or read_known(options.people.people, models, options.detector)
            with of_video:
                found = analyse(video, models, options, names)
                write_all(found, folder, options)
                logger.info("%s: %s", path.name, summary(found.result))
        failed += of_video.failed
    return int(failed > 0)


def load_models(options: DemoOptions) -> "Models":
    """Load the network and the detector; say which and why."""
    import talkNet

    with byte_bar("downloading weights") as progress:
        models = talkNet.load_models(
            options.model,
            None if options.video.tracks else options.detector,
            progress,
            options.embedder,
        )
    logger.info("network: %s", models.network_record.reason)
    logger.info("detector: %s", models.detector_record.reason)
    if models.embedder_record:
        logger.info("embedder: %s", models.embedder_record.reason)
    return models


def analyse(
    video: "VideoInfo", models: "Models", options: DemoOptions, names: "KnownNames | None" = None
) -> Found:
    """Find the speakers of one video."""
    import talkNet
    from utils.people.names import name_by_number

    heard = None
    if options.array.array is not None:
        from model.arrays.hearing import listen

        heard = listen(options.array, options.array_sound, models.device)
    speakers = make_speakers(video, models, options, names.enrolled if names else ())
    faces: list[tuple[int, Detections | None]] = []
    start_s = speakers.span.options.start_s
    span_s = min(options.video.duration or float("inf"), max(0.0, video.duration_s - start_s))
    with bar(f"{video.path.name}: finding speakers", span_s, "s") as advance:

        def on_frame(frame: "Frame") -> None:
            advance((frame.index + 1) / talkNet.FPS - start_s)
            if options.video.writes_tree:
                faces.append((frame.index, frame.faces))

        speakers.on_frame = on_frame
        for _ in speakers:
            pass
    result = replace(
        speakers.result(options.settings()),
        network=models.network_record,
        detector=models.detector_record,
        embedder=models.embedder_record,
    )
    if names:
        result = replace(result, groups=name_by_number(result.groups, names.by_number))
    if options.people.save_embeddings:
        vectors = {one.track: one.embeddings for one in speakers.embeddings}
        result = replace(result, embeddings=vectors)
    if heard is not None:
        from utils.arrays.fusion import fuse_tracks

        result = replace(
            result, tracks=fuse_tracks(result.tracks, video.width, heard, options.fusion)
        )
    if not options.people.no_offscreen:
        result = talkNet.add_offscreen(result, speakers.span)
    for warning in result.warnings:
        logger.warning("%s: %s", video.path.name, warning)
    return Found(result, speakers.span, faces)


def write_all(found: Found, folder: Path, options: DemoOptions) -> None:
    """Write all that is asked for, and print where; the tables are named whatever comes after."""
    from utils.output.write_outputs import Wanted, write_images, write_tables

    video, per_track = options.video, options.people.per_track
    wanted = Wanted(not video.no_video, video.writes_tree, options.crops, per_track)
    write_tables(found.result, folder, per_track)
    try:
        write_images(found.result, found.span, folder, wanted, found.faces)
    finally:
        print(folder / "result.json")


def read_options(options: VideoOptions) -> "ReadOptions":
    """Return which part of a video is read, and how."""
    from utils.media.container import ReadOptions
    from utils.processor import num_cores

    threads = min(options.n_data_loader_thread, num_cores())
    return ReadOptions(options.start, options.duration, threads, options.audio_track)


def make_speakers(
    video: "VideoInfo",
    models: "Models",
    options: DemoOptions,
    enrolled: "Sequence[EnrolledPerson]" = (),
) -> "ActiveSpeakers":
    """Return the analysis of one video, prepared by the options."""
    import talkNet
    from utils.tracking.shots import read_cuts
    from utils.tracking.track_files import read_boxes

    wanted = options.video
    boxes = read_boxes(wanted.tracks, video.width, video.height) if wanted.tracks else None
    analysis = talkNet.AnalysisOptions(
        read=read_options(wanted),
        shots=options.shots,
        tracks=options.tracks,
        crops=options.crops,
        detect_every=options.detector.every(models.device),
        windows=options.model.window_lengths,
        precision=options.model.precision,
        # An array hears where the video's own sound may be silent.
        score_silence=options.model.score_silence or options.array.array is not None,
        cuts=read_cuts(wanted.cuts) if wanted.cuts else None,
        boxes=boxes,
        enrolled=enrolled,
    )
    return talkNet.ActiveSpeakers(video, models.network, models.detector, analysis, models.embedder)


def evaluate_columbia(options: DemoOptions) -> None:
    """Print and write F1 on Columbia ASD by the published procedure, and with its faults mended."""
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
