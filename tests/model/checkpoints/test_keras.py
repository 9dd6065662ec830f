"""Keras weights in HDF5 files are read by the names of their layers or by their order."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model.checkpoints.build import load_released
from model.checkpoints.files import read_weights
from model.checkpoints.keras import by_topology, shared_part
from model.checkpoints.registry import find_file
from model.evaluation.window_weights import load_any
from model.networks.ava_asd import AvaASD

h5py = pytest.importorskip("h5py")
VARIANT: dict[str, Any] = {"num_frames": 1, "size": 9}
HEADS = {"a_out": "head_audio", "v_out": "head_visual", "main_out": "head_av"}


def keras_layers(mode: str) -> dict[str, str]:
    """Return our name of each layer of a mode, in the order in which Keras writes them."""
    steps = [f"conv{number}" for number in range(1, 7)]
    if mode in ("s_a", "s_v"):
        own = {"s_a": "audio", "s_v": "video"}[mode]
        towers = {f"{mode}_{step}": f"{own}.{step}" for step in (*steps, "fc7")}
        return {**towers, "main_out": "head_av"}
    steps += ["fc7"] if mode == "s_av" else []
    both = {
        f"s_av_{own[0]}_{step}": f"{own}.{step}" for step in steps for own in ("audio", "video")
    }
    return {**both, **({"s_av_fc1": "fusion"} if mode == "s_av" else {}), **HEADS}


def write_keras(
    path: Path, layers: Mapping[str, Mapping[str, Tensor]], whole: bool, new: bool = False
) -> None:
    """Write layers as Keras does: a whole model or weights alone, in the old or the new way."""
    ending = "" if new else ":0"
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights") if whole else file
        text = str if new else str.encode
        names = ["input_1", *layers]
        group.attrs["layer_names"] = [text(name) for name in names]
        group.attrs["backend"] = text("tensorflow")
        for layer in names:
            roles = layers.get(layer, {})
            inside = group.create_group(layer)
            weights = [f"{layer}/{role}{ending}" for role in roles]
            inside.attrs["weight_names"] = [text(name) for name in weights]
            for name, tensor in zip(weights, roles.values(), strict=True):
                array = tensor.numpy()
                if array.ndim > 1:
                    array = np.transpose(array, (*range(2, array.ndim), 1, 0))
                inside.create_dataset(name, data=array)


def read_state(path: Path) -> dict[str, Tensor]:
    return read_weights(find_file(path)).state


def layers_of(network: AvaASD, names: Mapping[str, str]) -> dict[str, dict[str, Tensor]]:
    state = network.state_dict()
    return {
        layer: {"kernel": state[f"{own}.weight"], "bias": state[f"{own}.bias"]}
        for layer, own in names.items()
    }


@pytest.mark.parametrize("mode", ["s_av_fc", "s_a"])
def test_a_model_is_read_by_name(tmp_path: Path, mode: str) -> None:
    network, other = AvaASD(mode, **VARIANT), AvaASD(mode, **VARIANT)
    path = tmp_path / "model.hdf5"
    write_keras(path, layers_of(network, keras_layers(mode)), whole=True)
    assert read_weights(find_file(path)).by_keras
    load_released(other, read_state(path))
    for name, tensor in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_weights_alone_are_read_by_order(tmp_path: Path) -> None:
    network, other = AvaASD("s_av", **VARIANT), AvaASD("s_av", **VARIANT)
    unnamed = {f"layer_{number}": own for number, own in enumerate(keras_layers("s_av").values())}
    path = tmp_path / "weights.h5"
    write_keras(path, layers_of(network, unnamed), whole=False, new=True)
    state = read_state(path)
    with pytest.raises(ValueError, match=r"unknown keys, such as 'layer_0\.weight'"):
        load_released(other, state)
    load_released(other, by_topology(state, "s_av"))
    for name, tensor in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    with pytest.raises(ValueError, match=r"the 8 layers.*in mode s_a, found 18: layer_0, "):
        by_topology(state, "s_a")


@pytest.mark.parametrize("named", [True, False], ids=["by name", "by order"])
def test_evaluation_takes_either(tmp_path: Path, named: bool) -> None:
    network = AvaASD("s_a", **VARIANT)
    names = keras_layers("s_a")
    if not named:
        names = {f"layer_{number}": own for number, own in enumerate(names.values())}
    path = tmp_path / "weights.hdf5"
    write_keras(path, layers_of(network, names), whole=True)
    for variant in ({"mode": "s_a", **VARIANT}, None):
        found = load_any("ava_asd", path, variant)
        assert isinstance(found, AvaASD)
        assert found.mode == "s_a" and found.clip.length == 1
        assert torch.equal(found.head_av.weight, network.head_av.weight)
    with pytest.raises(ValueError, match=r"weights\.hdf5: these are not ava_asd weights"):
        load_any("ava_asd", path, {"mode": "s_v", **VARIANT})


def test_modes_share_their_convolutions(tmp_path: Path) -> None:
    network = AvaASD("s_av", **VARIANT)
    path = tmp_path / "model.hdf5"
    write_keras(path, layers_of(network, keras_layers("s_av")), whole=True)
    names = {
        f"{layer}.{role}": f"{own}.{role}"
        for layer, own in keras_layers("s_av_fc").items()
        for role in ("weight", "bias")
    }
    own = AvaASD("s_av_fc", **VARIANT).state_dict()
    published = {name: own[mine] for name, mine in names.items()}
    joined = AvaASD("s_av_fc", **VARIANT)
    joined.begin_from(read_state(path))
    assert torch.equal(joined.audio.conv3.weight, network.audio.conv3.weight)
    assert torch.equal(joined.video.conv6.weight, network.video.conv6.weight)
    with pytest.raises(ValueError, match="none of the 1 found fits"):
        joined.begin_from({"some.weight": torch.zeros(1)})
    found = shared_part(read_state(path), published)
    biases = {"a_out.bias", "v_out.bias", "main_out.bias"}
    assert set(found) == {name for name in published if "conv" in name} | biases


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.hdf5"):
        read_state(tmp_path / "none.hdf5")
    text = tmp_path / "text.hdf5"
    text.write_text("no weights")
    with pytest.raises(ValueError, match=r"text\.hdf5 is another file"):
        read_state(text)
    empty = tmp_path / "empty.h5"
    with h5py.File(empty, "w"):
        pass
    with pytest.raises(ValueError, match=r"empty\.h5 is incomplete or has no Keras weights"):
        read_state(empty)
    path = tmp_path / "model.hdf5"
    write_keras(path, layers_of(AvaASD("s_a", **VARIANT), keras_layers("s_a")), whole=True)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"model\.hdf5 is incomplete"):
        read_state(path)


def test_unknown_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "norm.h5"
    write_keras(path, {"bn": {"gamma": torch.ones(3)}}, whole=False)
    with pytest.raises(ValueError, match="layer bn has weights 'gamma', expected kernel and bias"):
        read_state(path)
