"""Find who speaks in a video: speaking faces get a green box, others a red one.

python demoTalkNet.py --videoName 001 --videoFolder demo
python demoTalkNet.py /some/where/*.mp4 --outputFolder results
python demoTalkNet.py demo/001/result.json --edits edits.json
python demoTalkNet.py /some/archive --outputFolder results
python demoTalkNet.py --serve
"""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model.names import detector_names, embedder_names, network_names
from utils import flags
from utils.batch.listing import names_many
from utils.batch.options import BatchOptions
from utils.commands import ErrorReport, add_debug, exit_status, wrong_usage
from utils.demo_options import ESSENTIAL, DemoOptions
from utils.errors import UserError
from utils.files import check_folder, replacing
from utils.flags import add_flags, add_groups, read_flags, read_groups
from utils.processor import release_memory, share_memory, use_cores
from utils.progress import bar, byte_bar
from utils.server.options import ServeOptions

if TYPE_CHECKING:
    from talkNet import ActiveSpeakers, Models, Result
    from utils.media.container import VideoInfo
    from utils.output.write_outputs import ImageOutputs
    from utils.report.outputs import Found
    from utils.structures import Detections, Frame

logger = logging.getLogger("demoTalkNet")

ADVICE = "fix this, or choose another folder with --outputFolder"  # if a file cannot be written


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, analyse the videos, return the exit status."""
    parser = make_parser()
    parsed = parser.parse_args(arguments)
    with wrong_usage(parser):
        options = read_groups(parsed, DemoOptions)
        batch, serve = read_flags(parsed, BatchOptions), read_flags(parsed, ServeOptions)
    if parsed.videos and (options.video.eval_col or serve.serve):
        flag = "--serve" if serve.serve else "--evalCol"
        parser.error(f"{flag} has its own videos; leave out the files")
    for flag, given in (("tracks", options.video.tracks), ("array", options.array.array)):
        if given and (len(parsed.videos) > 1 or serve.serve):
            parser.error(f"--{flag} belongs to one video; give one file")
    use_cores(options.video.threads)
    share_memory()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    report = ErrorReport(ADVICE, folder=options.video.output_folder, debug=parsed.debug)
    action = partial(act, parsed.videos, options, report)
    videos = [path for path in parsed.videos if not is_result(path)]
    import demoTalkNet  # the name by which workers import these functions

    if serve.serve:
        from utils.server.command import run_serve

        steps = demoTalkNet.load_models, demoTalkNet.analyse
        action = partial(run_serve, serve, options, steps, ("auto", *network_names()))
    elif batch.given or names_many(videos, options.video.output_folder):
        from utils.batch.command import run_demo

        functions = demoTalkNet.load_models, demoTalkNet.make_outputs
        words = sys.argv[1:] if arguments is None else arguments
        action = partial(run_demo, parsed.videos, batch, options, functions, words)
    return exit_status(action, report, "no incomplete files are left")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all flags."""
    parser = flags.make_parser(__doc__, ESSENTIAL)
    parser.add_argument(
        "videos", nargs="*", type=Path, help="files, folders, patterns (default: --videoName)"
    )
    names = {"model": network_names(), "detector": detector_names()}
    names["embedder"] = (*embedder_names(), "none")
    add_groups(parser, DemoOptions, {field: ("auto", *found) for field, found in names.items()})
    add_flags(parser, BatchOptions, "many videos")
    add_flags(parser, ServeOptions, "local page")
    add_debug(parser)
    return parser


def act(paths: Sequence[Path], options: DemoOptions, report: ErrorReport) -> int:
    """Run the command; return the exit status."""
    if options.video.eval_col:
        evaluate_columbia(options)
        return 0
    from utils.media.video_files import find_named

    paths = paths or [find_named(options.video.video_folder, options.video.video_name)]
    results = [path for path in paths if is_result(path)]
    videos = [path for path in paths if not is_result(path)]
    if videos and (options.report.edits or options.report.video):
        raise UserError("--edits and --video belong to a finished result; give its result.json")
    status = 0
    if results:
        from utils.report.finished import write_all_finished

        folder, outputs = options.video.output_folder, image_outputs(options)
        status = write_all_finished(results, folder, outputs, options.report, report)
    return max(status, analyse_all(videos, options, report) if videos else 0)


def is_result(path: Path) -> bool:
    """Tell whether an argument is a finished result instead of a video."""
    return path.suffix.lower() == ".json"


def analyse_all(paths: Sequence[Path], options: DemoOptions, report: ErrorReport) -> int:
    """Analyse videos one by one, continuing after one that fails; return the exit status.

    The models are loaded once, before the first video; if that fails, the command stops.
    """
    options.video.check_apart(paths)
    from utils.media.audio_streams.choice import choose_sound
    from utils.media.container import probe
    from utils.media.source_frames import check_span

    models: Models | None = None
    failed = 0
    for path in paths:
        if models is not None:
            release_memory()  # of the video before
        of_video = replace(report, subject=path.name, folder=options.video.results_of(path))
        with of_video:
            video = probe(path)
            choose_sound(video, options.video.audio_track)  # fails before anything is written
            if options.video.start:
                check_span(video, options.video.read_options())
            folder = options.video.make_results_folder(path)
        if not of_video.failed:
            models = models or load_models(options)
            with of_video:
                make_outputs(video, folder, models, options)
        failed += of_video.failed
    return int(failed > 0)


def make_outputs(
    video: "VideoInfo", folder: Path, models: "Models", options: DemoOptions
) -> "Result":
    """Analyse one video and write all requested outputs into its folder."""
    found = analyse(video, models, options)
    write_all(found, folder, options)
    logger.info("%s: %s", video.path.name, found.result.summary())
    return found.result


def load_models(options: DemoOptions) -> "Models":
    """Load the network and the detector; log which and why."""
    import talkNet
    from model.enrolment import read_known

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
    return replace(models, names=read_known(options.people.people, models, options.detector))


def analyse(
    video: "VideoInfo",
    models: "Models",
    options: DemoOptions,
    watch: Callable[[float, int], None] = lambda *_: None,
) -> "Found":
    """Find the speakers of one video; `watch` is given the time reached, s, and faces so far."""
    import talkNet
    from model.enrolment import complete
    from utils.report.outputs import Found

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
            advance(done_s := (frame.index + 1) / talkNet.FPS - start_s)
            watch(done_s, len(speakers.tracks) + len(speakers.open_tracks))
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
    if heard is not None:
        from utils.arrays.fusion import fuse_tracks

        fused = fuse_tracks(result.tracks, video.width, heard, options.fusion)
        result = replace(result, tracks=fused)
    result = complete(result, speakers, options.people, models.names)
    for warning in result.warnings:
        logger.warning("%s: %s", video.path.name, warning)
    return Found(result, speakers.span, faces)


def write_all(found: "Found", folder: Path, options: DemoOptions) -> None:
    """Write all requested outputs; print the path of the result even if the video fails."""
    from utils.report.outputs import write_outputs

    found.result.write_json(folder / "result.json")
    try:
        write_outputs(found, folder, image_outputs(options), options.report)
    finally:
        print(folder / "result.json")


def image_outputs(options: DemoOptions) -> "ImageOutputs":
    """Return which outputs with images are written."""
    from utils.output.write_outputs import ImageOutputs

    video, per_track = options.video, options.people.per_track
    return ImageOutputs(
        not video.no_video, video.writes_tree, options.crops, per_track, video.encoder
    )


def make_speakers(video: "VideoInfo", models: "Models", options: DemoOptions) -> "ActiveSpeakers":
    """Return the analysis of one video, not yet started."""
    import talkNet
    from utils.tracking.shots import read_cuts
    from utils.tracking.track_files import read_boxes

    tracks, cuts = options.video.tracks, options.video.cuts
    boxes = read_boxes(tracks, video.width, video.height) if tracks else None
    analysis = talkNet.AnalysisOptions(
        read=options.video.read_options(),
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
        enrolled=models.names.enrolled,
    )
    return talkNet.ActiveSpeakers(video, models.network, models.detector, analysis, models.embedder)


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
