"""Families of networks that read entities make their loaders as the options ask."""

import pytest

import trainTalkNet
from model.contract import Recipe
from model.families.base import Source
from model.families.clips import ClipFamily
from model.families.sequence import SequenceFamily
from model.networks.asc_encoder import ASCEncoder
from model.ranks import Ranks
from tests.made_training import MadeFaces, TinyNetwork
from utils.datasets.loading.clip_augmentation import ClipAugmentation
from utils.datasets.loading.clip_loader import ClipLoader
from utils.datasets.splits import Split
from utils.flags import read_groups
from utils.training_options import Options


def options_of(*given: str) -> Options:
    parsed = trainTalkNet.make_parser().parse_args(["--nDataLoaderThread", "0", *given])
    return read_groups(parsed, Options)


@pytest.mark.parametrize(("given", "frames"), [([], 50), (["--original"], 40)])
def test_original_batches_lose_the_rest_of_longer_clips(given: list[str], frames: int) -> None:
    network, options = TinyNetwork(), options_of(*given)
    source = Source("train", Split("train", MadeFaces([30, 20])))
    recipe = Recipe(batch_size=60)
    loader = SequenceFamily().make_loader(network, source, recipe, options, Ranks())
    assert sum(int(batch.mask.sum()) for batch in loader.epoch(1)) == frames


@pytest.mark.parametrize(("given", "original"), [([], False), (["--original"], True)])
def test_original_crops_are_of_clip_networks(given: list[str], original: bool) -> None:
    network, options = ASCEncoder(clip_length=1), options_of(*given)
    source = Source("train", Split("train", MadeFaces([30, 20])))
    loader = ClipFamily().make_loader(network, source, Recipe(), options, Ranks())
    assert isinstance(loader, ClipLoader)
    assert loader.options.changes == ClipAugmentation("clip", published_crop=original)
