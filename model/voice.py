"""Where a voice is heard, by Silero VAD (MIT), whose weights its package brings along."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.checkpoints.files import read_weights
from model.checkpoints.registry import find_file
from model.contract import WeightsFile
from utils.errors import WeightsUnavailableError
from utils.structures import SAMPLE_RATE

PACKAGE, FILE = "silero_vad", Path("data", "silero_vad_16k.safetensors")
WINDOW, CONTEXT = 512, 64  # samples: of a step of 32 ms, and of what comes before it
NUM_FFT, HOP, PAD = 256, 128, 64  # samples
PIECE = 60 * SAMPLE_RATE // WINDOW * WINDOW  # samples that are encoded at once

Hear = Callable[[int, int], NDArray[np.int16]]  # samples [start, stop)


class VoiceNetwork(nn.Module):
    """Gives the log-odds that a voice is heard, for each step of 32 ms."""

    def __init__(self) -> None:
        super().__init__()
        bins = NUM_FFT // 2 + 1
        self.stft_conv = nn.Conv1d(1, 2 * bins, NUM_FFT, HOP, bias=False)
        self.conv1 = nn.Conv1d(bins, 128, 3, 1, 1)
        self.conv2 = nn.Conv1d(128, 64, 3, 2, 1)
        self.conv3 = nn.Conv1d(64, 64, 3, 2, 1)
        self.conv4 = nn.Conv1d(64, 128, 3, 1, 1)
        self.lstm_cell = nn.LSTMCell(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(
        self, windows: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Map windows (N, CONTEXT + WINDOW), in [-1, 1], to log-odds (N,) and the next state.

        Args:
            windows: Steps in order, each with the samples before it.
            state: What the recurrent cell holds before the first of them, two of (1, 128).
        """
        padded = nn.functional.pad(windows[:, None], (0, PAD), "reflect")
        real, imaginary = self.stft_conv(padded).chunk(2, dim=1)
        maps = (real.square() + imaginary.square()).sqrt()
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            maps = conv(maps).relu()
        hidden = []
        for step in maps[:, None, :, 0]:
            state = self.lstm_cell(step, state)
            hidden.append(state[0])
        rows = torch.cat(hidden)[..., None].relu()
        return self.final_conv(rows).flatten(), state


class VoiceDetector:
    """Says for each 32 ms of sound how likely somebody speaks.

    Args:
        network: With weights.
        weights: The file that they were read from.
    """

    name = PACKAGE

    def __init__(self, network: VoiceNetwork, weights: WeightsFile) -> None:
        self.weights = weights
        self._network = network.eval().requires_grad_(False)

    @torch.inference_mode()
    def listen(self, hear: Hear, start: int, stop: int) -> NDArray[np.float32]:
        """Return the log-odds (N,) of speech for each 512 samples from `start` on.

        Args:
            hear: Gives samples; asked for in order.
            start: First sample.
            stop: Sample after the last; a last part of a step is left out.
        """
        state = (torch.zeros(1, 128), torch.zeros(1, 128))
        found = [np.zeros(0, np.float32)]
        for samples in _pieces(hear, start, start + (stop - start) // WINDOW * WINDOW):
            scaled = torch.from_numpy(samples.astype(np.float32) / 32768)
            log_odds, state = self._network(scaled.unfold(0, CONTEXT + WINDOW, WINDOW), state)
            found.append(log_odds.numpy())
        return np.concatenate(found)


def load_voice_detector() -> VoiceDetector:
    """Return the detector with the weights of the installed package, which is not imported.

    Raises:
        WeightsUnavailableError: The package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec else []
    paths = [path for place in places if (path := Path(place) / FILE).is_file()]
    if not paths:
        raise WeightsUnavailableError(
            "silero-vad is not installed; pip install -r requirements.txt, or pass --noOffscreen"
        )
    weights = read_weights(find_file(paths[0]))
    network = VoiceNetwork()
    network.load_state_dict(dict(weights.state), strict=True)
    return VoiceDetector(network, weights.file)


def _pieces(hear: Hear, start: int, stop: int) -> Iterator[NDArray[np.int16]]:
    """Yield whole steps, a minute at a time, each piece with the samples before it."""
    before = np.zeros(CONTEXT, np.int16)
    for first in range(start, stop, PIECE):
        samples = hear(first, min(first + PIECE, stop))
        yield np.concatenate((before, samples))
        before = samples[-CONTEXT:]
