"""Weights: which there are, where they come from, and networks loaded with them."""

import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from model.checkpoints.build import build_network, load_released, network_class
from model.checkpoints.files import load_state, load_variant
from model.contract import Model, WeightsFile
from utils.downloads import Expected, Progress, download, sha256_of
from utils.errors import ResourceError, UserError, WeightsUnavailableError

PRETRAIN = Path(__file__).parents[2] / "pretrain"
SHARED = "TALKNET_PRETRAIN"  # environment variable: a folder of weights that is only read


@dataclass(frozen=True)
class Checkpoint:
    """One table of pretrain/weights.toml; its README says what each field means."""

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


@lru_cache(maxsize=1)
def registry() -> dict[str, Checkpoint]:
    """Return every checkpoint the project knows; a network's first is its default."""
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
    known = registry()
    if name not in known:
        raise UserError(f"expected weights named one of {', '.join(known)}; got {name!r}")
    return known[name]


def default_checkpoint(network: str) -> Checkpoint:
    """Return the checkpoint that a network or detector is loaded with unless another is asked."""
    for one in registry().values():
        if one.network == network:
            return one
    raise UserError(f"pretrain/weights.toml names no weights for {network!r}; give a weights file")


def find_weights(name: str, folder: Path = PRETRAIN) -> WeightsFile | None:
    """Return a checkpoint's file if it is on this machine, without any network.

    Looks in `folder`, then in the folder that the environment variable TALKNET_PRETRAIN names, for
    its file and for the names it is published under.
    """
    one = checkpoint(name)
    shared = os.environ.get(SHARED)
    for place in (folder, Path(shared)) if shared else (folder,):
        for file in (one.file, *one.aliases):
            path = place / file
            if not path.is_file():
                continue
            digest = sha256_of(path)
            if one.sha256 is None or digest.startswith(one.sha256):
                return WeightsFile(name, path, digest)
            if file == one.file:  # under a published name it may well be another network's
                raise UserError(
                    f"expected {path} to have SHA-256 {one.sha256[:12]}..., found {digest[:12]}...:"
                    " it is damaged or another file; remove it to have it downloaded again"
                )
    return None


def get_weights(
    name: str, progress: Progress | None = None, folder: Path = PRETRAIN
) -> WeightsFile:
    """Return a checkpoint's file, downloaded to `folder` if it is not on this machine.

    Raises:
        WeightsUnavailableError: It is neither here nor can it be downloaded and kept; one line that
            says what was tried and what to do.
    """
    found = find_weights(name, folder)
    if found:
        return found
    one = checkpoint(name)
    advice = f"put it into {folder} or set {SHARED} to a folder that holds it"
    if not one.addresses:
        raise WeightsUnavailableError(
            f"{one.file} is not here and cannot be downloaded: {one.note} {advice}"
        )
    try:
        download(one.addresses, folder / one.file, Expected(one.sha256, one.num_bytes), progress)
    except ResourceError as error:
        raise WeightsUnavailableError(f"{error}; {advice}") from error
    except OSError as error:  # the folder is read-only, the disk is full ...
        raise WeightsUnavailableError(
            f"{one.file} cannot be written to {folder}: {error.strerror or error}; {advice}"
        ) from error
    return WeightsFile(name, folder / one.file, sha256_of(folder / one.file))


def find_file(weights: str | Path, progress: Progress | None = None) -> WeightsFile:
    """Return a weights file by its path, or by its name in pretrain/weights.toml."""
    if str(weights) in registry():
        return get_weights(str(weights), progress)
    path = Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"expected a weights file, found no file {path}")
    return WeightsFile(path.stem, path, sha256_of(path))


def load_single(
    name: str,
    weights: str | Path | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Model:
    """Return one network with weights, ready to score, in the variant that they are of.

    Args:
        name: One of `network_names()`.
        weights: A file, or a name in pretrain/weights.toml; None is the network's default there.
        device: Where it runs.
        progress: Told the bytes of a download.
    """
    kind = network_class(name)
    file = find_file(default_checkpoint(name).name if weights is None else weights, progress)
    state = load_state(file.path)
    try:
        network = build_network(name, load_variant(file.path, name) or kind.variant_of(state))
        load_released(network, state)
    except UserError as error:
        raise UserError(f"{file.path}: {error}") from error
    network.weights = file
    return network.eval().to(device)
