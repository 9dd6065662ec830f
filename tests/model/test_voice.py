"""The voice detector computes what the published one does, in pieces as at once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model import voice
from model.voice import VoiceNetwork, load_voice_detector
from tests.made_sound import speech
from utils.errors import WeightsUnavailableError

PARTS = {
    "_model.stft.forward_basis_buffer": "stft_conv.weight",
    "_model.decoder.rnn.": "lstm_cell.",
    "_model.decoder.decoder.2.": "final_conv.",
    **{f"_model.encoder.{i}.reparam_conv.": f"conv{i + 1}." for i in range(4)},
}


def samples() -> NDArray[np.int16]:
    """Return four seconds: noise, a voice, silence."""
    noise = np.random.default_rng(0).integers(-300, 300, 16000, dtype=np.int16)
    return np.concatenate((noise, speech(2).astype(np.int16), np.zeros(16000, np.int16)))


def renamed(name: str) -> str | None:
    for published, own in PARTS.items():
        if name.startswith(published):
            return own + name.removeprefix(published)
    return None


def test_the_published_network() -> None:
    """Compared with the program in the package, on its weights (16 kHz)."""
    weights = load_voice_detector().weights.path
    published = torch.jit.load(str(weights.with_name("silero_vad.jit"))).eval()  # type: ignore[no-untyped-call]
    network = VoiceNetwork()
    own = {renamed(name): value for name, value in published.state_dict().items()}
    network.load_state_dict({name: value for name, value in own.items() if name})
    detector = voice.VoiceDetector(network, load_voice_detector().weights)
    sound = samples()
    log_odds = detector.listen(lambda start, stop: sound[start:stop], 0, len(sound))
    scaled = torch.from_numpy(sound.astype(np.float32) / 32768)
    with torch.inference_mode():
        expected = [published(step, 16000).item() for step in scaled.reshape(-1, 512)]
    np.testing.assert_allclose(1 / (1 + np.exp(-log_odds)), expected, atol=1e-4)


def test_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    detector, sound = load_voice_detector(), samples()
    asked: list[tuple[int, int]] = []

    def hear(start: int, stop: int) -> NDArray[np.int16]:
        asked.append((start, stop))
        return sound[start:stop]

    whole = detector.listen(hear, 0, len(sound))
    monkeypatch.setattr(voice, "PIECE", 20 * 512)
    np.testing.assert_allclose(detector.listen(hear, 0, len(sound)), whole, atol=1e-5)
    assert asked[:3] == [(0, 64000), (0, 10240), (10240, 20480)]
    assert len(detector.listen(hear, 0, 511)) == 0


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice, "PACKAGE", "silero_vad_is_not_here")
    with pytest.raises(WeightsUnavailableError, match="silero-vad is not installed; pip install"):
        load_voice_detector()


def test_the_package_is_not_imported() -> None:
    import sys

    load_voice_detector()
    assert "silero_vad" not in sys.modules
    assert Path(load_voice_detector().weights.path).suffix == ".safetensors"
