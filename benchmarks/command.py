"""Time and memory of the whole command: python -m benchmarks.command --minutes 10 60.

Runs demoTalkNet.py including start-up on a clip, by default the demo clip (720p, two faces), looped
to length, in turn with a plain transcode of the same clip: decoding and x264 at its "veryfast"
preset. The ratio of the two compares runs on one kind of processor, whatever its load. Missing
weights are replaced by random ones, which take the same time. Stages are timed by
`benchmarks.profile`.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from itertools import count
from pathlib import Path

import av

from benchmarks.measure import measure, report

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "demo" / "001.mp4"
NO_VIDEO = ", no marked video"
MEASURE = """
import resource, subprocess, sys, time
start = time.perf_counter()
status = subprocess.call(sys.argv[1:])
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def loop_clip(path: Path, seconds: float, clip: Path = CLIP) -> None:
    """Loop a clip to `seconds` by copying its packets."""
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
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


def transcode(path: Path, folder: Path) -> None:
    """Decode a video and encode it again, without its audio: the yardstick."""
    with av.open(str(path)) as source, av.open(str(folder / "transcoded.mp4"), "w") as target:
        stream = source.streams.video[0]
        stream.thread_type = "AUTO"
        rate = stream.average_rate or Fraction(25)
        encoder = target.add_stream("libx264", rate, options={"preset": "veryfast", "crf": "20"})
        encoder.width, encoder.height, encoder.pix_fmt = stream.width, stream.height, "yuv420p"
        for number, frame in enumerate(source.decode(stream)):
            frame.pts, frame.time_base = number, 1 / rate  # a looped clip has gaps
            frame.pict_type = av.video.frame.PictureType.NONE
            target.mux(encoder.encode(frame))
        target.mux(encoder.encode(None))


def time_commands(
    source: Path, folder: Path, seconds: Sequence[int], networks: Sequence[str], repeats: int
) -> list[dict[str, object]]:
    """Return the time of the whole command for each length and network, relative to a transcode."""
    rows: list[dict[str, object]] = []
    for length in seconds:
        clip = folder / f"{length}s.mp4"
        loop_clip(clip, length, source)
        calls: dict[str, Callable[[], object]] = {"transcode": partial(transcode, clip, folder)}
        peaks: dict[str, list[float]] = defaultdict(list)
        for name in networks:
            for shown, more in (("", []), (NO_VIDEO, ["--noVideo"])):
                flags = [str(clip), *weights_of(name, folder), "--outputFolder", str(folder)]
                calls[name + shown] = partial(_run_and_keep, [*flags, *more], peaks[name + shown])
        times = measure(calls, repeats)
        rows += [
            {
                "video_s": length,
                "what": what,
                "times a transcode": taken / times["transcode"],
                "real-time factor": taken / length,
                "peak_MB": max(peaks[what], default=""),
            }
            for what, taken in times.items()
        ]
    return rows


def _run_and_keep(flags: Sequence[str], peaks: list[float]) -> None:
    peaks.append(run_command(flags)[1])


def time_two_at_once(
    source: Path, folder: Path, name: str, repeats: int
) -> list[dict[str, object]]:
    """Return how long two commands take at once, relative to one alone."""
    clip = folder / "20s.mp4"
    loop_clip(clip, 20, source)
    flags = [str(clip), *weights_of(name, folder), "--outputFolder"]

    def both() -> None:
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(run_command, [*flags, str(folder / x)]) for x in "ab"]:
                done.result()

    times = measure({"one": partial(run_command, [*flags, str(folder)]), "two": both}, repeats)
    return [{"network": name, "two at once, times one": times["two"] / times["one"]}]


def measure_memory(source: Path, folder: Path, minutes: Iterable[int]) -> list[dict[str, object]]:
    """Return the peak memory on long videos."""
    rows: list[dict[str, object]] = []
    for length in minutes:
        clip = folder / f"{length}min.mp4"
        loop_clip(clip, 60 * length, source)
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
    parser.add_argument("--clip", type=Path, default=CLIP, help="clip to loop (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=int, nargs="*", default=[20, 60], help="lengths of video")
    parser.add_argument("--networks", nargs="+", default=["lr_asd", "talknet", "synchrony"])
    parser.add_argument("--minutes", type=int, nargs="*", default=[], help="measure memory too")
    parser.add_argument("--json", type=Path, help="folder to write the tables to")
    options = parser.parse_args()
    clip, networks, repeats = options.clip, options.networks, options.repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables: dict[str, Callable[[], list[dict[str, object]]]] = {}
        if options.seconds:
            commands = partial(time_commands, clip, folder, options.seconds, networks, repeats)
            both = partial(time_two_at_once, clip, folder, networks[0], repeats)
            tables |= {"commands": commands, "two at once": both}
        if options.minutes:
            tables["memory"] = partial(measure_memory, clip, folder, options.minutes)
        for title, make in tables.items():
            rows = make()
            print(f"\n{title}")
            report(rows, options.json / f"{title.replace(' ', '_')}.json" if options.json else None)


if __name__ == "__main__":
    main()
