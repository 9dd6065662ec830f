"""What became of each video: status.jsonl, the summary, the list of those that failed."""

import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from utils.batch.work import Outcome, VideoJob
from utils.files import append_line, read_lines, replacing

MOST_PATHS = 3  # named for each reason of failure


@dataclass
class Tally:
    """How many videos came to what; `failed` has the error of each."""

    done: int = 0
    skipped: int = 0
    failed: dict[Path, str] = field(default_factory=dict)
    video_s: float = 0.0  # of the videos that are done
    seconds: float = 0.0  # that workers spent on them


class StatusLog:
    """A file with one line of JSON for each video that is done, skipped or failed.

    A line is on disk when it is written. A video's last line counts; a video that was done and is
    skipped by a later run keeps its line.
    """

    def __init__(self, path: Path, versions: Mapping[str, str]) -> None:
        """Continue a file or begin one."""
        self.path, self._versions = path, dict(versions)
        self._state = {line["path"]: line["state"] for line in map(json.loads, read_lines(path))}
        self.tally = Tally()

    def add(self, job: VideoJob, outcome: Outcome) -> None:
        """Record the final outcome of a job."""
        if outcome.error:
            self.tally.failed[job.path] = outcome.error
        else:
            self.tally.done += 1
            self.tally.video_s += outcome.video_s
            self.tally.seconds += outcome.seconds
        factor = round(outcome.seconds / outcome.video_s, 4) if outcome.video_s else None
        self._write(
            {
                "path": str(job.path),
                "results": str(job.folder),
                "state": "failed" if outcome.error else "done",
                "seconds": outcome.seconds,
                "video_s": outcome.video_s,
                "real_time_factor": factor,
                "warnings": outcome.warnings,
                "error": outcome.error or None,
                "tries": job.attempt,
                "worker": outcome.worker or None,
                "memory_mb": outcome.memory_mb or None,
                "versions": self._versions,
            }
        )

    def skip(self, path: Path, folder: Path) -> None:
        """Record a video that is done already, unless the file says so."""
        self.tally.skipped += 1
        if self._state.get(str(path)) not in ("done", "skipped"):
            self._write({"path": str(path), "results": str(folder), "state": "skipped"})

    def _write(self, entry: dict[str, object]) -> None:
        self._state[str(entry["path"])] = str(entry["state"])
        entry["time"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        append_line(self.path, json.dumps(entry))


def summarise(tally: Tally) -> list[str]:
    """Return lines that say how many videos came to what, and why those that failed did."""
    speed = ""
    if tally.video_s:
        speed = f" ({tally.seconds / tally.video_s:.2f} s of work for each second of video)"
    lines = [f"{tally.done} done{speed}, {tally.skipped} skipped, {len(tally.failed)} failed"]
    reasons: dict[str, list[Path]] = {}
    for path, error in tally.failed.items():
        reasons.setdefault(_reason(path, error), []).append(path)
    counts = Counter({reason: len(paths) for reason, paths in reasons.items()})
    for reason, count in counts.most_common():
        names = ", ".join(str(path) for path in reasons[reason][:MOST_PATHS])
        more = f" and {count - MOST_PATHS} more" if count > MOST_PATHS else ""
        lines.append(f"  {count} failed: {reason}: {names}{more}")
    return lines


def _reason(path: Path, error: str) -> str:
    """Return an error without what differs between the videos that it strikes."""
    for name in (str(path), path.name):
        error = error.replace(name, "FILE")
    return re.sub(r"\d+(\.\d+)?", "N", error)


def write_failed(path: Path, failed: Sequence[Path]) -> None:
    """Write the videos that failed as a list for `--list`; no file if there are none."""
    if not failed:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as temporary:
        text = "".join(f"{one}\n" for one in failed)
        temporary.write_bytes(text.encode("utf-8", "surrogateescape"))
