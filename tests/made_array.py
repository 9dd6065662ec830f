"""Made recordings of arrays for tests."""

import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.parity.fill import inputs

RATE = 48000


def reference_chunk(delays: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sound that the reference features were made of, (96000, 16)."""
    source = inputs("source", (96128,), -1, 1).astype(np.float64)
    noise = inputs("noise", (96000, 16), -1, 1).astype(np.float64)
    late = [source[64 - d : 64 - d + 96000] for d in delays.astype(int).tolist()]
    return 0.4 * np.stack(late, axis=1) + 0.04 * noise


def write_wav(path: Path, samples: NDArray[np.floating], rate: int = RATE) -> Path:
    """Write samples (N, C) in [-1, 1] as 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
    return path
