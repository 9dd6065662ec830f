"""Time and memory of the whole command: python -m benchmarks.command --minutes 10 60.

Runs demoTalkNet.py including start-up on the demo clip (720p, two faces), looped to length, and
times its stages. Missing weights are replaced by random ones, which take the same time.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import av

from benchmarks.measure import report

if TYPE_CHECKING:
    from model.contract import FaceDetector
    from utils.media.container import VideoInfo

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "demo" / "001.mp4"
MEASURE = """
import resource, subprocess, sys, time
start = time.perf_counter()
status = subprocess.call(sys.argv[1:])
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def loop_clip(path: Path, seconds: float) -> None:
    """Loop the demo clip to `seconds` by copying its packets."""
    with av.open(str(CLIP)) as source, av.open(str(path), "w") as target:
        streams = {
            stream.index: target.add_stream_from_template(stream)
            for stream in (source.streams.video[0], source.streams.audio[0])
        }
        length_s = Fraction(source.duration or 0, av.time_base)
        reached = dict.fromkeys(streams, -(2**62))
        for turn in count():
            if turn * length_s >= seconds:
                return
            source.seek(0)
            for packet in source.demux(*streams):
                if packet.dts is None or packet.pts is None or packet.time_base is None:
                    continue
                shift = round(turn * length_s / packet.time_base)
                late = (packet.pts + shift) * packet.time_base >= seconds
                if late or packet.dts + shift <= reached[packet.stream_index]:
                    continue  # the audio starts slightly before the video
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                reached[packet.stream_index] = packet.dts
                packet.stream = streams[packet.stream_index]
                target.mux(packet)


def run_command(arguments: Iterable[str]) -> tuple[float, float]:
    """Run demoTalkNet.py; return its wall time in s and its peak memory in MB.

    A small process starts and measures it: the peak memory of a child includes that of the process
    it was forked from.
    """
    command = [sys.executable, str(ROOT / "demoTalkNet.py"), *arguments]
    done = subprocess.run(
        [sys.executable, "-S", "-c", MEASURE, *command], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"demoTalkNet.py failed: {done.stderr[-800:]}")
    wall_s, peak_kb = done.stdout.split()[-2:]
    return float(wall_s), int(peak_kb) / 1024


def weights_of(name: str, folder: Path) -> list[str]:
    """Return the flags that load a network, with random weights if it has none."""
    import torch

    from model.checkpoints.build import build_network
    from model.checkpoints.registry import default_checkpoint, find_weights

    if find_weights(default_checkpoint(name).name):
        return ["--model", name]
    path = folder / f"{name}.model"
    if not path.exists():
        torch.manual_seed(0)
        torch.save(build_network(name).state_dict(), path)
    return ["--model", name, "--pretrainModel", str(path)]


def time_commands(folder: Path, repeats: int) -> list[dict[str, object]]:
    """Return the real-time factor of the whole command for each network and length."""
    rows: list[dict[str, object]] = []
    for seconds in (20, 60):
        clip = folder / f"{seconds}s.mp4"
        loop_clip(clip, seconds)
        for name in ("talknet", "lr_asd", "light_asd"):
            for more in ([], ["--noVideo"]):
                flags = [str(clip), *weights_of(name, folder), "--outputFolder", str(folder), *more]
                runs = [run_command(flags) for _ in range(repeats)]
                wall_s = statistics.median(run[0] for run in runs)
                rows.append(
                    {
                        "video_s": seconds,
                        "network": name,
                        "marked video": "no" if more else "yes",
                        "wall_s": wall_s,
                        "real-time factor": wall_s / seconds,
                        "peak_MB": max(run[1] for run in runs),
                    }
                )
    return rows


def time_stages(folder: Path) -> list[dict[str, object]]:
    """Return the time of each stage on 20 s: that of the pipeline up to it, less that before it."""
    import talkNet
    from utils.media.container import ReadOptions
    from utils.output.render import render_video

    clip = folder / "20s.mp4"
    loop_clip(clip, 20)
    video, read = talkNet.probe(clip), ReadOptions()
    detector = talkNet.load_detector("yunet")
    rows: list[dict[str, object]] = []
    before_s = 0.0
    num_crops = 0
    for name, stage in make_stages(video, detector).items():
        start = time.perf_counter()
        num_crops = count_crops(stage())
        taken_s = time.perf_counter() - start
        rows.append({"stage": name, "s": taken_s - before_s})
        before_s = taken_s
    for name in ("talknet", "lr_asd", "light_asd"):
        flags = weights_of(name, folder)
        network = talkNet.load_network(name, flags[3] if len(flags) > 2 else None)
        start = time.perf_counter()
        result = talkNet.detect_active_speakers(clip, network, detector)
        taken_s = time.perf_counter() - start - before_s
        rows.append({"stage": f"{name}, {num_crops} face-frames", "s": taken_s})
    start = time.perf_counter()
    render_video(video, result.tracks, folder / "marked.mp4", read)
    rows.append({"stage": "marked video", "s": time.perf_counter() - start})
    return rows


def make_stages(
    video: "VideoInfo", detector: "FaceDetector"
) -> dict[str, Callable[[], Iterable[object]]]:
    """Return the stages before scoring by name; each runs all stages before it."""
    from model.detection import detect_faces
    from utils.media.container import ReadOptions
    from utils.media.video import read_frames
    from utils.structures import CropPiece, Frame, Shot
    from utils.tracking.crops import CropOptions, crop_faces
    from utils.tracking.greedy_tracker import GreedyTracker, TrackOptions
    from utils.tracking.shots import ShotOptions, mark_shots

    size = detector.image_size(video.width, video.height)

    def frames() -> Iterator[Frame]:
        return read_frames(video, size, ReadOptions())

    def shots() -> Iterator[Frame]:
        return mark_shots(frames(), ShotOptions())

    def faces() -> Iterator[Frame]:
        return detect_faces(shots(), detector, 2)

    def crops() -> Iterator[CropPiece | Shot]:
        return crop_faces(faces(), GreedyTracker(TrackOptions(), 2), CropOptions())

    return {
        "decode and scale": frames,
        "cuts": shots,
        "faces (yunet, every 2nd frame)": faces,
        "tracks and crops": crops,
    }


def count_crops(items: Iterable[object]) -> int:
    """Exhaust a stage without keeping its output; count the crops."""
    return sum(len(getattr(item, "crops", ())) for item in items)


def measure_memory(folder: Path, minutes: Iterable[int]) -> list[dict[str, object]]:
    """Return the peak memory on long videos."""
    rows: list[dict[str, object]] = []
    for length in minutes:
        clip = folder / f"{length}min.mp4"
        loop_clip(clip, 60 * length)
        flags = [str(clip), *weights_of("lr_asd", folder), "--outputFolder", str(folder)]
        for shown, more in (("no", ["--noVideo"]), ("yes", [])):
            wall_s, peak_mb = run_command([*flags, *more])
            row = {"minutes": length, "marked video": shown, "peak_MB": peak_mb}
            rows.append(row | {"real-time factor": wall_s / 60 / length})
            report(rows[-1:], None)
        clip.unlink()
    return rows


def main() -> None:
    """Parse the command line, measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--minutes", type=int, nargs="*", default=[], help="measure memory too")
    parser.add_argument("--skipCommands", action="store_true", help="only stages and memory")
    parser.add_argument("--json", type=Path, help="folder to write the tables to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables: dict[str, Callable[[], list[dict[str, object]]]] = {
            "stages": lambda: time_stages(folder),
            "commands": lambda: time_commands(folder, options.repeats),
            "memory": lambda: measure_memory(folder, options.minutes),
        }
        for title, make in tables.items():
            if (title == "commands" and options.skipCommands) or (
                title == "memory" and not options.minutes
            ):
                continue
            rows = make()
            print(f"\n{title}")
            report(rows, options.json / f"{title}.json" if options.json else None)


if __name__ == "__main__":
    main()
