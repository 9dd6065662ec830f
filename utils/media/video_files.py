"""Find videos in a folder."""

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


def find_named(folder: Path, name: str) -> Path:
    """Return the one video called `name` in a folder, with or without its suffix.

    Of several files that differ by their suffix alone, such as a video and its subtitles, the one
    with the suffix of a video is it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"expected the folder of --videoFolder, found no folder {folder}")
    if (folder / name).is_file():
        return folder / name
    found = sorted(path for path in folder.iterdir() if path.stem == name and path.is_file())
    videos = [path for path in found if path.suffix.lower() in VIDEO_SUFFIXES]
    matches = videos if len(videos) == 1 else found
    if len(matches) != 1:
        names = ", ".join(path.name for path in matches) or "no such file"
        raise FileNotFoundError(
            f"expected one video named {name!r} in {folder}, found: {names}; "
            "give the file itself, or --videoName and --videoFolder"
        )
    return matches[0]
