"""The whole application on generated video: streamed, in pieces, in spans, in silence."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import talkNet
from model.contract import Network, WeightsFile
from model.networks.lr_asd import LRASD
from talkNet import ActiveSpeakers, AnalysisOptions
from tests.made_video import write_video
from tests.parity.filled import filled
from tests.programs import run_python
from utils.errors import UserError
from utils.media.container import ReadOptions
from utils.output.results import Result
from utils.structures import CropForm, Detections, FaceTrack
from utils.tracking.crop_geometry import crop_face, smooth_boxes
from utils.tracking.greedy_tracker import TrackOptions

SECONDS = 4
WIDTH, HEIGHT = 96, 64
BOX = (20.0, 10.0, 60.0, 50.0)


def images(num_frames: int, seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    scene = rng.integers(60, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for index in range(num_frames):
        image = scene.copy()
        image[25 : 30 + index % 7, 30:50] = 200
        yield image


def noise(num_samples: int) -> NDArray[np.int16]:
    return np.random.default_rng(1).integers(-6000, 6000, num_samples, dtype=np.int16)


@pytest.fixture(scope="module")
def network() -> Network:
    return filled(LRASD())


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "made.mkv"
    sound = noise(SECONDS * 16000)
    write_video(path, images(25 * SECONDS), sound=sound, audio_codec="pcm_s16le")
    return path


def track(start: int, num_frames: int) -> FaceTrack:
    return FaceTrack(start, np.tile(np.array(BOX, np.float32), (num_frames, 1)))


def test_scores_are_those_of_the_track_by_itself(network: Network, video: Path) -> None:
    options = AnalysisOptions(boxes=[track(5, 60)], windows=(1, 2))
    result = talkNet.detect_active_speakers(video, network, None, options, embedder="none")
    assert [(one.start, one.stop) for one in result.tracks] == [(5, 65)]

    frames = list(images(65))[5:]
    x, y, s = smooth_boxes(track(5, 60).boxes)
    crops = [
        crop_face(np.asarray(image[..., 0], np.uint8), place, 0.40)
        for image, place in zip(frames, zip(x, y, s, strict=True), strict=True)
    ]
    waveform = noise(SECONDS * 16000)[5 * 640 : 65 * 640]
    assert np.stack(crops).shape == (60, 112, 112)
    whole = talkNet.score_track(network, np.stack(crops), waveform, windows=(1, 2))
    # the video is grey, so it comes back as it was but for its compression
    np.testing.assert_allclose(result.tracks[0].scores, whole, atol=0.5)
    assert np.corrcoef(result.tracks[0].scores, whole)[0, 1] > 0.95


def test_span_is_on_the_clock_of_the_video(network: Network, video: Path) -> None:
    whole = AnalysisOptions(boxes=[track(30, 40)])
    span = AnalysisOptions(boxes=[track(30, 40)], read=ReadOptions(start_s=1.0, duration_s=2.0))
    first = talkNet.detect_active_speakers(video, network, None, whole, embedder="none")
    second = talkNet.detect_active_speakers(video, network, None, span, embedder="none")
    assert [(shot.start, shot.stop) for shot in second.shots] == [(25, 75)]
    np.testing.assert_allclose(second.tracks[0].scores, first.tracks[0].scores, atol=1e-3)
    assert second.tracks[0].start == first.tracks[0].start == 30


def test_shots_come_while_the_video_is_running(network: Network, video: Path) -> None:
    options = AnalysisOptions(boxes=[track(0, 100)], cuts=[1.0, 2.0])
    speakers = ActiveSpeakers(talkNet.probe(str(video)), network, None, options)
    seen: list[int] = []
    speakers.on_frame = lambda frame: seen.append(frame.index)
    shots = iter(speakers)
    first = next(shots)
    assert (first.shot.start, first.shot.stop, len(first.tracks)) == (0, 25, 1)
    assert max(seen) < 40  # the rest of the video has not been looked at
    assert [len(shot.tracks) for shot in shots] == [1, 1]
    assert [one.id for one in speakers.result().tracks] == [0, 1, 2]


def test_pieces_of_a_long_track_score_as_the_whole(
    network: Network, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = AnalysisOptions(boxes=[track(0, 90)], windows=(1, 2))
    whole = talkNet.detect_active_speakers(video, network, None, options, embedder="none")
    form = CropForm(piece=50)  # frames, a multiple of both windows
    monkeypatch.setattr("model.scoring.scorers.CropForm", lambda *_, **__: form)
    pieces = talkNet.detect_active_speakers(video, network, None, options, embedder="none")
    np.testing.assert_allclose(pieces.tracks[0].scores, whole.tracks[0].scores, atol=1e-3)


def test_video_without_sound(network: Network, tmp_path: Path) -> None:
    write_video(tmp_path / "mute.mp4", images(30))
    options = AnalysisOptions(boxes=[track(0, 30)])
    result = talkNet.detect_active_speakers(
        tmp_path / "mute.mp4", network, None, options, embedder="none"
    )
    assert result.tracks[0].scores.tolist() == [-10.0] * 30
    assert result.tracks[0].probabilities.max() < 1e-6
    assert "no sound" in result.warnings[0]
    assert not result.segments


def test_digital_silence_is_not_speaking_unless_asked(network: Network, tmp_path: Path) -> None:
    sound = noise(4 * 16000)
    sound[16000 : 3 * 16000] = 0
    write_video(tmp_path / "gap.mkv", images(100), sound=sound, audio_codec="pcm_s16le")
    scores = {}
    for scored in (False, True):
        options = AnalysisOptions(boxes=[track(0, 100)], score_silence=scored)
        result = talkNet.detect_active_speakers(
            tmp_path / "gap.mkv", network, None, options, embedder="none"
        )
        scores[scored] = result.tracks[0].scores
    assert (scores[False][30:70] == -10).all() and (scores[True][30:70] != -10).all()
    np.testing.assert_array_equal(scores[False][:25], scores[True][:25])


def test_silence_throughout_is_said(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "silent.mkv"
    silence = np.zeros(2 * 16000, np.int16)
    write_video(path, images(50), sound=silence, audio_codec="pcm_s16le")
    for scored, expected in ((False, "that of silence"), (True, "pictures alone")):
        options = AnalysisOptions(boxes=[track(0, 50)], score_silence=scored)
        (warning,) = talkNet.detect_active_speakers(
            path, network, None, options, embedder="none"
        ).warnings
        assert "silent throughout" in warning and expected in warning


def test_result_survives_json(network: Network, video: Path, tmp_path: Path) -> None:
    options = AnalysisOptions(boxes=[track(3, 50)])
    result = talkNet.detect_active_speakers(str(video), network, None, options, embedder="none")
    result.write_json(tmp_path / "result.json")
    back = Result.read_json(tmp_path / "result.json")
    assert back.video == result.video and back.shots == list(result.shots)
    np.testing.assert_allclose(back.tracks[0].scores, result.tracks[0].scores, atol=1e-4)


def test_neither_detector_nor_boxes(network: Network, video: Path) -> None:
    with pytest.raises(ValueError, match="face detector or own boxes"):
        ActiveSpeakers(talkNet.probe(video), network, None)


@pytest.mark.weights
def test_demo_clip_is_marked_right() -> None:
    if "TALKNET_PRETRAIN" not in os.environ:
        pytest.skip("needs released weights; set TALKNET_PRETRAIN")
    clip = Path(__file__).parents[1] / "demo" / "001.mp4"
    network, detector = talkNet.load_network("lr_asd"), talkNet.load_detector("yunet")
    result = talkNet.detect_active_speakers(clip, network, detector, AnalysisOptions(windows=(2,)))
    assert len(result.tracks) == 3 and len(result.shots) == 2
    assert 8 < sum(segment.stop_s - segment.start_s for segment in result.segments) < 25


@pytest.fixture
def shipped_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave only the weights that are part of the repository, and no way to others."""
    folder = tmp_path / "pretrain"
    folder.mkdir()
    for name in ("synchrony", "tiny_fcos"):
        shutil.copy(Path(__file__).parents[1] / f"pretrain/{name}.safetensors", folder)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("TALKNET_PRETRAIN", raising=False)
    monkeypatch.setattr("model.checkpoints.registry.find_weights.__defaults__", (folder,))
    monkeypatch.setattr("model.checkpoints.registry.get_weights.__defaults__", (None, folder))


@pytest.mark.usefixtures("shipped_alone")
def test_a_path_is_enough(video: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        result = talkNet.detect_active_speakers(video)
    network, detector = result.network, result.detector
    assert (network.name, network.weights) == ("synchrony", "synchrony.safetensors")
    assert (detector.name, detector.weights) == ("tiny_fcos", "tiny_fcos.safetensors")
    for record in (network, detector):
        assert "because" in record.reason and record.reason in caplog.text
    assert [(shot.start, shot.stop) for shot in result.shots] == [(0, 25 * SECONDS)]


@pytest.mark.usefixtures("shipped_alone")
def test_networks_and_detectors_by_name(network: Network, video: Path) -> None:
    named = talkNet.detect_active_speakers(video, "synchrony", "tiny_fcos")
    assert named.network.reason == "synchrony (synchrony.safetensors), as asked for"
    assert named.detector.reason == "tiny_fcos (tiny_fcos.safetensors), as asked for"
    mixed = talkNet.detect_active_speakers(video, network, "tiny_fcos")
    assert (mixed.network.name, mixed.network.reason) == ("lr_asd", "")
    boxes = AnalysisOptions(boxes=[track(5, 20)], windows=(1,))
    given = talkNet.detect_active_speakers(video, "synchrony", options=boxes)
    assert (given.detector.name, given.detector.reason) == ("none", "the boxes were given")
    assert [(one.start, one.stop) for one in given.tracks] == [(5, 25)]


def test_unknown_names(network: Network, video: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected one of the networks .*got 'nonet'"):
        talkNet.detect_active_speakers(video, "nonet")
    with pytest.raises(UserError, match=r"named one of auto, .*yunet; got 'haar'"):
        talkNet.detect_active_speakers(video, network, "haar")
    with pytest.raises(FileNotFoundError):
        talkNet.detect_active_speakers(tmp_path / "none.mp4")


class Chequered:
    """A face detector: in dark images it finds two faces, in bright ones only the first."""

    name = "chequered"
    weights: WeightsFile | None = None

    def image_size(self, width: int, height: int) -> tuple[int, int]:
        return width, height

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        boxes = np.array([(50, 10, 90, 50), (5, 10, 45, 50)], np.float32)
        counts = (2 if image.mean() < 100 else 1 for image in images)
        return [Detections(boxes[:count], np.ones(count, np.float32)) for count in counts]


def test_a_track_that_waits_long_for_its_face_is_still_heard(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("talkNet.KEEP_S", 2.0)
    monkeypatch.setattr("model.scoring.scorers.CropForm", lambda *_, **__: CropForm(piece=50))
    path = tmp_path / "a.mkv"
    levels = [60] * 30 + [120] * 300
    frames = [np.full((HEIGHT, WIDTH, 3), level, np.uint8) for level in levels]
    write_video(path, frames, sound=noise(330 * 640), audio_codec="pcm_s16le")
    options = AnalysisOptions(
        tracks=TrackOptions(num_failed_det=250), cuts=[], detect_every=1, windows=(1,)
    )
    result = talkNet.detect_active_speakers(path, network, Chequered(), options)
    assert sorted((one.start, one.stop) for one in result.tracks) == [(0, 30), (0, 330)]
    assert result.warnings == []


def test_a_span_without_images_is_an_error_and_no_result(network: Network, video: Path) -> None:
    options = AnalysisOptions(boxes=[track(0, 100)], read=ReadOptions(start_s=4.0))
    with pytest.raises(UserError, match=r"made\.mkv has no image from 4 s on"):
        talkNet.detect_active_speakers(video, network, None, options, embedder="none")


def test_a_gap_ends_a_shot_and_is_told(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "gap.mkv"
    pts_s = [index / 25 + (600 if index >= 50 else 0) for index in range(100)]
    pieces = [(0.0, noise(2 * 16000)), (602.0, noise(2 * 16000))]
    write_video(path, images(100), sound=pieces, pts_s=pts_s, audio_codec="pcm_s16le")
    options = AnalysisOptions(boxes=[track(10, 40), track(15050, 50)], cuts=[])
    seen: list[int] = []
    speakers = ActiveSpeakers(talkNet.probe(path), network, None, options)
    speakers.on_frame = lambda frame: seen.append(frame.index)
    shots = [(one.shot.start, one.shot.stop, len(one.tracks)) for one in speakers]
    assert shots == [(0, 50, 1), (15050, 15100, 1)]
    assert len(seen) == 100
    result = speakers.result()
    assert [(one.start, one.stop) for one in result.tracks] == [(10, 50), (15050, 15100)]
    assert all(one.scores.min() > -10 for one in result.tracks)  # heard on both sides
    assert result.warnings == [
        "the video has no images between 2.0 and 602.0 s: nothing was analysed there"
    ]


def test_a_place_where_the_clock_jumps_is_told(network: Network, tmp_path: Path) -> None:
    parts = []
    for name in ("a.ts", "b.ts"):
        write_video(
            tmp_path / name,
            images(50),
            sound=noise(2 * 16000),
            video_start_s=1.0,
            audio_start_s=1.0,
        )
        parts.append((tmp_path / name).read_bytes())
    (tmp_path / "joined.ts").write_bytes(b"".join(parts))
    options = AnalysisOptions(boxes=[track(0, 100)], cuts=[])
    result = talkNet.detect_active_speakers(
        tmp_path / "joined.ts", network, None, options, embedder="none"
    )
    # The sound of each part begins 64 ms, two frames, before its images.
    assert [(shot.start, shot.stop) for shot in result.shots] == [(2, 104)]
    (warning,) = result.warnings
    assert "the time stamps jump back by 2." in warning
    assert result.tracks[0].scores.min() > -10


def test_importing_it_imports_no_data_sets() -> None:
    code = "import sys, talkNet, demoTalkNet; print([m for m in sys.modules if 'datasets' in m])"
    assert run_python("-c", code).stdout.strip() == "[]"
