"""Write report.html: the files of utils/report/page/ and a result, in one file."""

import base64
import json
from html import escape
from pathlib import Path
from typing import IO

from utils.files import replacing
from utils.output.results import Result
from utils.report.edits import Edits
from utils.report.page_data import page_head, page_tracks
from utils.report.page_video import PageVideo

PAGE = Path(__file__).parent / "page"
NAME = "report.html"
# In the order in which they use each other; main.js starts the page.
SCRIPTS = (
    *("format", "speech_rule", "edits", "exports", "model", "address", "player"),
    *("overlay", "lane_canvas", "menus", "corrections", "names", "lane_drop", "lane_pointer"),
    *("lanes", "selection", "panel", "keys"),
    "main",
)
PART_BYTES = 3 * 2**20  # of an embedded video, a multiple of 3: parts of base64 need no padding


def write_report(
    result: Result, folder: Path, video: PageVideo, edits: Edits, *, embed: bool = False
) -> None:
    """Write the page that shows a result and the edits made on it.

    Args:
        result: As analysed, without the edits.
        folder: Where the page goes; the video is referred to relative to it.
        video: What the page plays.
        edits: Shown as applied; the page can undo them.
        embed: Put the video into the page.
    """
    template = (PAGE / "report.html").read_text(encoding="utf-8")
    with replacing(folder / NAME) as temporary, temporary.open("w", encoding="utf-8") as file:
        for piece in template.split("<!--"):
            name, _, rest = piece.partition("-->")
            if name == "TITLE":
                file.write(escape(Path(result.video.path).name.encode(errors="replace").decode()))
            elif name == "STYLE":
                file.write(f"<style>\n{_text('report.css')}</style>")
            elif name == "DATA":
                _write_data(file, result, video, folder, edits)
            elif name == "VIDEO":
                _write_video(file, video if embed else None)
            elif name == "SCRIPTS":
                for script in SCRIPTS:
                    file.write(f"<script>\n{_text(f'{script}.js')}</script>\n")
            else:
                file.write(piece)
                continue
            file.write(rest)


def _text(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _json(part: object) -> str:
    """Return JSON on one line that neither ends a script element nor opens a comment in it."""
    text = json.dumps(part, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _write_data(
    file: IO[str], result: Result, video: PageVideo, folder: Path, edits: Edits
) -> None:
    """Write the result, with one line for each track."""
    file.write('<script type="application/json" id="result">\n')
    head = _json(page_head(result, video, folder, edits))
    file.write(f'{head[:-1]},\n"tracks":[')
    for number, track in enumerate(page_tracks(result)):
        file.write((",\n" if number else "\n") + _json(track))
    file.write("\n]}\n</script>")


def _write_video(file: IO[str], video: PageVideo | None) -> None:
    """Write the video in parts that the page can decode one after the other."""
    if video is None:
        return
    with video.path.open("rb") as source:
        while part := source.read(PART_BYTES):
            text = base64.b64encode(part).decode("ascii")
            file.write(f'<script type="text/plain" class="video-part">{text}</script>\n')
