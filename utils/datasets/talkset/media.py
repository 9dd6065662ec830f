"""Find and open the files that TalkSet's lists name: videos, and sound alone."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from av.stream import Disposition

from utils.media.container import VideoInfo, open_media, probe, sound_stream
from utils.media.orientation import Orientation

PICTURES = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".mpg", ".m4v")
SOUNDS = (".wav", ".m4a", ".flac", ".mp3", ".aac", ".ogg")
LEADS = ("", "mp4", "aac", "wav", "dev/mp4", "dev/aac", "pretrain")  # folders of the corpora
SILENCE = "silence/"  # before the names of the LRS3 lists


def find_media(name: str, roots: Sequence[Path], pictures: bool) -> Path | None:
    """Return the file that a list means, whatever its suffix there and here; None if there is none.

    Args:
        name: As in the list, without @SECONDS.
        roots: Folders of the corpora, searched in this order.
        pictures: Whether it is to have pictures; else sound alone is preferred.
    """
    stem = Path(name.removeprefix(SILENCE))
    if stem.is_absolute() or ".." in stem.parts:
        return None
    own = (stem.suffix.lower(),) if stem.suffix.lower() in PICTURES + SOUNDS else ()
    stem = stem.with_suffix("") if own else stem
    kinds = PICTURES if pictures else SOUNDS + PICTURES
    suffixes = [suffix for suffix in (*own, *kinds) if suffix in kinds]
    for root in roots:
        for lead in LEADS:
            for suffix in suffixes:
                path = root / lead / stem.with_name(stem.name + suffix)
                if path.is_file():
                    return path
    return None


def probe_sound(path: Path) -> VideoInfo:
    """Return what `probe` does; of a file of sound alone what reading its sound needs."""
    with open_media(path) as container:
        sound = sound_stream(container)
        covers = (
            stream.disposition & Disposition.attached_pic for stream in container.streams.video
        )
        if sound is None or not all(covers):
            return probe(path)
        start_s = Fraction((sound.start_time or 0) * (sound.time_base or 0))
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
