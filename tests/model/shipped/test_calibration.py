"""Refiners count what they are worth, and no more speech is missed than by the teacher."""

from pathlib import Path

import pytest
import torch

from model.networks.lr_asd import LRASD
from model.networks.synchrony import Synchrony
from model.shipped.calibration import calibrate, calibrate_match, split_scores
from model.shipped.film_scores import count_errors, mean_rates
from tests.made_people import make_people
from tests.parity.filled import filled
from utils.datasets.pairings.film import FilmPairer

pytestmark = pytest.mark.slow


def test_corrections_are_weighted(tmp_path: Path) -> None:
    network, teacher = filled(Synchrony()), filled(LRASD())
    pairer = FilmPairer(*make_people(tmp_path), seed=0, max_length=20)
    before = list(split_scores(network, teacher, pairer))
    weight, offset = calibrate(network, teacher, pairer)
    after = list(split_scores(network, teacher, pairer))
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new.scores["first"], old.scores["first"])
        expected = weight * old.scores["correction"] + offset
        torch.testing.assert_close(new.scores["correction"], expected, atol=1e-3, rtol=1e-3)
        new.scores["sum"] = new.scores["first"] + new.scores["correction"]
    misses = [mean_rates(count_errors(after, name))["misses"] for name in ("sum", "teacher")]
    assert misses[0] <= misses[1] + 0.01


def test_evidence_is_weighted(tmp_path: Path) -> None:
    network = filled(Synchrony())
    pairer = FilmPairer(*make_people(tmp_path), seed=0, max_length=80)
    before = {name: rows.clone() for name, rows in network.state_dict().items()}
    calibrate_match(network, pairer)
    after = network.state_dict()
    assert {name for name, rows in after.items() if not torch.equal(rows, before[name])} == {
        "match_weights"
    }
    assert torch.isfinite(after["match_weights"]).all()
