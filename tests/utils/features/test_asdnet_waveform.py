"""The audio of clips is fitted to the published samples."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.parity.references import reference
from utils.features.asdnet_waveform import asdnet_waveform, num_clip_samples

EXPECTED = reference("asdnet_audio")
TRACK = EXPECTED["track.wave"].astype(np.int16)


def clip_rows(middles: list[int], num_rows: int, length: int = 16) -> NDArray[np.int64]:
    offsets = np.arange(length) - length // 2
    return np.clip(np.array(middles)[:, None] + offsets, 0, num_rows - 1)


@pytest.mark.parametrize("name", list("abcde"))
def test_fitted(name: str) -> None:
    sound = EXPECTED[f"fit.{name}.wave"].astype(np.int16)
    length = int(EXPECTED[f"fit.{name}.clip_length"])
    times = np.linspace(0, len(sound) / 16000 + 1e-5, length)
    found = asdnet_waveform(sound, times, np.arange(length)[None])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0], EXPECTED[f"fit.{name}.fitted"])


def test_clips_of_a_track() -> None:
    """With times cut to whole samples as the published code does, the samples are the same."""
    stamps = EXPECTED["track.timestamps"].astype(np.float64)
    published = np.trunc((stamps - stamps[0]) * 16000) / 16000
    middles = [0, 3, 20, 39]
    found = asdnet_waveform(TRACK, published, clip_rows(middles, len(stamps)))
    for clip, middle in zip(found, middles, strict=True):
        np.testing.assert_array_equal(clip, EXPECTED[f"track.mid{middle}.audio"])


def test_a_part_of_a_track_gives_what_the_whole_gives() -> None:
    """Times that were computed in another way do not move a sample."""
    stamps = EXPECTED["track.timestamps"].astype(np.float64)
    whole = asdnet_waveform(TRACK, stamps - stamps[0], clip_rows([20, 21], 40))
    part = asdnet_waveform(TRACK[640 * 7 :], stamps[7:] - stamps[7], clip_rows([13, 14], 33))
    np.testing.assert_array_equal(part, whole)
    np.testing.assert_array_equal(
        asdnet_waveform(TRACK, np.arange(40) / 25, clip_rows([20, 21], 40)), whole
    )


def test_too_short_is_silence() -> None:
    found = asdnet_waveform(TRACK, np.array([0.0, 0.04]), clip_rows([0], 2))
    assert found.shape == (1, int(EXPECTED["track.short.length"]))
    assert not found.any()
    assert not asdnet_waveform(TRACK[:0], np.arange(40) / 25, clip_rows([20], 40)).any()


def test_short_sound_is_mirrored_often() -> None:
    sound = np.arange(1280, dtype=np.int16)
    found = asdnet_waveform(sound, np.array([0.0, 0.08]), clip_rows([1], 2))[0].astype(int)
    margin = (9480 - 1280) // 2
    np.testing.assert_array_equal(found, np.pad(sound, margin, mode="reflect"))


@pytest.mark.parametrize(("length", "samples"), [(16, 9480), (8, 4740), (15, 8888)])
def test_lengths(length: int, samples: int) -> None:
    assert num_clip_samples(length) == samples
