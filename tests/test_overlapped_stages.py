"""Decoding and detection run ahead in threads: same results, same errors, and no thread is left."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import talkNet
from model.contract import Network, WeightsFile
from model.networks.lr_asd import LRASD
from talkNet import ActiveSpeakers, AnalysisOptions, ShotResult
from tests.made_video import write_video
from tests.parity.filled import filled
from utils.media.container import ReadOptions
from utils.media.video import frames_ahead
from utils.output.render import render_video
from utils.structures import Detections, Frame

WIDTH, HEIGHT = 96, 64
NUM_FRAMES = 250  # more than all queues hold
CUTS_S = (3.0, 6.0)


@pytest.fixture(autouse=True)
def no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("utils.media.video.num_cores", lambda: 2)
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.fixture(scope="module")
def network() -> Network:
    return filled(LRASD())


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "made.mkv"
    rng = np.random.default_rng(0)
    images = rng.integers(60, 120, (NUM_FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)
    sound = rng.integers(-6000, 6000, NUM_FRAMES * 640, dtype=np.int16)
    write_video(path, images, sound=sound, audio_codec="pcm_s16le")
    return path


class Shaking:
    """A face detector whose box depends on every pixel of the image; fails at one call if asked."""

    name = "shaking"
    weights: WeightsFile | None = None

    def __init__(self, fails_at: int = 0, error: BaseException | None = None) -> None:
        self.threads: set[threading.Thread] = set()
        self.calls = 0
        self._fails_at, self._error = fails_at, error

    def image_size(self, width: int, height: int) -> tuple[int, int]:
        return width, height

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        self.threads.add(threading.current_thread())
        self.calls += 1
        if self.calls == self._fails_at:
            assert self._error is not None
            raise self._error
        shifts = [float(image.astype(int).sum() % 97) / 100 for image in images]
        boxes = [np.array([(20 + x, 10, 60 + x, 50)], np.float32) for x in shifts]
        return [Detections(box, np.ones(1, np.float32)) for box in boxes]


def analysis(video: Path, network: Network, detector: Shaking) -> ActiveSpeakers:
    options = AnalysisOptions(cuts=CUTS_S, detect_every=1)
    return ActiveSpeakers(talkNet.probe(video), network, detector, options)


def values(shots: Sequence[ShotResult]) -> list[tuple[object, ...]]:
    """Return everything that was found, exactly."""
    return [
        (one.shot, *((t.id, t.start, t.boxes.tobytes(), t.scores.tobytes()) for t in one.tracks))
        for one in shots
    ]


def test_results_are_those_of_one_thread(
    network: Network, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Shaking()
    speakers = analysis(video, network, detector)
    seen: list[tuple[int, threading.Thread]] = []
    speakers.on_frame = lambda frame: seen.append((frame.index, threading.current_thread()))
    found = values(list(speakers))
    assert [len(shot) for shot in found] == [2, 2, 2]
    assert seen == [(index, threading.current_thread()) for index in range(NUM_FRAMES)]
    assert len(detector.threads) == 1
    assert threading.current_thread() not in detector.threads
    monkeypatch.setattr("utils.media.video.num_cores", lambda: 1)
    serial = Shaking()
    assert values(list(analysis(video, network, serial))) == found
    assert serial.threads == {threading.current_thread()}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_of_a_stage_comes_after_the_shots_before_it(
    network: Network, video: Path, error: type[BaseException]
) -> None:
    shots = []
    with pytest.raises(error, match="the fifth batch"):
        for shot in analysis(video, network, Shaking(5, error("the fifth batch"))):
            shots.append(shot.shot)
    assert [(shot.start, shot.stop) for shot in shots] == [(0, 75)]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_of_the_reader_ends_all_threads(
    network: Network, video: Path, error: type[BaseException]
) -> None:
    speakers = analysis(video, network, Shaking())

    def stop(frame: Frame) -> None:
        if frame.index == 40:
            raise error

    speakers.on_frame = stop
    with pytest.raises(error):
        list(speakers)


def test_an_early_end_ends_all_threads(network: Network, video: Path) -> None:
    speakers = analysis(video, network, Shaking())
    shots = iter(speakers)
    next(shots)
    assert threading.active_count() > 1
    del shots  # the fixture counts the threads


def test_the_marked_video_is_that_of_one_thread(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = talkNet.probe(video)
    render_video(facts, [], tmp_path / "a.mp4", ReadOptions(duration_s=2.0))
    monkeypatch.setattr("utils.media.video.num_cores", lambda: 1)
    render_video(facts, [], tmp_path / "b.mp4", ReadOptions(duration_s=2.0))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("place", ["encoding", "painting"])
def test_an_error_of_the_marked_video_ends_its_thread(
    place: str,
    error: type[BaseException],
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise error("stopped here")

    if place == "painting":
        monkeypatch.setattr("utils.output.render.Overlay.draw", fail)
    with pytest.raises(error, match="stopped here"):
        render_video(talkNet.probe(video), [], tmp_path / "a.mp4", ReadOptions(), fail)
    assert list(tmp_path.iterdir()) == []


def test_only_a_few_frames_are_held(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = talkNet.probe(video)
    assert frames_ahead(facts, None) == 32
    assert frames_ahead(facts, (4000, 2000)) == 1  # a detector's images count too
    assert frames_ahead(facts, (1000, 400), colour=True) == 13  # of 1.2 MB
    monkeypatch.setattr("utils.media.video.num_cores", lambda: 1)
    assert frames_ahead(facts, None) == 0
