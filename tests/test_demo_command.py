"""The command writes all outputs, and reports errors of its input on one line."""

import io
import json
import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from demoTalkNet import load_models, main, make_parser, make_speakers
from model.contract import WeightsFile
from model.detection import DetectorChoice
from model.networks.light_asd import LightASD
from model.networks.lr_asd import LRASD
from tests.made_array import write_wav
from tests.made_sound import MadeTrack, music, speech, write_tracks, write_undecodable
from tests.made_video import write_video
from tests.parity.filled import filled, published_name
from tests.programs import run_python
from utils.arrays.geometry import write_geometry
from utils.datasets.tragic_talkers.synthetic_room import Room, simulate_room
from utils.datasets.tragic_talkers.synthetic_scene import synthetic_rig
from utils.demo_options import DemoOptions
from utils.flags import read_groups
from utils.media.container import probe
from utils.structures import Detections

OUTPUTS = {
    *("result.json", "scores.csv", "speech.csv", "speech.rttm", "speech.vtt", "people.csv"),
    *("timeline.png", "report.html", "video_out.mp4"),
}


def images(num_frames: int, height: int = 64, width: int = 96) -> Iterator[NDArray[np.uint8]]:
    scene = np.random.default_rng(0).integers(60, 120, (height, width, 3), dtype=np.uint8)
    for index in range(num_frames):
        image = scene.copy()
        image[30 : 32 + index % 5, 30:50] = 200
        yield image


def sound(seconds: float) -> NDArray[np.int16]:
    return np.random.default_rng(1).integers(-6000, 6000, int(seconds * 16000), dtype=np.int16)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of LR-ASD under their published names."""
    path = tmp_path_factory.mktemp("weights") / "filled.model"
    network = filled(LRASD())
    state = {published_name(network, key): value for key, value in network.state_dict().items()}
    torch.save(state, path)
    return path


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    path = tmp_path / "boxes.csv"
    rows = [f"anna,{frame},20,10,60,50" for frame in range(5, 40)]
    path.write_text("\n".join(["track,frame,x1,y1,x2,y2", *rows]) + "\n")
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "001.mp4"
    write_video(path, images(50), sound=sound(2))
    return path


@pytest.fixture
def run(weights: Path, boxes: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., int]:
    """Run the command with the made weights and boxes."""
    caplog.set_level(logging.INFO)

    def call(*arguments: object) -> int:
        given = ["--pretrainModel", str(weights), "--tracks", str(boxes), "--embedder", "none"]
        return main([*map(str, arguments), *given])

    return call


def test_all_outputs(
    run: Callable[..., int], video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--videoFolder", video.parent, "--videoName", "001") == 0
    folder = video.parent / "001"
    assert {path.name for path in folder.iterdir()} == OUTPUTS
    assert capsys.readouterr().out == f"{folder / 'result.json'}\n"
    result = json.loads((folder / "result.json").read_text())
    assert result["network"]["name"] == "lr_asd"
    assert result["settings"]["minTrack"] == 10
    assert [len(track["scores"]) for track in result["tracks"]] == [35]
    with av.open(str(folder / "video_out.mp4")) as marked:
        stream = marked.streams.video[0]
        assert (stream.width, stream.height, stream.frames) == (96, 64, 50)
        assert len(marked.streams.audio) == 1


@pytest.mark.parametrize(
    ("flags", "used", "reason"),
    [
        ([], [2], "the only one with speech"),
        (["--audioTrack", "1"], [1], "as requested"),
        (["--audioTrack", "all"], [1, 2], "mixed, as requested"),
    ],
    ids=["auto", "one", "all"],
)
def test_audio_track(
    run: Callable[..., int],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    flags: list[str],
    used: list[int],
    reason: str,
) -> None:
    voice = speech(8)
    tracks = [MadeTrack(music(8)), MadeTrack(np.stack([voice, -voice], axis=1))]
    write_tracks(tmp_path / "a.mkv", tracks, 10)
    assert run(tmp_path / "a.mkv", "--noVideo", *flags) == 0
    result = json.loads((tmp_path / "a" / "result.json").read_text())
    channels = "track 2: channel 1 minus channel 2" if 2 in used else ""
    expected = {"num_tracks": 2, "tracks": used, "reason": reason, "channels": channels}
    assert result["video"]["audio"] == expected
    assert result["settings"]["audioTrack"] == (flags or ["", "auto"])[1]
    numbers = " and ".join(map(str, used))
    assert f"a.mkv: audio track{'s' * (len(used) > 1)} {numbers} of 2: {reason}" in caplog.text


def test_sound_without_decoder(
    run: Callable[..., int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.mp4"
    write_undecodable(path, MadeTrack(speech(2)))
    assert run(path, "--noVideo") == 0
    result = json.loads((tmp_path / "a" / "result.json").read_text())
    warning = "the video has no sound that can be decoded: every score is that of silence"
    assert result["warnings"][0].startswith(warning)
    assert result["video"]["has_sound"] is False
    assert "a.mp4: audio track none of 1: none can be decoded" in caplog.text


def test_no_such_audio_track(
    run: Callable[..., int], video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(video, "--audioTrack", "2") == 1
    assert f"--audioTrack 2: expected 1 to 1, the number of audio tracks in {video}" in caplog.text
    assert not video.with_suffix("").exists()


def test_no_video_and_output_folder(run: Callable[..., int], video: Path, tmp_path: Path) -> None:
    assert run(video, "--outputFolder", tmp_path / "out", "--noVideo") == 0
    found = {path.name for path in (tmp_path / "out" / "001").iterdir()}
    assert found == OUTPUTS - {"video_out.mp4"}


def test_official_tree(run: Callable[..., int], video: Path) -> None:
    assert run(video, "--noVideo", "--officialTree", "--start", "0.4", "--duration", "1.2") == 0
    work = video.parent / "001" / "pywork"
    tracks = pickle.loads((work / "tracks.pckl").read_bytes())
    scores = pickle.loads((work / "scores.pckl").read_bytes())
    assert [len(score) for score in scores] == [len(tracks[0]["track"]["frame"]) - 1] == [29]
    assert len(list((video.parent / "001" / "pyframes").iterdir())) == 30


def test_the_official_tree_closes_a_gap_up(
    run: Callable[..., int], boxes: Path, tmp_path: Path
) -> None:
    boxes.write_text(
        "track,frame,x1,y1,x2,y2\n"
        + "".join(
            f"{name},{frame},20,10,60,50\n"
            for name, first in (("a", 5), ("b", 1505))
            for frame in range(first, first + 20)
        )
    )
    path = tmp_path / "gap.mkv"
    pts_s = [index / 25 + (59 if index >= 25 else 0) for index in range(50)]
    pieces = [(0.0, sound(1)), (60.0, sound(1))]
    write_video(path, images(50), sound=pieces, pts_s=pts_s, audio_codec="pcm_s16le")
    assert run(path, "--officialTree", "--cuts", os.devnull) == 0
    work = tmp_path / "gap" / "pywork"
    tracks = pickle.loads((work / "tracks.pckl").read_bytes())
    assert [one["track"]["frame"].tolist() for one in tracks] == [
        [*range(5, 25)],
        [*range(30, 50)],
    ]
    scenes = pickle.loads((work / "scene.pckl").read_bytes())
    assert [(a.frame_num, b.frame_num) for a, b in scenes] == [(0, 25), (25, 50)]
    with av.open(str(tmp_path / "gap" / "pyavi" / "audio.wav")) as container:
        heard = np.concatenate([one.to_ndarray().ravel() for one in container.decode(audio=0)])
    np.testing.assert_array_equal(heard, np.concatenate([sound(1), sound(1)]))
    with av.open(str(tmp_path / "gap" / "video_out.mp4")) as marked:  # it keeps the clock
        times = [float(one.pts * one.time_base) for one in marked.decode(video=0)]
    assert times == pytest.approx(pts_s, abs=0.001)


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".h264"])
def test_start_beyond_the_end_writes_nothing(
    run: Callable[..., int], tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"001{suffix}"
    write_video(path, images(50), sound=None if suffix == ".h264" else sound(2))
    assert run(path, "--start", "9", "--noVideo") == 1
    assert not (tmp_path / "001").exists()
    assert run(path, "--noVideo") == 0
    before = {one.name: one.read_bytes() for one in (tmp_path / "001").iterdir()}
    assert set(before) == OUTPUTS - {"video_out.mp4"}
    caplog.clear()
    for start in ("2.2", "9", "3600"):
        assert run(path, "--start", start, "--duration", "1", "--noVideo") == 1
    assert {one.name: one.read_bytes() for one in (tmp_path / "001").iterdir()} == before
    errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert len(errors) == 3
    assert all(f"001{suffix} has no image between" in one for one in errors)


def test_the_published_weights_are_recognised(
    run: Callable[..., int], video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(video, "--noVideo") == 0
    assert "network: lr_asd (filled.model)" in caplog.text


NAMES = ["a b", "it's", 'say "x"', "semi;colon", "zwölf 日本", "two\nlines", "-dash", "%03d"]


def test_names_are_only_names(weights: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.loading.choose_detector", no_faces)
    paths = [video.with_name(f"{name}.mp4") for name in NAMES]
    for path in paths:
        path.write_bytes(video.read_bytes())
    assert main([*map(str, paths), "--pretrainModel", str(weights)]) == 0
    for name in NAMES:
        assert {path.name for path in (video.parent / name).iterdir()} == OUTPUTS


def test_names_that_stdout_cannot_encode(
    run: Callable[..., int], video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = video.rename(video.with_name("日本.mp4"))
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, "cp1252", write_through=True))
    assert run(path, "--noVideo") == 0
    expected = f"{path.with_suffix('') / 'result.json'}\n"
    assert written.getvalue() == expected.encode("cp1252", "backslashreplace")


def a_folder(path: Path) -> None:
    path.mkdir()


def empty(path: Path) -> None:
    path.touch()


def text(path: Path) -> None:
    path.write_text("no video\n" * 1000)


def without_index(path: Path) -> None:
    write_video(path, images(50), sound=sound(2))
    path.write_bytes(path.read_bytes()[:2000])


def sound_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(sound(1)[None], "s16", "mono")
        frame.sample_rate = 16000
        for part in (frame, None):
            container.mux(stream.encode(part))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: None, "no such video file"),
        (a_folder, "folder"),
        (empty, "empty"),
        (text, "cannot be opened|no video"),
        (without_index, "cannot be opened|cut off"),
        (sound_only, "no video|no picture|audio"),
    ],
    ids=["missing", "folder", "empty", "text", "no index", "sound only"],
)
def test_what_is_no_video(
    run: Callable[..., int],
    tmp_path: Path,
    make: Callable[[Path], None],
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "wrong.mp4"
    make(path)
    assert run(path) == 1
    (error,) = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert "\n" not in error and error.startswith("error: wrong.mp4: ")
    assert any(part in error for part in message.split("|")), error
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize(
    ("num_frames", "height", "width"), [(1, 64, 96), (50, 1, 1), (3, 63, 95)], ids=str
)
def test_strange_videos_work(
    run: Callable[..., int], boxes: Path, tmp_path: Path, num_frames: int, height: int, width: int
) -> None:
    boxes.write_text("track,frame,x1,y1,x2,y2\n" + "a,0,0,0,1,1\n")
    path = tmp_path / "strange.mkv"
    shape = {"codec": "ffv1", "pix_fmt": "yuv444p"}
    write_video(path, images(num_frames, height, width), sound=sound(2), **shape)  # type: ignore[arg-type]
    assert run(path) == 0
    assert {one.name for one in (tmp_path / "strange").iterdir()} == OUTPUTS


def test_a_video_that_breaks_off_is_used(
    run: Callable[..., int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "broken.mkv"
    write_video(path, images(100), sound=sound(4), audio_codec="pcm_s16le")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert run(path) == 0
    assert "the video ends at" in caplog.text
    result = json.loads((tmp_path / "broken" / "result.json").read_text())
    assert "the video ends at" in result["warnings"][0]


@pytest.mark.parametrize(
    ("row", "message"),
    [("a,6,nan,10,60,50", "nan"), ("a,6,500,500,600,600", "500"), ("a,6,60,10,20,50", "x1")],
)
def test_wrong_boxes(
    run: Callable[..., int],
    video: Path,
    boxes: Path,
    row: str,
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    boxes.write_text(f"track,frame,x1,y1,x2,y2\n{row}\n")
    assert run(video) == 1
    (error,) = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert "line 2" in error and message in error and "unexpected" not in error


class Trap:
    """Writes a file if it is ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["missing", "cut short", "another network", "trap"])
def test_wrong_weights(
    kind: str, video: Path, boxes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, sprung = tmp_path / "wrong.model", tmp_path / "sprung"
    if kind == "cut short":
        torch.save(LRASD().state_dict(), path)
        path.write_bytes(path.read_bytes()[:100_000])
    elif kind == "another network":
        torch.save(LightASD().state_dict(), path)
    elif kind == "trap":
        torch.save({"model.weight": Trap(sprung)}, path)
    given = [video, "--model", "lr_asd", "--pretrainModel", path, "--tracks", boxes]
    assert main([str(one) for one in given]) == 1
    expected = {
        "missing": "no file",
        "cut short": "incomplete or damaged",
        "another network": "fits light_asd",
        "trap": "no code in it was executed",
    }
    assert expected[kind] in caplog.text
    assert not sprung.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--minTrack", "-1"],
        ["--windows", "1,0"],
        ["--windows", "a"],
        ["--windows", "7"],
        ["--threshold", "0"],
        ["--start", "-3"],
        ["--audioTrack", "first"],
        ["--cropScale", "nan"],
        ["--detectEvery", "0"],
        ["--facedetScale", "0"],
        ["--nDataLoaderThread", "0"],
        ["--threads", "0"],
        ["--encoder", "vp9"],
        ["--device", "tpu"],
        ["--model", "other"],
        ["--unknown"],
        ["a.mp4", "b.mp4", "--tracks", "boxes.csv"],
        ["a.mp4", "--evalCol"],
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert ": error: " in capsys.readouterr().err.splitlines()[-1]


def test_a_failed_video_does_not_stop_the_others(
    weights: Path, tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faces are looked for with a detector that finds none: nothing else needs weights."""
    monkeypatch.setattr("model.loading.choose_detector", no_faces)
    (tmp_path / "wrong.mp4").write_text("no video")
    given = [tmp_path / "wrong.mp4", video, "--pretrainModel", weights]
    assert main([str(one) for one in given]) == 1
    result = json.loads((tmp_path / "001" / "result.json").read_text())
    assert result["tracks"] == [] and {one.name for one in (tmp_path / "001").iterdir()} == OUTPUTS


class Blind:
    """A face detector that finds nothing."""

    name = "blind"
    weights: WeightsFile | None = None

    def image_size(self, width: int, height: int) -> tuple[int, int]:
        return width, height

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        nothing = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32))
        return [nothing] * len(images)


def no_faces(*_: object) -> DetectorChoice:
    return DetectorChoice(Blind(), "blind")


class Failing(Blind):
    """A face detector on a graphics card whose memory is full."""

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:  # noqa: ARG002
        raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")


@pytest.mark.parametrize("debug", [False, True], ids=["log file", "debug"])
def test_a_fault_keeps_its_traceback(
    debug: bool,
    weights: Path,
    video: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The other videos are analysed: each has its line."""
    monkeypatch.setattr(
        "model.loading.choose_detector", lambda *_: DetectorChoice(Failing(), "failing")
    )
    other = video.with_name("002.mp4")
    other.write_bytes(video.read_bytes())
    given = [video, other, "--pretrainModel", weights, *["--debug"][: int(debug)]]
    assert main([str(one) for one in given]) == 1
    errors = [one for one in caplog.records if one.levelno == logging.ERROR]
    line = "unexpected RuntimeError: CUDA out of memory. Tried to allocate 2 GiB"
    for error, path in zip(errors, (video, other), strict=True):
        logs = list((video.parent / path.stem).glob("talknet-error-*.log"))
        if debug:
            assert error.getMessage() == f"error: {path.name}: {line}"
            assert error.exc_info and not logs
        else:
            (log,) = logs
            assert error.getMessage() == f"error: {path.name}: {line}; the traceback is in {log}"
            assert not error.exc_info and "in detect" in log.read_text()


def test_weights_that_are_not_available_are_tried_once(
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody has published weights of ASDNet, so no network is asked."""
    monkeypatch.setenv("TALKNET_PRETRAIN", str(tmp_path / "missing"))
    paths = [video.with_name(f"{number}.mp4") for number in range(3)]
    for path in paths:
        path.write_bytes(video.read_bytes())
    (tmp_path / "wrong.mp4").write_text("no video")
    assert main([str(tmp_path / "wrong.mp4"), *map(str, paths), "--model", "asdnet"]) == 1
    errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert len(errors) == 2 and "wrong.mp4" in errors[0]
    assert errors[1].startswith("error: asdnet_tm_isrm.pth is missing and cannot be downloaded")
    assert not any((tmp_path / f"{number}").exists() for number in range(1, 3))


def test_two_videos_for_one_folder(
    weights: Path, video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = video.with_suffix(".mkv")
    other.write_bytes(video.read_bytes())
    assert main([str(video), str(other), "--pretrainModel", str(weights)]) == 1
    assert "two videos would both go to" in caplog.text
    assert not (video.parent / "001").exists()


def test_a_file_where_the_results_go(
    run: Callable[..., int], video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (video.parent / "001").touch()
    assert run(video) == 1
    assert "--outputFolder" in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="limits of this kind are POSIX")
def test_a_full_disk_leaves_nothing_half_written(video: Path, weights: Path, boxes: Path) -> None:
    code = (
        "import resource, signal, sys, demoTalkNet;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000));"
        "sys.exit(demoTalkNet.main(sys.argv[1:]))"
    )
    given = [video, "--pretrainModel", weights, "--tracks", boxes]
    done = run_python("-c", code, *map(str, given))
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr.splitlines()[-1]
    for path in (video.parent / "001").iterdir():
        assert not path.name.startswith("."), path
    assert not (video.parent / "001" / "video_out.mp4").exists()


def test_tables_are_named_even_if_the_marked_video_fails(
    run: Callable[..., int],
    video: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = video.parent / "001"
    (folder / "video_out.mp4").mkdir(parents=True)  # a file cannot replace a folder
    assert run(video) == 1
    assert capsys.readouterr().out == f"{folder / 'result.json'}\n"
    assert {path.name for path in folder.iterdir()} == OUTPUTS
    assert json.loads((folder / "result.json").read_text())["tracks"]
    assert caplog.messages[-1].startswith("error: 001.mp4: ")
    assert "video_out.mp4" in caplog.messages[-1]


def test_an_array_moves_the_scores(
    run: Callable[..., int], video: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Speech heard where the face is lifts its scores, elsewhere it lowers them, by the rule."""
    rig = synthetic_rig()
    write_geometry(rig, tmp_path / "rig.json")
    camera = rig.camera("cam06")
    scores = {}
    for place, (left, right) in {"face": (20, 60), "elsewhere": (80, 92)}.items():
        spoken = np.random.default_rng(2).normal(0, 0.2, 2 * 48000)
        spoken[:14400] *= 0.001  # a pause, by which the array knows how quiet the room is
        points = camera.point(np.full(50, (left + right) / 2 / 96), 2.0)
        recording = simulate_room(spoken, points, rig.microphones, Room())
        write_wav(tmp_path / "array.wav", 0.5 * recording / np.abs(recording).max())
        array = ("--array", tmp_path / "array.wav", "--arrayGeometry", tmp_path / "rig.json")
        given = (video, "--noVideo", *array, "--arrayCamera", "cam06")
        assert run(*given, "--outputFolder", tmp_path / place) == 0
        result = json.loads((tmp_path / place / "001" / "result.json").read_text())
        scores[place] = np.array(result["tracks"][0]["scores"])
        assert result["settings"]["arrayCamera"] == "cam06"
    difference = scores["face"] - scores["elsewhere"]
    assert np.median(difference) > 4 and (difference >= 0).all()
    assert run(video, "--array", tmp_path / "gone.wav", *array[2:], "--arrayCamera", "cam06") == 1
    assert "gone.wav" in caplog.text


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be withheld here")
def test_decoding_uses_the_cores_that_the_process_may_use(tmp_path: Path) -> None:
    """A cluster or a container often gives it fewer than the machine has."""
    path = tmp_path / "short.mp4"
    write_video(path, images(5))
    flags = ["--model", "synchrony", "--detector", "tiny_fcos", "--nDataLoaderThread", "10"]
    options = read_groups(make_parser().parse_args(flags), DemoOptions)
    models = load_models(options)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        speakers = make_speakers(probe(path), models, options)
    finally:
        os.sched_setaffinity(0, cores)
    assert speakers.options.read.threads == 1


def test_no_home_folder_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is cached there, nor does a library ask for it: it may be missing or read-only."""
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TORCH_HOME", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "/dev/null/nowhere")  # nobody can make it, not even root
    video, results = tmp_path / "short.mp4", tmp_path / "results"
    write_video(video, images(30), sound=sound(1.2))
    given = ("--model", "synchrony", "--detector", "tiny_fcos", "--outputFolder", results)
    done = run_python("demoTalkNet.py", video, *given)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert {path.name for path in (results / "short").iterdir()} == OUTPUTS
