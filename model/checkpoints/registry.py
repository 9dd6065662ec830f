"""The registry of checkpoints: find their files, download them if missing, and read them.

Loading a network: find its file (here), read the tensors (files.py), build it (build.py).
"""

import hashlib
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from model.contract import WeightsFile
from utils.downloads import Expected, Progress, download
from utils.errors import ResourceError, UserError, WeightsUnavailableError

PRETRAIN = Path(__file__).parents[2] / "pretrain"
SHARED = "TALKNET_PRETRAIN"  # environment variable: a read-only folder of weights


@dataclass(frozen=True)
class Checkpoint:
    """One table of pretrain/weights.toml; the README beside it describes the fields."""

    name: str
    network: str
    file: str
    licence: str
    trained_on: str
    addresses: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    sha256: str | None = None
    num_bytes: int | None = None
    results: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class RawWeights:
    """A weights file and its content."""

    file: WeightsFile
    content: bytes


@lru_cache(maxsize=1)
def registry() -> dict[str, Checkpoint]:
    """Return all checkpoints by name; a network's first one is its default."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    found = {}
    for name, table in tomllib.loads((PRETRAIN / "weights.toml").read_text("utf-8")).items():
        for key in ("addresses", "aliases"):
            table[key] = tuple(table.get(key, ()))
        found[name] = Checkpoint(name, num_bytes=table.pop("bytes", None), **table)
    return found


def checkpoint(name: str) -> Checkpoint:
    """Return the checkpoint of that name."""
    checkpoints = registry()
    if name not in checkpoints:
        raise UserError(f"expected one of the weights {', '.join(checkpoints)}; got {name!r}")
    return checkpoints[name]


def default_checkpoint(network: str) -> Checkpoint:
    """Return the default checkpoint of a network or detector."""
    for candidate in registry().values():
        if candidate.network == network:
            return candidate
    raise UserError(f"pretrain/weights.toml has no weights for {network!r}; pass a weights file")


def find_weights(name: str, folder: Path = PRETRAIN) -> RawWeights | None:
    """Read a checkpoint's file if it is on this machine; never downloads.

    Looks in `folder`, then in the folder of the environment variable TALKNET_PRETRAIN, for its file
    name and for the names under which it is published.
    """
    wanted = checkpoint(name)
    shared = os.environ.get(SHARED)
    for place in (folder, Path(shared)) if shared else (folder,):
        for file in (wanted.file, *wanted.aliases):
            path = place / file
            if not path.is_file():
                continue
            raw = _read(name, path)
            digest = raw.file.sha256
            if wanted.sha256 is None or digest.startswith(wanted.sha256):
                return raw
            if file == wanted.file:  # a file with a published name may belong to another network
                raise UserError(
                    f"expected {path} to have SHA-256 {wanted.sha256[:12]}..., found "
                    f"{digest[:12]}...: it is damaged or another file; remove it to download it "
                    "again"
                )
    return None


def get_weights(name: str, progress: Progress | None = None, folder: Path = PRETRAIN) -> RawWeights:
    """Read a checkpoint's file; download it to `folder` if it is not on this machine.

    Raises:
        WeightsUnavailableError: It can be neither found nor downloaded; the message states what was
            tried and what to do.
    """
    found = find_weights(name, folder)
    if found:
        return found
    missing = checkpoint(name)
    target = folder / missing.file
    advice = f"put it into {folder} or set {SHARED} to a folder that contains it"
    if not missing.addresses:
        raise WeightsUnavailableError(
            f"{missing.file} is missing and cannot be downloaded: {missing.note} {advice}"
        )
    try:
        expected = Expected(missing.sha256, missing.num_bytes)
        download(missing.addresses, target, expected, progress)
    except ResourceError as error:
        raise WeightsUnavailableError(f"{error}; {advice}") from error
    except OSError as error:  # for example a read-only folder or a full disk
        raise WeightsUnavailableError(
            f"{missing.file} cannot be written to {folder}: {error.strerror or error}; {advice}"
        ) from error
    return _read(name, target)


def find_file(weights: str | Path, progress: Progress | None = None) -> RawWeights:
    """Read a weights file, given by its path or by its name in pretrain/weights.toml."""
    if str(weights) in registry():
        return get_weights(str(weights), progress)
    path = Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"expected a weights file, found no file {path}")
    return _read(path.stem, path)


def _read(name: str, path: Path) -> RawWeights:
    content = path.read_bytes()
    return RawWeights(WeightsFile(name, path, hashlib.sha256(content).hexdigest()), content)
