"""Score a face track with an exported network, without torch and without this project.

    python -m model.export onnx --model lr_asd --output lr_asd.onnx
    python docs/examples/score_onnx.py lr_asd.onnx faces.npy audio.wav

`faces.npy` holds the grey crops of a track, uint8 (T, 112, 112) at 25 frames/s; `audio.wav` is mono
at 16 kHz, 16 bits, from the start of the first crop on. Prints the score of each frame: above 0
means speaking. Needs numpy, onnxruntime and python_speech_features.
"""

import sys
import wave

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from python_speech_features import mfcc

FPS, SAMPLE_RATE, STEPS_PER_FRAME = 25, 16000, 4


def score(
    session: onnxruntime.InferenceSession, faces: NDArray[np.uint8], samples: NDArray[np.int16]
) -> NDArray[np.float32]:
    """Return the scores (T,) of a track, as `talkNet.score_track` does.

    Args:
        session: The exported network; its metadata names the window lengths that are averaged.
        faces: Grey crops (T, 112, 112).
        samples: Mono audio at 16 kHz; missing audio at the end counts as silence.
    """
    needed = max(len(faces), 2) * SAMPLE_RATE // FPS
    samples = np.pad(samples, (0, max(0, needed - len(samples))))
    audio = mfcc(samples, SAMPLE_RATE, nfft=512).astype(np.float32)  # 13 values, 4 rows per frame
    usable = min(len(audio) // STEPS_PER_FRAME, len(faces))  # the last frame may lack a row
    windows = session.get_modelmeta().custom_metadata_map["windows"].split(",")
    scores = np.zeros(usable, np.float32)
    for seconds in map(int, windows):
        for start in range(0, usable, FPS * seconds):
            stop = min(start + FPS * seconds, usable)
            steps = audio[STEPS_PER_FRAME * start : STEPS_PER_FRAME * stop]
            inputs = {"audio": steps[None], "faces": faces[None, start:stop]}
            (logits,) = session.run(["logits"], inputs)
            scores[start:stop] += logits[0, :, 1]
    return np.pad(scores / len(windows), (0, len(faces) - usable), mode="edge")


def main(model: str, faces: str, sound: str) -> None:
    """Print the score of each frame."""
    with wave.open(sound) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for frame, value in enumerate(score(session, np.load(faces), samples)):
        print(f"{frame / FPS:.2f} s {value:+.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:4])
