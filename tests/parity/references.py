"""Reference outputs of published systems, and how near to them is right."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def reference(name: str) -> dict[str, NDArray[Any]]:
    """Return the reference arrays of that name."""
    with np.load(Path(__file__).with_name(f"{name}.npz")) as arrays:
        return dict(arrays)


def reference_table(name: str) -> Any:
    """Return the reference numbers and names of that name."""
    return json.loads(Path(__file__).with_name(f"{name}.json").read_text())


def assert_near(found: Tensor, wanted: NDArray[np.floating], part: str = "outputs") -> None:
    """Assert that outputs are those wanted, to 1e-4 of the greatest of them."""
    expected = torch.from_numpy(wanted)
    limit = 1e-4 * float(expected.abs().max())
    torch.testing.assert_close(
        found.detach(), expected, atol=limit, rtol=0, msg=lambda said: f"{part}: {said}"
    )
