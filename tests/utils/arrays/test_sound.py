"""WAV files of all kinds are read in pieces; files that do not form an array are errors."""

from pathlib import Path

import numpy as np
import pytest

from tests.made_array import RATE, write_wav
from utils.arrays.sound import ArraySound, SoundChecks, check_levels, open_array
from utils.media.wav import open_wav

SAMPLES = np.random.default_rng(0).uniform(-0.9, 0.9, (500, 3))


def test_mono_files_become_channels_with_silence_around(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (1000, 2))
    files = [open_wav(write_wav(tmp_path / f"{m}.wav", sound[:, m : m + 1])) for m in (0, 1)]
    array = ArraySound(files)
    found = array.read(-10, 1020)
    assert found.shape == (1030, 2)
    np.testing.assert_allclose(found[10:1010], sound, atol=1e-4)
    assert not found[:10].any()
    assert not found[1010:].any()


def test_one_file_for_the_whole_array(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", SAMPLES)
    assert open_array(path, 3).num_microphones == 3
    with pytest.raises(ValueError, match="expected 16 channels, one for each microphone, found 3"):
        open_array(path, 16)


def test_files_that_make_no_array_are_errors(tmp_path: Path) -> None:
    mono = open_wav(write_wav(tmp_path / "mono.wav", np.zeros((RATE, 1))))
    short = open_wav(write_wav(tmp_path / "short.wav", np.zeros((RATE // 2, 1))))
    stereo = open_wav(write_wav(tmp_path / "stereo.wav", np.zeros((RATE, 2))))
    slow = open_wav(write_wav(tmp_path / "slow.wav", np.zeros((RATE, 1)), 44100))
    for files, problem in (
        ([mono, short], r"1\.00 s, but 0\.50 s in .*short"),
        ([mono, stereo], r"stereo\.wav: expected one microphone per file, found 2"),
        ([slow], r"slow\.wav: expected 48000 samples/s, found 44100"),
        ([], "at least one audio file"),
    ):
        with pytest.raises(ValueError, match=problem):
            ArraySound(files)


def test_clipped_and_silent_microphones_are_named(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, (RATE + 500, 4))
    check_levels(open_array(write_wav(tmp_path / "a.wav", sound), 4), SoundChecks(), "it")
    sound[:, 1] = 0
    sound[:, 3] = np.clip(20 * sound[:, 3], -1, 1)
    array = open_array(write_wav(tmp_path / "b.wav", sound), 4)
    with pytest.raises(ValueError, match=r"b: .*clipped channel 4 \(6\d\.\d%\); silent channel 2"):
        check_levels(array, SoundChecks(), "b")
    with pytest.raises(ValueError, match="silent channel 2"):
        check_levels(array, SoundChecks(clipped=0.9), "b")
