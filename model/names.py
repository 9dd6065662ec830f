"""Names of networks, face detectors and embedders: those of the files in their folders."""

from pathlib import Path

FOLDER = Path(__file__).parent


def network_names() -> tuple[str, ...]:
    """Return the names of all networks."""
    return _names("networks")


def detector_names() -> tuple[str, ...]:
    """Return the names of all face detectors."""
    return _names("detectors")


def embedder_names() -> tuple[str, ...]:
    """Return the names of all face embedders."""
    return _names("embedders")


def _names(folder: str) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (FOLDER / folder).glob("[!_]*.py")))
