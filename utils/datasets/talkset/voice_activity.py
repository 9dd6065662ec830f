"""Voice activity from the energy of audio, and mouth motion from face crops."""

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.media.audio import Sound
from utils.structures import FPS, SAMPLE_RATE, STEPS_PER_FRAME

Runs = list[tuple[int, int]]  # half-open ranges, in order

STEPS_PER_S = FPS * STEPS_PER_FRAME
STEP = SAMPLE_RATE // STEPS_PER_S  # samples, 10 ms
CHUNK_S = 10  # read at once
SMOOTH = 5  # steps over which the level is averaged
FAINT_DB = -50.0  # of full scale; audio whose louder parts are below this has no voice
BELOW_PEAK_DB = 22.0  # parts quieter than the louder parts by more than this are not voice
SPREAD_DB = 15.0  # with a smaller range of levels, voice cannot be distinguished from noise
QUIET_SHARE = 0.5  # voice is above the middle between loud and quiet parts, in dB
MIN_PAUSE = 20  # steps; shorter pauses count as speech
MIN_VOICE = 10  # steps; shorter sounds are not speech
DIGITAL_SILENCE_DB = -95.0

MOUTH = (slice(64, 108), slice(30, 82))  # rows and columns of a crop of 112 x 112
BLUR = 1.5  # pixels, against compression noise
MOTION_FRAMES = 5  # frames over which motion is averaged


def audio_levels(audio: Sound, stop_s: float) -> NDArray[np.float32]:
    """Return the level (N,) of each 10 ms of audio, dB of full scale.

    Args:
        audio: Read from its beginning to its end.
        stop_s: Where to stop if the audio is longer; 0 for no limit.
    """
    parts: list[NDArray[np.float32]] = []
    size = CHUNK_S * SAMPLE_RATE
    position = 0
    while audio.has_sound and not (stop_s and position >= stop_s * SAMPLE_RATE):
        samples = audio.read(position, position + size)
        num_decoded = min(size, max(0, audio.num_decoded - position))
        steps = samples[: num_decoded // STEP * STEP].reshape(-1, STEP).astype(np.float32) / 32768
        centred = steps - steps.mean(axis=1, keepdims=True)
        parts.append(10 * np.log10((centred**2).mean(axis=1) + 1e-10))
        position += size
        if num_decoded < size:
            break
    return np.concatenate([*parts, np.empty(0, np.float32)])


def find_voice(levels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return voice activity for each 10 ms, (N,), assuming that all loud audio is voice.

    The threshold is 22 dB below the 95th percentile of the level, but at least midway between the
    10th and the 95th. Digital silence is excluded from the latter.
    """
    audible = levels[levels > DIGITAL_SILENCE_DB]
    if not len(audible):
        return np.zeros(len(levels), np.bool_)
    quiet, peak = np.percentile(levels, 10), np.percentile(audible, 95)
    if peak < FAINT_DB or peak - quiet < SPREAD_DB:
        return np.zeros(len(levels), np.bool_)
    threshold = max(peak - BELOW_PEAK_DB, quiet + QUIET_SHARE * (peak - quiet))
    power = np.convolve(10 ** (levels / 10), np.full(SMOOTH, 1 / SMOOTH), "same")
    loud = 10 * np.log10(power + 1e-10) > threshold
    voice = np.zeros(len(levels), np.bool_)
    for start, stop in find_runs(loud, MIN_PAUSE):
        voice[start:stop] = stop - start >= MIN_VOICE
    return voice


def find_runs(mask: NDArray[np.bool_], bridged: int = 0) -> Runs:
    """Return the ranges where a mask (N,) is true; gaps shorter than `bridged` are closed."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    runs: Runs = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if runs and start - runs[-1][1] < bridged:
            runs[-1] = (runs[-1][0], stop)
        else:
            runs.append((start, stop))
    return runs


def mouth_motion(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the motion of the lower face in each frame, (T,): mean change, grey levels per frame.

    Args:
        crops: (T, 112, 112) grey, of one track without gaps.
    """
    if len(crops) < 2:
        return np.zeros(len(crops), np.float32)
    changes = np.empty(len(crops), np.float32)
    before = _mouth(crops[0])
    for frame in range(1, len(crops)):
        mouth = _mouth(crops[frame])
        changes[frame] = np.abs(mouth - before).mean()
        before = mouth
    changes[0] = changes[1]
    padded = np.pad(changes, MOTION_FRAMES // 2, mode="edge")
    return np.convolve(padded, np.full(MOTION_FRAMES, 1 / MOTION_FRAMES), "valid").astype(
        np.float32
    )


def _mouth(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    blurred = cv2.GaussianBlur(crop[MOUTH], (0, 0), BLUR)
    return np.asarray(blurred, np.float32)
