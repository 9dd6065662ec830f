"""Choose the video that a report plays: one that browsers can decode."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from utils.media.container import open_media, sound_stream, video_stream
from utils.media.video import VideoSpan
from utils.output.write_outputs import MARKED, PROXY
from utils.report.options import ReportOptions

MIME = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm"}
CODECS = {  # by MIME type; None is a video without audio
    "video/mp4": ({"h264"}, {"aac", "mp3", None}),
    "video/webm": ({"vp8", "vp9", "av1", "libdav1d"}, {"opus", "vorbis", None}),
}
PIXELS = {"yuv420p", "yuvj420p"}  # 8 bits, 4:2:0: what every browser decodes


@dataclass(frozen=True)
class PageVideo:
    """The video that the page plays."""

    kind: Literal["source", "proxy", "marked"]
    path: Path
    start_s: float = 0.0  # of the file on the result's clock
    playable: bool = True  # in all common browsers

    @property
    def mime(self) -> str:
        """The type to declare, as far as the suffix tells it."""
        return MIME.get(self.path.suffix.lower(), "")

    def address(self, folder: Path) -> str:
        """Return the relative URL of the file for a page in `folder`."""
        try:
            relative = os.path.relpath(self.path.absolute(), folder.absolute())
        except ValueError:  # on another drive
            return self.path.absolute().as_uri()
        return quote(Path(relative).as_posix().encode("utf-8", "surrogateescape"))


def choose_page_video(
    span: VideoSpan, folder: Path, marked: bool, options: ReportOptions
) -> PageVideo:
    """Return the video that the report of a result plays; the file may be yet to be written.

    Args:
        span: The part of the source that was analysed.
        folder: Of the results.
        marked: Whether the marked video is written.
        options: Whether a proxy may be written.
    """
    source = span.video.path
    if is_playable(source):
        return PageVideo("source", source)
    start_s = span.options.start_s
    if options.proxy:
        return PageVideo("proxy", folder / PROXY, start_s)
    if marked or (folder / MARKED).is_file():
        return PageVideo("marked", folder / MARKED, start_s)
    return PageVideo("source", source, playable=False)


def is_playable(path: Path) -> bool:
    """Tell whether all common browsers play a file: H.264 and AAC in MP4, or WebM."""
    mime = MIME.get(path.suffix.lower())
    if mime is None:
        return False
    with open_media(path) as container:
        video, sound = video_stream(container, path), sound_stream(container)
        codecs, sounds = CODECS[mime]
        return (
            video.codec_context.name in codecs
            and video.pix_fmt in PIXELS
            and (sound.codec_context.name if sound else None) in sounds
        )
