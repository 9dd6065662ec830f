"""Choose a face detector or embedder: the one asked for, or the first that is available."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from model.checkpoints.registry import RawWeights
from utils.errors import UserError, WeightsUnavailableError

AUTO = "auto"


@dataclass(frozen=True)
class Chosen:
    """The name and weights of a model, and one line that says which it is and why."""

    name: str
    weights: RawWeights
    reason: str


def check_name(kind: str, name: str, names: Sequence[str]) -> None:
    """Raise UserError unless a name is one of these.

    Args:
        kind: What it is a name of, with its article.
        name: As on the command line.
        names: Those that exist.
    """
    if name not in names:
        raise UserError(f"expected {kind} named one of {', '.join(names)}; got {name!r}")


def first_available(
    flag: str,
    name: str,
    preferred: Sequence[str],
    why_first: str,
    get: Callable[[str], RawWeights],
) -> Chosen:
    """Return the model of a name; for `auto` the first one whose weights can be had.

    Args:
        flag: The flag that chooses it.
        name: As on the command line.
        preferred: The order for `auto`.
        why_first: Why the first of them is taken.
        get: Returns the weights of a model, or raises WeightsUnavailableError.

    Raises:
        WeightsUnavailableError: There are no weights; says for each model what was tried.
    """
    names = preferred if name == AUTO else (name,)
    problems: list[str] = []
    for one in names:
        try:
            weights = get(one)
        except WeightsUnavailableError as error:
            problems.append(str(error))
            continue
        if name != AUTO:
            why = ", as asked for"
        elif one == names[0]:
            why = f", {why_first}"
        else:
            why = f", because {names[0]} is not available ({flag} {names[0]} says why)"
        return Chosen(one, weights, f"{one} ({weights.file.path.name}){why}")
    raise WeightsUnavailableError("; ".join(problems))
