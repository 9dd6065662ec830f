"""Voice and face that move together correlate most at lag 0, shifted ones at their shift."""

import numpy as np
import pytest
import torch
from torch import Tensor

from model.layers.lag_profile import LagProfile

LAGS = 7
WINDOWS = (25, 51)


def profile() -> LagProfile:
    """Two parts that look at one channel each, the same in voice and face."""
    made = LagProfile(3, num_parts=2, max_lag=LAGS, windows=WINDOWS)
    weights = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).unsqueeze(2)
    made.voice.weight.data = weights.clone()
    made.face.weight.data = weights.clone()
    return made


def rows(length: int, seed: int) -> Tensor:
    drawn = np.random.default_rng(seed).standard_normal((1, 3, length))
    return torch.from_numpy(drawn.astype(np.float32))


@pytest.mark.parametrize("shift", [0, 3, -5], ids=["in step", "voice late", "voice early"])
def test_the_peak_lies_at_the_shift(shift: int) -> None:
    face = rows(200, 1)
    with torch.inference_mode():
        found = profile()(face.roll(shift, 2), face)
    for by_lag in found[:, :, 60:140].unflatten(1, (len(WINDOWS), 2 * LAGS + 1))[0]:
        assert by_lag.argmax(0).unique().tolist() == [LAGS + shift]
        assert by_lag.max() <= 1
        assert by_lag[LAGS + shift].min() > 0.95


def test_strangers_do_not_correlate() -> None:
    with torch.inference_mode():
        found = profile()(rows(400, 1), rows(400, 2))
    assert found[:, -(2 * LAGS + 1) :].abs().mean() < 0.15


def test_what_never_changes_says_nothing() -> None:
    with torch.inference_mode():
        found = profile()(torch.ones(1, 3, 90), torch.ones(1, 3, 90))
    assert found.abs().max() == 0


def test_it_sees_a_bounded_stretch() -> None:
    """Half of the widest window, half of the centring and the lags, and no more."""
    reach = WINDOWS[-1] // 2 + 25 + LAGS
    voice, face = rows(301, 1), rows(301, 2)
    other = voice.clone()
    other[..., 150] += 5
    with torch.inference_mode():
        changed = (profile()(voice, face) - profile()(other, face)).abs().amax(1)[0] > 1e-6
    places = torch.nonzero(changed).flatten()
    assert int(places.min()) >= 150 - reach
    assert int(places.max()) <= 150 + reach
    assert int(places.max() - places.min()) > WINDOWS[-1]
