"""Audio files are mixed like the audio of videos."""

from pathlib import Path

import av
import numpy as np
import pytest

from tests.made_sound import speech
from utils.datasets.talkset.compose import read_audio


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_out_of_phase(tmp_path: Path, name: str) -> None:
    voice = (speech(4) * 32767).astype(np.int16)
    samples = np.stack([voice, -voice], axis=1)
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream({"a.wav": "pcm_s16le", "a.flac": "flac"}[name], rate=16000)
        stream.layout = "stereo"
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", "stereo")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    found = read_audio(tmp_path / name, 1.0, 32000)
    np.testing.assert_allclose(found, voice[16000:48000], atol=1)
