"""The Columbia data set: video of a panel discussion, with speaker labels.

Layout of the folder, as published: `col.mp4` (or another container) and
`col_labels/fusion/NAME.txt`, one file for each labelled person.
"""

import heapq
import importlib.util
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.stream import Stream

from utils import downloads
from utils.errors import ResourceError, UserError
from utils.files import publish, replacing
from utils.metrics.columbia import SPEAKERS, SpeakerLabels

VIDEO_ADDRESS = "https://www.youtube.com/watch?v=6GzxbrO0DHM"
LABELS_ADDRESS = "gdrive:1Tto5JBt6NsEOLFRWzyZEeV6kCCddc6wv"
CONTAINERS = frozenset({".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".flv", ".ts"})
# Published: the best single file. This used to be 720p and is now 360p, so the video and audio
# streams are downloaded separately and joined unless a single file has 720p.
FORMATS = "b[height>=720]/(bv[height<=720][vcodec^=avc],ba[ext=m4a])/b"
PROGRESS_MARK = "progress:"
MAX_LABEL_BYTES = 50_000_000

Progress = Callable[[str, int, int | None], None]  # name, bytes so far, total bytes if known


def download(
    folder: Path,
    progress: Progress,
    video_address: str = VIDEO_ADDRESS,
    labels_address: str = LABELS_ADDRESS,
) -> None:
    """Download missing files; existing files are checked and kept.

    Interrupted downloads are resumed. Raises ResourceError if a program or the network is not
    available, UserError if a file is invalid.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not all(labels_path(folder, name).is_file() for name in SPEAKERS):
        download_labels(folder, labels_address, progress)
    read_labels(folder)
    if list_videos(folder):
        check_video(find_video(folder))
    else:
        download_video(folder, video_address, progress)


def list_videos(folder: Path) -> list[Path]:
    """Return the video files in the folder that are named `col`."""
    files = (path for path in folder.glob("col.*") if path.suffix.lower() in CONTAINERS)
    return sorted(path for path in files if path.is_file())


def find_video(folder: Path) -> Path:
    """Return the only video in the folder that is named `col`."""
    found = list_videos(folder)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise FileNotFoundError(
            f"expected exactly one video named col.mp4 (or .mkv, .avi, ...) in {folder}, "
            f"found: {names}"
        )
    return found[0]


def check_video(path: Path) -> None:
    """Raise UserError unless the file can be opened and has video and audio."""
    try:
        with av.open(str(path)) as container:
            missing = "audio" if container.streams.video else "video"
            complete = bool(container.streams.video and container.streams.audio)
    except av.FFmpegError as error:
        raise UserError(
            f"{path} is not a readable video ({error.strerror}); remove it and try again"
        ) from error
    if not complete:
        raise UserError(
            f"{path}: expected video and audio, found no {missing}; remove it and try again"
        )


def download_video(folder: Path, address: str, progress: Progress) -> Path:
    """Download the video with yt-dlp and return its path; incomplete files are in `col.parts`."""
    if importlib.util.find_spec("yt_dlp") is None:
        raise ResourceError(
            "downloading the Columbia video requires yt-dlp: pip install 'yt-dlp[default]'; "
            f"or save the video of {address} in {folder} as col.mp4"
        )
    parts = folder / "col.parts"
    parts.mkdir(exist_ok=True)
    files = run_yt_dlp(parts, address, progress)
    if len(files) == 1:
        path = folder / f"col{files[0].suffix}"
        check_video(files[0])
        publish(files[0], path)
    else:
        path = folder / "col.mp4"
        with replacing(path) as temporary:
            join_streams(files, temporary)
            check_video(temporary)
    for part in parts.iterdir():
        part.unlink()
    parts.rmdir()
    return path


def run_yt_dlp(parts: Path, address: str, progress: Progress) -> list[Path]:
    """Download the chosen formats to `parts` and return the files.

    The user's configuration of yt-dlp applies.
    """
    report = "%(progress.downloaded_bytes)s %(progress.total_bytes,progress.total_bytes_estimate)s"
    command = [sys.executable, "-m", "yt_dlp", "--no-playlist", "--newline", "--progress"]
    command += ["--format", FORMATS, "--output", "%(format_id)s.%(ext)s"]
    command += ["--progress-template", f"download:{PROGRESS_MARK}{report}"]
    command += ["--print", "after_move:filepath", "--", address]
    files = []
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        with subprocess.Popen(
            # the name template is relative, so % and $ in the folder's path need no escaping
            command,
            cwd=parts,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            errors="replace",
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if line.startswith(PROGRESS_MARK):
                        report_progress(line, progress)
                    elif line.strip():
                        files.append(parts / line.rstrip("\n"))
            except BaseException:
                process.terminate()
                raise
        errors.seek(0)
        log = errors.read()
    if process.returncode != 0 or not files:
        raise ResourceError(
            f"yt-dlp could not download {address}: {last_error(log)}; update it "
            f"(pip install -U 'yt-dlp[default]') or save the video in {parts.parent} as col.mp4"
        )
    return files


def report_progress(line: str, progress: Progress) -> None:
    """Report a progress line of yt-dlp: bytes so far and total bytes, or NA."""
    done, total = line.removeprefix(PROGRESS_MARK).split()[:2]
    if done.isdigit():
        total = total.split(".")[0]
        progress("video", int(done), int(total) if total.isdigit() else None)


def last_error(text: str) -> str:
    """Return the last error that yt-dlp printed, else its last line, without causes."""
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no reason given"])[-1].split(" (caused by ")[0]


def join_streams(files: Iterable[Path], path: Path) -> None:
    """Multiplex the only stream of each file into one file without encoding them again."""
    with ExitStack() as stack:
        sources = [stack.enter_context(av.open(str(file))) for file in files]
        target = stack.enter_context(av.open(str(path), "w"))
        copies = [target.add_stream_from_template(source.streams[0]) for source in sources]
        timed = [timed_packets(*pair) for pair in zip(sources, copies, strict=True)]
        for _, _, packet in heapq.merge(*timed, key=lambda item: item[:2]):
            target.mux(packet)


def timed_packets(source: InputContainer, copy: Stream) -> Iterator[tuple[float, int, av.Packet]]:
    """Yield time in seconds, index of the output stream and packet for a file's first stream."""
    for packet in source.demux(source.streams[0]):
        if packet.dts is not None:  # demuxing ends with an empty packet
            packet.stream = copy
            yield float(packet.dts * packet.time_base), copy.index, packet


def download_labels(folder: Path, address: str, progress: Progress) -> None:
    """Download the archive of labels if missing, and extract the files that are used."""
    archive = folder / "col_labels.tar.gz"
    if not archive.is_file():
        try:
            downloads.download(
                [address],
                archive,
                downloads.Expected(),
                lambda done, total: progress("labels", done, total),
            )
        except ResourceError as error:
            raise ResourceError(f"{error}; or save {archive.name} in {folder}") from error
    unpack_labels(archive, folder)


def unpack_labels(archive: Path, folder: Path) -> None:
    """Extract the six label files; everything else in the archive is ignored."""
    names = {f"fusion/{name}.txt": name for name in SPEAKERS}
    contents = {}
    try:
        with tarfile.open(archive, "r:gz") as members:
            for member in members:
                name = names.get("/".join(member.name.split("/")[-2:]))
                if name and member.isfile() and member.size <= MAX_LABEL_BYTES:
                    file = members.extractfile(member)
                    assert file is not None
                    contents[name] = file.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise UserError(
            f"{archive} is not a complete .tar.gz archive ({error}); remove it and try again"
        ) from error
    missing = [file for file, name in names.items() if name not in contents]
    if missing:
        raise UserError(f"{archive} lacks {', '.join(missing)}; remove it and try again")
    for name, content in contents.items():
        with replacing(labels_path(folder, name)) as temporary:
            temporary.write_bytes(content)


def labels_path(folder: Path, name: str) -> Path:
    """Return the path of a person's labels."""
    return folder / "col_labels" / "fusion" / f"{name}.txt"


def read_labels(folder: Path) -> dict[str, SpeakerLabels]:
    """Read the labels of all speakers; errors name the file and line."""
    return {name: read_speaker(labels_path(folder, name)) for name in SPEAKERS}


def read_speaker(path: Path) -> SpeakerLabels:
    """Read lines of frame number, left, top, side and label (0 or 1), tab-separated."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}; the labels are col_labels/fusion/NAME.txt")
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            frame, *square, label = (float(field) for field in line.split())
            valid = frame >= 0 and frame.is_integer() and label in (0, 1)
            if not (valid and len(square) == 3 and np.isfinite(square).all() and square[2] > 0):
                raise UserError("out of range")
        except ValueError as error:
            raise UserError(
                f"{path}, line {number}: expected frame, x, y, side and label (0 or 1), "
                f"found {line.decode('utf-8', 'replace')!r}"
            ) from error
        rows.append((frame, *square, label))
    if not rows:
        raise UserError(f"{path}: expected labels, found none")
    table = np.array(rows, np.float64)
    return SpeakerLabels(table[:, 0].astype(np.int64), table[:, 1:4], table[:, 4] == 1)
