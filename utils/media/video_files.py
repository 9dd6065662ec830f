"""Find the videos in a folder."""

from pathlib import Path

VIDEO_SUFFIXES = (".mkv", ".mp4", ".webm", ".avi", ".mov")


def find_videos(folder: Path) -> dict[str, Path]:
    """Return the videos in a folder by name without suffix."""
    if not folder.is_dir():
        return {}
    return {
        path.stem: path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")
    }
