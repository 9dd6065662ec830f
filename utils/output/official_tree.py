"""Write the folders of the original demo: pyavi, pyframes, pycrop, pywork.

Many scripts read them. Their frame numbers count from the first analysed frame.
"""

import pickle
import shutil
import tempfile
import wave
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.output.results import Result
from utils.structures import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, Detections, ScoredTrack
from utils.tracking.crop_geometry import crop_window, smooth_boxes

FOLDERS = ("pyavi", "pyframes", "pycrop", "pywork")
CROP_SIZE = 224  # pixels
OUTSIDE = 110  # grey level outside the image
JPEG_QUALITY = 95
VIDEO_QUANTISER = "2"  # of MPEG-4, as published
SPEAKING, SILENT = (0, 255, 0), (255, 0, 0)  # RGB

Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class TreeContents:
    """Contents of the tree besides the images."""

    result: Result
    faces: Sequence[Detections | None]  # of every frame, in source pixels
    waveform: NDArray[np.int16]  # 16 kHz mono from the first frame on; padded with silence
    first_frame: int = 0  # index in the result of the first frame of the tree


def write_official_tree(
    folder: Path, frames: Iterable[Image], contents: TreeContents, crop_scale: float
) -> None:
    """Write the four folders into `folder`; older ones are replaced once all are complete.

    Args:
        folder: The video's output folder.
        frames: RGB images (H, W, 3) at 25 frames/s, one for each entry of `contents.faces`; one is
            held at a time.
        contents: The result, all detections and the audio.
        crop_scale: Margin of the crops around the face.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".official.", dir=folder))
    try:
        for name in FOLDERS:
            (temporary / name).mkdir()
        placed = [
            _place(number, track, contents) for number, track in enumerate(contents.result.tracks)
        ]
        media = _MediaFiles(temporary, contents, placed, crop_scale)
        for index, (image, _) in enumerate(zip(frames, contents.faces, strict=True)):
            media.add(index, image)
        media.close()
        _write_pickles(temporary / "pywork", contents, placed)
        for name in FOLDERS:
            if (folder / name).exists():
                (folder / name).rename(temporary / f"old_{name}")
            (temporary / name).rename(folder / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@dataclass(frozen=True, eq=False)
class _Placed:
    """A track with its smoothed positions; frames count from the first one of the tree."""

    number: int
    start: int
    boxes: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    s: NDArray[np.float64]
    scores: NDArray[np.float64]  # (T - 1,)
    shown: NDArray[np.float64]  # (T,) the score drawn on each frame

    @property
    def stop(self) -> int:
        return self.start + len(self.boxes)


def _place(number: int, track: ScoredTrack, contents: TreeContents) -> _Placed:
    """Return a track in the form of the tree.

    Kept: published scores are rounded to 0.1, and there is one score fewer than frames.
    """
    start, boxes = track.start - contents.first_frame, track.boxes.astype(np.float64)
    scores = np.round(track.scores[:-1], 1).astype(np.float64)
    shown = drawn_scores(scores, len(boxes))
    return _Placed(number, start, boxes, *smooth_boxes(track.boxes), scores, shown)


def drawn_scores(scores: NDArray[np.float64], num_frames: int) -> NDArray[np.float64]:
    """Return the score that the original demo draws on each frame of a track.

    Kept: the mean over five frames never uses the last score, and is NaN if no score is left.
    """
    means = np.full(num_frames, np.nan)
    for index in range(num_frames):
        near = scores[max(index - 2, 0) : max(min(index + 3, len(scores) - 1), 0)]
        if len(near):
            means[index] = near.mean()
    return means


class _MediaFiles:
    """Writes the videos, images and audio files in one pass over the images."""

    def __init__(
        self,
        folder: Path,
        contents: TreeContents,
        tracks: Sequence[_Placed],
        crop_scale: float,
    ) -> None:
        self.folder, self.crop_scale = folder, crop_scale
        self.waiting = sorted(tracks, key=lambda track: track.start, reverse=True)
        self.active: dict[_Placed, _Avi] = {}
        self.whole: list[_Avi] = []
        self.waveform = np.zeros(len(contents.faces) * SAMPLES_PER_FRAME, np.int16)
        given = contents.waveform[: len(self.waveform)]
        self.waveform[: len(given)] = given
        _write_wave(folder / "pyavi" / "audio.wav", self.waveform)

    def add(self, index: int, image: Image) -> None:
        """Write one frame."""
        samples = self.waveform[index * SAMPLES_PER_FRAME : (index + 1) * SAMPLES_PER_FRAME]
        if not self.whole:
            height, width = image.shape[:2]
            for name in ("video.avi", "video_out.avi", "video_only.avi"):
                path = self.folder / "pyavi" / name
                self.whole.append(_Avi(path, width, height, with_audio=name != "video_only.avi"))
        _write_jpeg(self.folder / "pyframes" / f"{index + 1:06d}.jpg", image)
        while self.waiting and self.waiting[-1].start <= index:
            self._open_crop(self.waiting.pop())
        drawn = _draw(image, self.active, index)
        for video, pixels in zip(self.whole, (image, drawn, drawn), strict=True):
            video.write(pixels, samples)
        for track, crop in list(self.active.items()):
            crop.write(_crop(image, track, index, self.crop_scale), samples)
            if index + 1 == track.stop:
                self.active.pop(track).close()

    def close(self) -> None:
        """Finish every file."""
        for video in (*self.whole, *self.active.values()):
            video.close()

    def _open_crop(self, track: _Placed) -> None:
        """Open the crop video of a track and write its audio."""
        path = self.folder / "pycrop" / f"{track.number:05d}.avi"
        piece = self.waveform[track.start * SAMPLES_PER_FRAME : track.stop * SAMPLES_PER_FRAME]
        _write_wave(path.with_suffix(".wav"), piece)
        self.active[track] = _Avi(path, CROP_SIZE, CROP_SIZE, with_audio=True)


class _Avi:
    """An AVI file being written: MPEG-4 video and, with audio, 16-bit PCM."""

    def __init__(self, path: Path, width: int, height: int, with_audio: bool) -> None:
        import av

        self.container = av.open(str(path), "w", format="avi")
        self.video = self.container.add_stream("mpeg4", rate=FPS)
        self.video.width, self.video.height, self.video.pix_fmt = width, height, "yuv420p"
        context = self.video.codec_context
        context.codec_tag, context.thread_count = "XVID", 1
        context.options = {"qmin": VIDEO_QUANTISER, "qmax": VIDEO_QUANTISER}
        self.audio = None
        if with_audio:
            self.audio = self.container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")

    def write(self, image: Image, samples: NDArray[np.int16]) -> None:
        """Add a frame and, if the file has audio, its 40 ms of samples."""
        import av

        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        self.container.mux(self.video.encode(frame))
        if self.audio is not None:
            piece = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            piece.sample_rate = SAMPLE_RATE
            self.container.mux(self.audio.encode(piece))

    def close(self) -> None:
        """Flush the encoders and close the file."""
        for stream in (self.video, self.audio):
            if stream is not None:
                self.container.mux(stream.encode(None))
        self.container.close()


def _write_wave(path: Path, waveform: NDArray[np.int16]) -> None:
    """Write a 16 kHz mono WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(waveform.astype("<i2").tobytes())


def _write_jpeg(path: Path, image: Image) -> None:
    """Write an RGB image; raises on a full disk, unlike OpenCV's own writer."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, content = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    assert done, "OpenCV encodes any image of a video"
    path.write_bytes(content.tobytes())


def _crop(image: Image, track: _Placed, index: int, crop_scale: float) -> Image:
    """Return the (224, 224, 3) crop of a track in a frame; grey outside the image."""
    place = index - track.start
    x, y, s = float(track.x[place]), float(track.y[place]), float(track.s[place])
    top, bottom, left, right = crop_window(x, y, s, crop_scale)
    inside = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if inside.shape[:2] != (bottom - top, right - left):
        window = np.full((bottom - top, right - left, 3), OUTSIDE, np.uint8)
        down, across = min(max(-top, 0), bottom - top), min(max(-left, 0), right - left)
        window[down : down + inside.shape[0], across : across + inside.shape[1]] = inside
        inside = window
    return np.asarray(cv2.resize(inside, (CROP_SIZE, CROP_SIZE)), np.uint8)


def _draw(image: Image, tracks: Iterable[_Placed], index: int) -> Image:
    """Return the image with boxes and scores as the original demo draws them."""
    drawn = image.copy()
    for track in tracks:
        place = index - track.start
        x, y, s = track.x[place], track.y[place], track.s[place]
        score = float(track.shown[place])
        colour = SPEAKING if score >= 0 else SILENT  # NaN counts as silent
        first, second = (int(x - s), int(y - s)), (int(x + s), int(y + s))
        cv2.rectangle(drawn, first, second, colour, 10)
        cv2.putText(drawn, f"{score:.1f}", first, cv2.FONT_HERSHEY_SIMPLEX, 1.5, colour, 5)
    return drawn


def _write_pickles(folder: Path, contents: TreeContents, tracks: Sequence[_Placed]) -> None:
    """Write the four pickle files of the original demo."""
    from scenedetect import FrameTimecode

    first, fps = contents.first_frame, float(FPS)
    shots = [
        (FrameTimecode(shot.start - first, fps), FrameTimecode(shot.stop - first, fps))
        for shot in contents.result.shots
    ]
    no_faces = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    faces = [
        [
            {"frame": index, "bbox": box, "conf": confidence}
            for box, confidence in zip(
                detections.boxes.tolist(), detections.confidences.tolist(), strict=True
            )
        ]
        for index, detections in enumerate(found or no_faces for found in contents.faces)
    ]
    found_tracks = [
        {
            "track": {"frame": np.arange(track.start, track.stop), "bbox": track.boxes},
            "proc_track": {"x": track.x, "y": track.y, "s": track.s},
        }
        for track in tracks
    ]
    scores = [track.scores for track in tracks]
    tables = (("scene", shots), ("faces", faces), ("tracks", found_tracks), ("scores", scores))
    for name, table in tables:
        with (folder / f"{name}.pckl").open("wb") as file:
            pickle.dump(table, file)
