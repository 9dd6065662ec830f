"""The registry of checkpoints: find their files, download them if missing, and read them.

Loading a network: find its file (here), read the tensors (files.py), build it (build.py).
"""

import hashlib
import os
import sys
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

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
    companion: "Checkpoint | None" = None  # the other file of a checkpoint that comes in two


@dataclass(frozen=True, eq=False)
class RawWeights:
    """A weights file and its content."""

    file: WeightsFile
    content: bytes
    companion: "RawWeights | None" = None


@lru_cache(maxsize=1)
def registry() -> dict[str, Checkpoint]:
    """Return all checkpoints by name; a network's first one is its default."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    found = {}
    for name, table in tomllib.loads((PRETRAIN / "weights.toml").read_text("utf-8")).items():
        other = table.pop("companion", None)
        companion = _checkpoint(name, {**table, **other}) if other else None
        found[name] = replace(_checkpoint(name, table), companion=companion)
    return found


def _checkpoint(name: str, table: dict[str, Any]) -> Checkpoint:
    """Return what a table of pretrain/weights.toml says of a file."""
    values = dict(table)
    for key in ("addresses", "aliases"):
        values[key] = tuple(values.get(key, ()))
    return Checkpoint(name, num_bytes=values.pop("bytes", None), **values)


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

    Looks in `folder`, then in the folder that the environment variable TALKNET_PRETRAIN names, for
    its file and for the names it is published under; then likewise for its companion.
    """
    return _join(*(_find(one, folder) for one in _files(checkpoint(name))))


def _files(one: Checkpoint) -> tuple[Checkpoint, ...]:
    """Return a checkpoint as its files: itself, and its companion if it has one."""
    return (one, one.companion) if one.companion else (one,)


def _join(raw: RawWeights | None, *others: RawWeights | None) -> RawWeights | None:
    """Return a checkpoint's file with its companion, if all are there."""
    if raw is None or None in others:
        return None
    return replace(raw, companion=others[0]) if others else raw


def _find(one: Checkpoint, folder: Path) -> RawWeights | None:
    """Read one file if it is on this machine."""
    shared = os.environ.get(SHARED)
    for place in (folder, Path(shared)) if shared else (folder,):
        for file in (one.file, *one.aliases):
            path = place / file
            if not path.is_file():
                continue
            raw = _read(one.name, path)
            digest = raw.file.sha256
            if one.sha256 is None or digest.startswith(one.sha256):
                return raw
            if file == one.file:  # a file with a published name may belong to another network
                raise UserError(
                    f"expected {path} to have SHA-256 {one.sha256[:12]}..., found "
                    f"{digest[:12]}...: it is damaged or another file; remove it to download it "
                    "again"
                )
    return None


def get_weights(name: str, progress: Progress | None = None, folder: Path = PRETRAIN) -> RawWeights:
    """Read a checkpoint's file; download it to `folder` if it is not on this machine.

    The same holds for its companion, which comes with it.

    Raises:
        WeightsUnavailableError: It can be neither found nor downloaded; the message states what was
            tried and what to do.
    """
    raws = [_get(one, progress, folder) for one in _files(checkpoint(name))]
    found = _join(*raws)
    assert found is not None
    return found


def _get(one: Checkpoint, progress: Progress | None, folder: Path) -> RawWeights:
    """Read one file; download it if it is not on this machine."""
    found = _find(one, folder)
    if found:
        return found
    advice = f"put it into {folder} or set {SHARED} to a folder that contains it"
    if not one.addresses:
        raise WeightsUnavailableError(
            f"{one.file} is missing and cannot be downloaded: {one.note} {advice}"
        )
    try:
        expected = Expected(one.sha256, one.num_bytes)
        download(one.addresses, folder / one.file, expected, progress)
    except ResourceError as error:
        raise WeightsUnavailableError(f"{error}; {advice}") from error
    except OSError as error:  # for example a read-only folder or a full disk
        raise WeightsUnavailableError(
            f"{one.file} cannot be written to {folder}: {error.strerror or error}; {advice}"
        ) from error
    return _read(one.name, folder / one.file)


def find_file(weights: str | Path, progress: Progress | None = None) -> RawWeights:
    """Read a weights file, given by its path or as `registered_name` understands it."""
    name = registered_name(weights)
    return get_weights(name, progress) if name else _read(Path(weights).stem, Path(weights))


def registered_name(weights: str | Path) -> str | None:
    """Return the name in pretrain/weights.toml that is meant; None for the path of a file.

    If there is no such file, a name that weights are published under, in whatever folder, stands
    for the first table with that alias: calls written for the published repositories work
    unchanged.
    """
    if str(weights) in registry():
        return str(weights)
    path = Path(weights)
    if path.is_file():
        return None
    for one in registry().values():
        if path.name in one.aliases:
            return one.name
    raise FileNotFoundError(f"expected a weights file, found no file {path}")


def _read(name: str, path: Path) -> RawWeights:
    content = path.read_bytes()
    return RawWeights(WeightsFile(name, path, hashlib.sha256(content).hexdigest()), content)
