"""Find and open the files that TalkSet's lists name: videos and audio files."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from av.stream import Disposition

from utils.media.container import VideoInfo, open_media, probe, sound_stream
from utils.media.orientation import Orientation

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".mpg", ".m4v")
AUDIO_SUFFIXES = (".wav", ".m4a", ".flac", ".mp3", ".aac", ".ogg")
SUBFOLDERS = ("", "mp4", "aac", "wav", "dev/mp4", "dev/aac", "pretrain")  # of the corpora
SILENCE = "silence/"  # prefix of names in the LRS3 lists


def find_media(name: str, roots: Sequence[Path], video: bool) -> Path | None:
    """Return the file of a name in a list, with any suffix; None if missing.

    Args:
        name: As in the list, without @SECONDS.
        roots: Folders of the corpora, searched in this order.
        video: Find a video; else an audio file, or a video if there is none.
    """
    stem = Path(name.removeprefix(SILENCE))
    if stem.is_absolute() or ".." in stem.parts:
        return None
    listed = stem.suffix.lower()
    preferred = (listed,) if listed in VIDEO_SUFFIXES + AUDIO_SUFFIXES else ()
    stem = stem.with_suffix("") if preferred else stem
    allowed = VIDEO_SUFFIXES if video else AUDIO_SUFFIXES + VIDEO_SUFFIXES
    suffixes = [suffix for suffix in (*preferred, *allowed) if suffix in allowed]
    for root in roots:
        for subfolder in SUBFOLDERS:
            for suffix in suffixes:
                path = root / subfolder / stem.with_name(stem.name + suffix)
                if path.is_file():
                    return path
    return None


def probe_audio(path: Path) -> VideoInfo:
    """Return the metadata of a file; for an audio file, what reading it requires."""
    with open_media(path) as container:
        stream = sound_stream(container)
        are_covers = (
            images.disposition & Disposition.attached_pic for images in container.streams.video
        )
        if stream is None or not all(are_covers):
            return probe(path)
        start_s = Fraction((stream.start_time or 0) * (stream.time_base or 0))
        return VideoInfo(
            path=path,
            width=0,
            height=0,
            orientation=Orientation(),
            pixel_aspect=Fraction(1),
            fps=Fraction(25),
            duration_s=0.0,
            start_s=start_s,
            video_start_s=Fraction(0),
            sound_start_s=Fraction(0),
            has_sound=True,
        )
