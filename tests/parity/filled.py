"""Networks filled with the weights that the reference outputs were made with."""

from collections.abc import Mapping
from typing import Any, TypeVar

from numpy.typing import NDArray

from model.contract import Logits, Model
from tests.parity.fill import fill
from tests.parity.references import assert_near

AnyNetwork = TypeVar("AnyNetwork", bound=Model)


def published_name(network: Model, name: str) -> str:
    """Return the published name of a parameter or buffer."""
    ours = sorted(network.released_names.items(), key=lambda names: -len(names[1]))
    for published, own in ours:
        if name.startswith(own):
            return published + name.removeprefix(own)
    raise KeyError(name)


def filled(network: AnyNetwork) -> AnyNetwork:
    """Fill a network and put it into eval mode."""
    fill(network, rename=lambda name: published_name(network, name))
    return network.eval()


def assert_scores_near(found: Logits, expected: Mapping[str, NDArray[Any]], name: str) -> None:
    """Assert that a clip network gives the reference outputs of a case, of every head."""
    assert found.audio is not None and found.visual is not None and found.embedding is not None
    for part, values in (
        ("logits", found.av),
        ("aux_audio", found.audio),
        ("aux_video", found.visual),
        ("features", found.embedding),
    ):
        assert_near(values, expected[f"{name}.{part}"][:, None], part)
