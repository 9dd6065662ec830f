"""Download the official labels of AVA-ActiveSpeaker."""

import hashlib
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from utils import downloads
from utils.datasets.ava.dataset import AvaFolder
from utils.datasets.ava.options import AVA_LABELS, AVA_MOVIES
from utils.datasets.ava.tables import merge_tables
from utils.errors import ResourceError, UserError

LABELS_MD5 = {
    "train": "0e6ebaacfb3a554199e319e0c26a1ec0",
    "val": "c00210f1d62caaf32759afb92b4562cc",
}

Progress = Callable[[str, int, int | None], None]  # file, bytes so far, total bytes if known


@dataclass(frozen=True)
class AvaMirrors:
    """Addresses and checksums of the downloads."""

    movies: str = AVA_MOVIES
    labels: str = AVA_LABELS
    labels_md5: Mapping[str, str] = field(default_factory=lambda: LABELS_MD5)  # by split

    def archive(self, split: str) -> str:
        """Return the address of a split's labels."""
        return f"{self.labels}/ava_activespeaker_{split}_v1.0.tar.bz2"


def download_labels(folder: AvaFolder, split: str, sources: AvaMirrors, progress: Progress) -> int:
    """Download a split's official labels and write its table; return the number of its rows."""
    if split not in LABELS_MD5:
        raise UserError(
            f"the labels of {split} are not public; save its table of faces as "
            f"{folder.labels(split)}"
        )
    address = sources.archive(split)
    archive = folder.root / "csv" / address.rpartition("/")[2]
    existed = archive.is_file()  # saved by the user or an earlier call: never removed
    if not existed:
        downloads.download(
            [address], archive, downloads.Expected(), file_progress(progress, archive)
        )
    expected = sources.labels_md5.get(split)
    found = md5_of(archive)
    if expected and found != expected:
        raise ResourceError(
            f"{_reject(archive, existed, address)}: expected MD5 {expected}, got {found}; run "
            "again, or use --anyLabels to accept other labels"
        )
    try:
        tables = _read_archive(archive)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise ResourceError(
            f"{_reject(archive, existed, address)}: expected an archive of tables: {error}"
        ) from error
    return merge_tables(tables, folder.labels(split))


def _reject(archive: Path, existed: bool, address: str) -> str:
    """Remove an archive that was just downloaded; return its name for an error message."""
    if existed:
        return f"{archive}, which existed (remove it to download it again)"
    archive.unlink()
    return address


def _read_archive(path: Path) -> dict[str, str]:
    """Return the tables of an archive as text, by name."""
    tables = {}
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None and name.endswith(".csv") and not name.startswith("."):
                tables[member.name] = file.read().decode("utf-8-sig")
    if not tables:
        raise UserError("found no .csv file")
    return tables


def md5_of(path: Path) -> str:
    """Return the MD5 of a file in hexadecimal digits."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def file_progress(progress: Progress, path: Path) -> downloads.Progress:
    """Return the hook for one file."""
    return lambda done, total: progress(path.name, done, total)
