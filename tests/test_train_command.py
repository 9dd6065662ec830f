"""The command trains, resumes, evaluates and rejects wrong options, with the published flags."""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import trainTalkNet
from model.checkpoints.build import load_single
from model.checkpoints.training import load
from tests.made_ava import Movie, archive, write_movie
from tests.made_mirror import Mirror, serving
from tests.made_training import made_part
from tests.programs import ROOT, run_python
from utils.datasets.entities import EntityInfo
from utils.datasets.splits import DataOptions
from utils.datasets.storage.entity_store import EntityStoreWriter
from utils.flags import read_groups
from utils.metrics.average_precision import read_predictions
from utils.structures import FPS
from utils.training_options import Options

QUICK = ("--model", "lr_asd", "--batchSize", "24", "--nDataLoaderThread", "0", "--device", "cpu")


@pytest.fixture(scope="module")
def talkset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a TalkSet of 10 short clips."""
    folder = tmp_path_factory.mktemp("talkset")
    generator = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 4)):
        writer = EntityStoreWriter(folder / split)
        for number in range(count):
            part = made_part(generator, 8, number)
            part = replace(part, faces=part.faces.repeat(7, axis=1).repeat(7, axis=2))
            speaking = int((part.labels == 1).sum())
            info = EntityInfo(f"{split}{number}", split, 8, Fraction(FPS), speaking)
            writer.add(info, part.faces, part.waveform, part.labels, part.timestamps)
        writer.write_index()
    return folder


def arguments(talkset: Path, save: Path, *more: str) -> list[str]:
    where = ["--data", "talkset", "--dataPath", str(talkset), "--savePath", str(save)]
    return [*where, *QUICK, *more]


def test_train_resume_and_evaluate(
    talkset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    halves, whole = tmp_path / "halves", tmp_path / "whole"
    assert trainTalkNet.main(arguments(talkset, halves, "--maxEpoch", "1")) == 0
    assert trainTalkNet.main(arguments(talkset, halves, "--maxEpoch", "2")) == 0
    assert trainTalkNet.main(arguments(talkset, whole, "--maxEpoch", "2")) == 0
    first, second = (load(path / "model" / "last.model") for path in (halves, whole))
    assert all(
        torch.equal(first["state_dict"][name], tensor)
        for name, tensor in second["state_dict"].items()
    )
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"best mAP \d+\.\d\d% in epoch [12]: .*/whole/model/best\.model", lines[2])
    assert len(lines) == 3
    assert len((whole / "score.txt").read_text().splitlines()) == 2
    load_single("lr_asd", whole / "model" / "best.model")

    best = str(whole / "model" / "best.model")
    given = arguments(talkset, tmp_path / "judged", "--evaluation", "--pretrainModel", best)
    assert trainTalkNet.main(given) == 0
    result = capsys.readouterr().out.strip()
    assert result == re.search(r"mAP \d+\.\d\d%", lines[2]).group()  # type: ignore[union-attr]
    assert len(read_predictions(tmp_path / "judged" / "val_res.csv")) == 32


@pytest.mark.slow
def test_two_processes_by_torchrun(talkset: Path, tmp_path: Path) -> None:
    """LR-ASD draws its dropout in each process by itself, so the numbers may differ a little."""
    given = arguments(talkset, tmp_path, "--maxEpoch", "1", "--talkNCE", "--desync", "0.5")
    done = run_python("trainTalkNet.py", *given, processes=2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.fullmatch(r"best mAP .*best\.model\n", done.stdout)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "best.model",
        "last.model",
    ]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals to groups are POSIX")
@pytest.mark.parametrize("moment", ["workers start", "first batch"])
def test_sigterm_to_the_whole_group_keeps_what_was_learnt(
    talkset: Path, tmp_path: Path, moment: str
) -> None:
    """As `timeout`, SLURM, systemd and Kubernetes send it; twice, as `timeout` does."""
    save, more = tmp_path / "stopped", ["--maxEpoch", "3", "--saveInterval", "100"]
    given = [one for one in arguments(talkset, save, *more) if one != "0"]
    given.insert(given.index("--nDataLoaderThread") + 1, "2")
    with subprocess.Popen(
        [sys.executable, "trainTalkNet.py", *given],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        begun = save / "tensorboard"  # written before the workers are started
        while not begun.exists() and process.poll() is None:
            time.sleep(0.05)
        if moment == "first batch":
            assert any("batch" in line for line in iter(lambda: read_bar(process), ""))
        os.killpg(process.pid, signal.SIGTERM)
        os.killpg(process.pid, signal.SIGTERM)
        output = process.stderr.read()
    assert process.returncode == 1, output
    assert "stopped; start again with the same --savePath to resume" in output
    assert "killed" not in output and "Traceback" not in output
    place = load(save / "model" / "last.model")["training"]["trainer"]
    assert (place["epoch"], place["step"]) >= (1, 1)
    assert trainTalkNet.main(given) == 0
    assert trainTalkNet.main(arguments(talkset, tmp_path / "whole", *more)) == 0
    stopped, whole = (load(path / "model" / "last.model") for path in (save, tmp_path / "whole"))
    assert all(
        torch.equal(stopped["state_dict"][name], tensor)
        for name, tensor in whole["state_dict"].items()
    )


def read_bar(process: subprocess.Popen[str]) -> str:
    """Return the output of a training up to the end of a line or of a bar's state."""
    assert process.stderr is not None
    text = ""
    while (one := process.stderr.read(1)) and one not in "\r\n":
        text += one
    return text + one


def test_other_settings_and_nothing_there(
    talkset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = arguments(talkset, tmp_path, "--maxEpoch", "1")
    assert trainTalkNet.main(given) == 0
    refused = run_python("trainTalkNet.py", *given, "--lr", "0.5")
    assert refused.returncode == 1
    assert refused.stdout == ""
    last = refused.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert "was trained with --lr 0.001, found 0.5; resume with the same" in last
    nowhere = str(tmp_path / "nowhere")
    assert trainTalkNet.main(["--dataPathAVA", nowhere, "--device", "cpu"]) == 1
    assert "run python trainTalkNet.py --download" in caplog.messages[-1]


def test_published_flags_keep_their_names_and_defaults() -> None:
    parsed = trainTalkNet.make_parser().parse_args([])
    assert parsed.lr is None  # 0.0001 in TalkNet's recipe, where every network has its own
    assert (parsed.lr_decay, parsed.max_epoch, parsed.batch_size) == (None, None, None)
    assert (parsed.test_interval, parsed.n_data_loader_thread) == (1, 4)
    assert parsed.data_path == Path("data/AVA")
    assert parsed.save_path == Path("exps/exp1")
    assert parsed.eval_data_type == "val"
    assert not parsed.download
    assert not parsed.evaluation
    given = "--lr 1 --lrDecay 1 --maxEpoch 1 --testInterval 1 --batchSize 1 --nDataLoaderThread 1"
    more = "--dataPathAVA x --savePath x --evalDataType test --downloadAVA --evaluation"
    parsed = trainTalkNet.make_parser().parse_args([*given.split(), *more.split()])
    assert parsed.data_path == Path("x")
    assert parsed.download
    assert trainTalkNet.make_parser().parse_args(["--talkNCE"]).contrast == 0.3
    assert trainTalkNet.make_parser().parse_args(["--download"]).download


def test_custom_is_another_spelling_of_own() -> None:
    parsed = trainTalkNet.make_parser().parse_args(["--data", "custom", "--checkData"])
    assert read_groups(parsed, Options).data == DataOptions("own")


@pytest.mark.parametrize(
    "flag",
    ["original", "publishedBatches", "publishedCrop", "loseRows", "latePictures", "ownRates"],
)
def test_one_switch_restores_the_faults_of_published_loaders(flag: str) -> None:
    parser = trainTalkNet.make_parser()
    assert not parser.parse_args([]).original
    assert parser.parse_args([f"--{flag}"]).original


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--lr", "0"], "--lr must be above 0"),
        (["--maxEpoch", "0"], "--maxEpoch must be at least 1"),
        (["--desync", "1.5"], r"--desync must be in \[0, 1\]"),
        (["--nDataLoaderThread", "-1"], "--nDataLoaderThread must be 0 or more"),
        (["--windows", "1,x"], "--windows must be positive whole seconds"),
        (["--evaluation", "--download"], "exclude each other"),
        (["--checkData"], "--checkData requires --data own, found --data ava"),
        (["--build", "videos"], "--build requires --data talkset, found --data ava"),
        (["--decode"], "--decode requires --checkData"),
        (["--lists", "train.txt"], "--lists requires --build"),
        (["--clips", "TAudio=x"], "--clips must be KIND=COUNT"),
        (["--clips", "TAudio=5", "--lists", "a"], "--clips cannot be used with --lists"),
        (["--mirror", "/a/folder"], "--mirror must be an HTTP address such as https"),
        (["--cropSize", "4"], "--cropSize must be between 8 and 1024"),
        (["--numProcesses", "-1"], "--numProcesses must be 0 or more"),
        (["--saveInterval", "0"], "--saveInterval must be at least 1"),
        (["--saveMinutes", "-1"], "--saveMinutes must be 0 or more"),
        (["--model", "resnet"], "invalid choice: 'resnet'"),
    ],
)
def test_wrong_flags(given: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        trainTalkNet.main(given)
    assert end.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_check_data_names_the_wrong_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, videos = tmp_path / "tables", tmp_path / "videos"
    folder.mkdir()
    write_movie(Movie("a"), videos / "a.mp4")
    table = folder / "train.csv"
    rows = [f"a.mp4,one,{frame / 10},1,2,30,40,1" for frame in range(8)]
    given = ["--data", "own", "--dataPath", str(folder), "--videos", str(videos), "--checkData"]
    given += ["--savePath", str(tmp_path / "out")]
    header = "video,entity,time_s,x1,y1,x2,y2,label"
    table.write_text("\n".join([header, *rows, "a.mp4,one,2.0,1,2,3,4,7"]))
    assert trainTalkNet.main([*given, "--decode"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{table}, line 10: label: found '7'")
    report = json.loads((tmp_path / "out" / "check_report.json").read_text())
    assert (report["version"], report["counts"]) == (1, {"label": 1})
    assert (report["problems"][0]["line"], report["splits"]["train"]["frames"]) == (10, 19)
    table.write_text("\n".join([header, *rows]))
    assert trainTalkNet.main(given) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "no problems"


def test_own_data_are_prepared_and_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    write_movie(Movie("a"), tmp_path / "a.mp4")
    rows = [f"a.mp4,one,{n / 10},10,20,60,90,{n // 4 % 2}" for n in range(16)]
    header = "video,entity,time_s,x1,y1,x2,y2,label"
    (tmp_path / "train.csv").write_text("\n".join([header, *rows]))
    given = ["--data", "own", "--dataPath", str(tmp_path), "--savePath", str(tmp_path / "exp")]
    given += [*QUICK, "--maxEpoch", "1", "--numProcesses", "1"]
    assert trainTalkNet.main(given) == 1
    assert "expected rows of the split 'val', in a table val.csv" in caplog.text
    assert "Traceback" not in caplog.text
    assert trainTalkNet.main([*given, "--debug"]) == 1
    assert "Traceback" in caplog.text
    (tmp_path / "val.csv").write_text("\n".join([header, *rows]))
    assert trainTalkNet.main(given) == 0
    assert re.fullmatch(r"best mAP .*best\.model\n", capsys.readouterr().out)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """Serve two movies of train, one of them gone, and one of val; give the flags."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    there, gone, val = (Movie(f"video_no_{number:02}") for number in range(3))
    with serving() as address:
        for movie in (there, val):
            write_movie(movie, tmp_path / "made" / movie.file)
            body = (tmp_path / "made" / movie.file).read_bytes()
            Mirror.files[f"/movies/trainval/{movie.file}"] = body
        names = "\n".join(movie.file for movie in (there, gone, val))
        Mirror.files["/movies/annotations/ava_file_names_trainval_v2.1.txt"] = names.encode()
        for split, movies in (("train", [there, gone]), ("val", [val])):
            name = f"/labels/ava_activespeaker_{split}_v1.0.tar.bz2"
            Mirror.files[name] = archive(movies, split)
        where = ["--dataPathAVA", str(tmp_path / "AVA"), "--numProcesses", "1"]
        yield [*where, "--mirror", f"{address}/movies/", "--labelMirror", f"{address}/labels"]


def test_download_from_a_mirror_of_ones_own(
    mirror: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "AVA").mkdir()
    assert trainTalkNet.main(["--download", *mirror]) == 1  # these labels are not the official ones
    Mirror.cut.add("/movies/trainval/video_no_00.mp4")
    assert trainTalkNet.main(["--download", "--anyLabels", *mirror]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "0 movies existed, 2 downloaded, 1 gone, 0 broken, 0 failed; see" in lines[0]
    assert lines[1].startswith("train: 4 entities, 0 existed, 2 written (115 faces)")
    assert lines[2].startswith("val: 2 entities, 0 existed, 2 written (115 faces)")
    given = ["--dataPathAVA", str(tmp_path / "AVA"), "--savePath", str(tmp_path / "exp"), *QUICK]
    assert trainTalkNet.main([*given, "--maxEpoch", "1"]) == 0
    assert len(read_predictions(tmp_path / "exp" / "val_res.csv")) == 115


def test_a_download_that_is_refused_fails(
    mirror: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Mirror.errors["/movies/trainval/video_no_00.mp4"] = 403
    assert trainTalkNet.main(["--download", "--anyLabels", *mirror]) == 1
    first, *_ = capsys.readouterr().out.splitlines()
    assert "1 downloaded, 1 gone, 0 broken, 1 failed (run again to retry" in first
    report = json.loads((tmp_path / "AVA" / "download_report.json").read_text())
    assert report["failed"] == {"video_no_00.mp4": "HTTP 403, access denied"}


def test_a_download_that_brings_nothing_fails(
    mirror: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("video_no_00.mp4", "video_no_02.mp4"):
        del Mirror.files[f"/movies/trainval/{name}"]
    assert trainTalkNet.main(["--download", "--anyLabels", *mirror]) == 1
    first, *_ = capsys.readouterr().out.splitlines()
    assert "0 downloaded, 3 gone, 0 broken, 0 failed;" in first


def test_a_talkset_without_a_clip_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "broken.mkv").write_bytes(b"no video")
    given = ["--build", str(tmp_path / "videos"), "--data", "talkset", "--numProcesses", "1"]
    given += ["--dataPath", str(tmp_path / "made"), "--device", "cpu"]
    assert trainTalkNet.main(given) == 1
    report = json.loads(capsys.readouterr().out)
    assert (list(report["broken"]), report["clips"]) == (["broken.mkv"], {})


@pytest.mark.weights
def test_evaluation_takes_the_released_weights_of_the_data(
    mirror: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    need_weights("lr_asd_ava.model", "lr_asd_talkset.model")
    caplog.set_level(logging.INFO)
    assert trainTalkNet.main(["--download", "--anyLabels", *mirror]) == 0
    given = ["--evaluation", "--savePath", str(tmp_path / "exp"), *QUICK]
    ava = ["--dataPathAVA", str(tmp_path / "AVA")]
    assert trainTalkNet.main([*given, *ava]) == 0
    assert trainTalkNet.main([*given, *ava, "--windows", "1,2"]) == 0
    results = capsys.readouterr().out.splitlines()[-2:]
    assert all(re.fullmatch(r"mAP \d+\.\d\d%", line) for line in results)
    assert "lr_asd_ava.model" in caplog.text and "lr_asd_talkset.model" not in caplog.text
    shutil.copytree(tmp_path / "AVA" / "store" / "val", tmp_path / "set" / "val")
    other = ["--data", "talkset", "--dataPath", str(tmp_path / "set")]
    assert trainTalkNet.main([*given, *other]) == 0
    assert "lr_asd_talkset.model" in caplog.text


@pytest.mark.weights
@pytest.mark.slow
def test_build_finds_the_faces_of_the_demo_clip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_weights("face_detection_yunet_2023mar.onnx")
    videos = tmp_path / "videos"  # the demo folder may hold results too
    videos.mkdir()
    shutil.copy(ROOT / "demo" / "001.mp4", videos)
    given = ["--build", str(videos), "--data", "talkset", "--dataPath", str(tmp_path / "made")]
    given += ["--device", "cpu"]
    given += ["--clipsEach", "2", "--clips", "TSilence=0", "--numProcesses", "1"]
    assert trainTalkNet.main(given) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["videos"], report["broken"]) == (1, {})
    assert report["sources"] >= 2
    assert "TSilence" not in {kind for missing in report["missing"].values() for kind in missing}


def need_weights(*names: str) -> None:
    folder = os.environ.get("TALKNET_PRETRAIN")
    if not folder or not all((Path(folder) / name).is_file() for name in names):
        pytest.skip("needs released weights in the folder TALKNET_PRETRAIN")
