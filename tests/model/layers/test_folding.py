"""Folding normalisations away changes no output, and needs a network in eval mode."""

import copy

import pytest
import torch
from torch import nn

from model.contract import Network
from model.layers.folding import Foldable, fold_norms
from model.networks.light_asd import LightASD
from model.networks.lr_asd import LRASD
from model.networks.talknet import TalkNet
from tests.parity.fill import inputs
from tests.parity.filled import filled


@pytest.mark.parametrize(("make", "left"), [(TalkNet, 33), (LightASD, 0), (LRASD, 0)])
def test_fold_norms(make: type[Network], left: int) -> None:
    """TalkNet keeps those that follow a sum or a ReLU, and four that cost nothing."""
    network = filled(make())
    folded = copy.deepcopy(network)
    fold_norms(folded)
    faces = torch.from_numpy(inputs("faces", (1, 3, 112, 112), 0, 255))
    audio = torch.from_numpy(inputs("audio", (1, 12, 13), -10, 20))
    with torch.inference_mode():
        expected, found = network(audio, faces).av, folded(audio, faces).av
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)
    norms = [part for part in folded.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) == left


class Pair(Foldable):
    folds = (("conv", "norm"),)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 3, 1)
        self.norm = nn.BatchNorm1d(3)


def test_training_networks_are_not_folded() -> None:
    with pytest.raises(AssertionError):
        fold_norms(Pair().train())
