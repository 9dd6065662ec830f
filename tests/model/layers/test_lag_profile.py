"""Voice and face that move together correlate most at lag 0, shifted ones at their shift."""

import numpy as np
import pytest
import torch
from torch import Tensor

from model.layers.lag_profile import (
    MARGIN,
    MAX_LAG,
    MAX_OFFSET,
    SHOWN_LAG,
    SHRINKAGE,
    LagProfile,
    moving_mean,
)

WINDOWS = (25, 51)
LONG_WINDOWS = (101, 201)


def profile() -> LagProfile:
    """Two parts that look at one channel each, the same in voice and face."""
    made = LagProfile(3, 2, WINDOWS, LONG_WINDOWS)
    weights = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).unsqueeze(2)
    made.voice.weight.data = weights.clone()
    made.face.weight.data = weights.clone()
    return made


def rows(length: int, seed: int) -> Tensor:
    drawn = np.random.default_rng(seed).standard_normal((1, 3, length))
    return torch.from_numpy(drawn.astype(np.float32))


@pytest.mark.parametrize("shift", [0, 2, -1, 5], ids=["in step", "late", "early", "too late"])
def test_the_peak_is_shown_where_the_film_has_it(shift: int) -> None:
    """Sound that lies a little beside the picture as a whole is no less its own."""
    face = rows(300, 1)
    with torch.inference_mode():
        found = profile()(face.roll(shift, 2), face)
    forgiven = shift if abs(shift) <= MAX_OFFSET else None
    for by_lag in found.profile[:, :, 60:240].unflatten(1, (len(WINDOWS), 2 * SHOWN_LAG + 1))[0]:
        assert by_lag.max() <= 1
        if forgiven is not None:
            assert by_lag.argmax(0).unique().tolist() == [SHOWN_LAG]
            assert by_lag[SHOWN_LAG].min() > 0.95 * 25 / (25 + SHRINKAGE)
        else:
            assert (by_lag.argmax(0) != SHOWN_LAG).all()
    above = found.evidence[0, 1::3, 60:240]
    assert (above > 1).all() if forgiven is not None else (above < 0.7).all()


def test_few_frames_prove_little() -> None:
    """Where hardly anything is compared, correlations are high by chance."""
    voice, face = rows(MARGIN * 2 + 2, 1), rows(MARGIN * 2 + 2, 2)
    with torch.inference_mode():
        found = profile()(voice, face)
        sure = profile()(rows(200, 1), rows(200, 1))
    assert found.profile.abs().max() < 0.1
    assert found.evidence[:, ::3].abs().max() < 0.4 * sure.evidence[:, ::3, 100].abs().max()


def test_strangers_do_not_correlate() -> None:
    with torch.inference_mode():
        found = profile()(rows(400, 1), rows(400, 2)).profile
    assert found[:, -(2 * SHOWN_LAG + 1) :].abs().mean() < 0.15


def test_what_never_changes_says_nothing() -> None:
    with torch.inference_mode():
        found = profile()(torch.ones(1, 3, 90), torch.ones(1, 3, 90))
    assert found.profile.abs().max() < 1e-6
    assert found.evidence[:, [0, 1, 3, 4]].abs().max() < 1e-3


def test_evidence_grows_with_time_for_true_pairs_alone() -> None:
    """A weak tie, which one window cannot tell from chance, stands out over a longer one."""
    face, other = rows(900, 1), rows(900, 2)
    with torch.inference_mode():
        own = profile()(other + 0.4 * face, face).evidence[0, ::3, 150:750].mean(1)
        strange = profile()(other, face).evidence[0, ::3, 150:750].mean(1)
    assert own[1] > 1.2 * own[0]
    assert (own > 2 * strange).all()


def test_evidence_says_how_much_of_its_window_is_compared() -> None:
    blind = torch.zeros(1, 301, dtype=torch.bool)
    blind[:, 150:160] = True
    with torch.inference_mode():
        known = profile()(rows(301, 1), rows(301, 2), blind).evidence[0, 2::3].exp()
    assert known[0, 80] == pytest.approx(102 / 101)
    assert known[0, 150] == pytest.approx(92 / 101)
    assert known[0, 0] == pytest.approx((52 - MARGIN) / 101)
    assert known[1, 150] == pytest.approx(192 / 201)


def test_ends_and_blind_frames_are_not_compared() -> None:
    """Encoders mark where a sequence ends, in voice and face alike: that is no synchrony."""
    voice, face = rows(300, 1), rows(300, 2)
    marked, marked_too = voice.clone(), face.clone()
    for one in (marked, marked_too):
        one[..., 2] = one[..., -2] = one[..., 150] = 20
    blind = torch.zeros(1, 300, dtype=torch.bool)
    blind[:, 120:180] = True  # with all that is centred by what is marked
    made = profile()
    with torch.inference_mode():
        plain, blinded = made(marked, marked_too), made(marked, marked_too, blind)
        short = made(rows(10, 1), rows(10, 1))
    assert plain.evidence[0, 1].max() > 1
    assert blinded.evidence[0, 1].max() < 0.5
    assert short.profile.abs().max() == 0
    assert torch.isfinite(short.evidence).all()


def test_moving_mean_is_cut_at_the_ends() -> None:
    found = moving_mean(torch.tensor([[1.0, 2, 3, 4, 5]]), 3)
    torch.testing.assert_close(found, torch.tensor([[1.5, 2, 3, 4, 4.5]]))


def test_it_sees_a_bounded_stretch() -> None:
    """Half of the widest window, half of the centring and the lags, and no more."""
    voice, face = rows(501, 1), rows(501, 2)
    other = voice.clone()
    other[..., 250] += 5
    with torch.inference_mode():
        found, again = profile()(voice, face), profile()(other, face)
    for first, second, widest in (
        (found.profile, again.profile, WINDOWS[-1]),
        (found.evidence, again.evidence, LONG_WINDOWS[-1]),
    ):
        reach = LONG_WINDOWS[-1] // 2 + 25 + MAX_LAG  # where the peak lies is told by the longest
        places = torch.nonzero((first - second).abs().amax(1)[0] > 1e-5).flatten()
        assert int(places.min()) >= 250 - reach
        assert int(places.max()) <= 250 + reach
        assert int(places.max() - places.min()) > widest
