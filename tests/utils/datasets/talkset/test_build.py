"""Building a TalkSet from videos: audio, faces and labels fit, runs can be resumed."""

import shutil
import wave
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.made_video import write_video
from utils.datasets.storage.entity_store import EntityStore
from utils.datasets.talkset.build import (
    TalkSetOptions,
    TalkSetReport,
    build_from_lists,
    build_talkset,
)
from utils.datasets.talkset.faces import FaceFinding
from utils.datasets.talkset.lists import (
    KINDS,
    TalkClip,
    read_clips,
    read_lists,
    split_name,
    write_clips,
)
from utils.datasets.talkset.plan import ClipPlanner, split_people
from utils.datasets.talkset.sources import SourceFace, VideoPerson, name_people, names_below
from utils.errors import UserError
from utils.media.container import ReadOptions, VideoInfo
from utils.media.video import read_frames
from utils.structures import CropPiece, FaceTrack, Shot
from utils.tracking.crops import CropOptions, crop_faces
from utils.tracking.tracks import GivenTracks

RATE = 16000
TONES = {"ann": 500, "bob": 800, "cat": 1300, "dan": 2100}  # Hz; identifies a voice
SPEECH_S = (0.8, 2.4)
LENGTH_S = 3.6
OPTIONS = TalkSetOptions(dict.fromkeys(KINDS, 2), val_share=0.5, seed=3)


def heads(voice: bool) -> Iterator[NDArray[np.uint8]]:
    """Faces of 96 pixels whose lower half flickers during speech."""
    generator = np.random.default_rng(1)
    face = np.kron(generator.integers(60, 200, (12, 12)), np.ones((8, 8))).astype(np.uint8)
    for index in range(int(LENGTH_S * 25)):
        image = np.full((128, 128, 3), 90, np.uint8)
        image[16:112, 16:112] = face[..., None]
        if voice and SPEECH_S[0] <= index / 25 < SPEECH_S[1] and index % 2:
            image[64:112, 16:112] //= 2
        yield image


def speak(tone: int) -> NDArray[np.int16]:
    """Faint noise with a tone during speech."""
    times = np.arange(int(LENGTH_S * RATE)) / RATE
    loud = (times >= SPEECH_S[0]) & (times < SPEECH_S[1])
    noise = np.random.default_rng(tone).normal(0, 20, len(times))
    return (noise + 9000 * loud * np.sin(2 * np.pi * tone * times)).astype(np.int16)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two talking heads each of four people, one without audio, and a file that is no video."""
    folder = tmp_path_factory.mktemp("heads")
    paths = [folder / name / f"{take}.mkv" for name in TONES for take in (1, 2)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        tone = TONES[path.parent.name]
        write_video(path, heads(True), Fraction(25), speak(tone), audio_codec="pcm_s16le")
    (folder / "eve").mkdir()
    write_video(folder / "eve" / "mute.mkv", heads(False), Fraction(25))
    (folder / "eve" / "broken.mkv").write_bytes(b"no video")
    return sorted(folder.glob("*/*.mkv"))


def find_faces(video: VideoInfo) -> Iterator[CropPiece | Shot]:
    """Crop the only face, at its given position, as the demo does."""
    boxes = np.tile(np.array([16, 16, 112, 112], np.float32), (int(LENGTH_S * 25), 1))
    frames = read_frames(video, None, ReadOptions())
    return crop_faces(frames, GivenTracks([FaceTrack(0, boxes)]), CropOptions())


FACES = FaceFinding(find_faces)


@pytest.fixture(scope="module")
def built(
    videos: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TalkSetReport]:
    folder = tmp_path_factory.mktemp("talkset")
    return folder, build_talkset(videos, folder, FACES, OPTIONS)


def tone_of(samples: NDArray[np.int16]) -> str:
    """Return the person whose voice is active, or an empty name during silence."""
    if np.abs(samples).max() < 1000:
        return ""
    spectrum = np.abs(np.fft.rfft(samples.astype(np.float64)))
    peak = spectrum.argmax() * RATE / len(samples)
    return min(TONES, key=lambda name: abs(TONES[name] - peak))


def test_report(built: tuple[Path, TalkSetReport]) -> None:
    folder, report = built
    assert (report.videos, report.sources, report.without_face) == (10, 9, [])
    assert list(report.broken) == ["eve/broken.mkv"]
    assert report.talking_s == pytest.approx(8 * LENGTH_S, abs=0.5)
    train, val = report.people["train"], report.people["val"]
    assert sorted(train + val) == ["ann", "bob", "cat", "dan", "eve"]
    assert min(len(set(people) & set(TONES)) for people in (train, val)) == 2
    for split in ("train", "val"):
        assert report.clips[split] == dict.fromkeys(report.clips[split], 1)
        assert set(report.clips[split]) == set(KINDS)
        assert {info.person for info in EntityStore(folder / split).entities} <= set(
            report.people[split]
        )
    assert report.missing == {}


@pytest.mark.parametrize("split", ["train", "val"])
def test_audio_and_labels_fit(built: tuple[Path, TalkSetReport], split: str) -> None:
    folder, report = built
    store = EntityStore(folder / split)
    clips = {f"{clip.number:06d}_{clip.kind}": clip for clip in read_clips(folder / f"{split}.txt")}
    assert set(clips) == {info.name for info in store.entities}
    for index, info in enumerate(store.entities):
        clip, part = clips[info.name], store.read(index)
        assert part.faces.shape == (info.num_frames, 112, 112)
        assert len(part.waveform) == 640 * info.num_frames
        start_s = split_name(clip.video)[1]
        for frame, label in enumerate(part.labels):
            time_s = frame / 25 + start_s
            heard = tone_of(part.waveform[640 * frame : 640 * (frame + 1)])
            borders = (*SPEECH_S, *(start_s + edge for edge in (*clip.t, *clip.f)))
            if min(abs(time_s + 0.02 - border) for border in borders) < 0.1:
                continue
            assert label == (heard == info.person), (clip.line(), frame)
            assert heard in ("", *report.people[split])
            if label:
                assert SPEECH_S[0] < time_s < SPEECH_S[1]


def test_build_resumes_and_is_reproducible(
    built: tuple[Path, TalkSetReport], videos: list[Path], tmp_path: Path
) -> None:
    folder, report = built

    def never(_: VideoInfo) -> Iterator[CropPiece | Shot]:
        raise AssertionError("faces were found before")

    shutil.copytree(folder, tmp_path / "copy")
    lost = next((tmp_path / "copy" / "train").glob("??/*.face"))
    lost.unlink()
    again = build_talkset(videos, tmp_path / "copy", FaceFinding(never), OPTIONS)
    assert again == report
    assert lost.read_bytes() == (folder / lost.relative_to(tmp_path / "copy")).read_bytes()
    with pytest.raises(ValueError, match=r"train\.txt lists other clips"):
        build_talkset(videos, tmp_path / "copy", FaceFinding(never), replace(OPTIONS, seed=4))


def test_processes_build_the_same_clips(
    built: tuple[Path, TalkSetReport], videos: list[Path], tmp_path: Path
) -> None:
    folder, report = built
    seen: list[tuple[str, int, int]] = []
    faces = FaceFinding(find_faces, {"--detectEvery": 2}, num_processes=2)
    found = build_talkset(videos, tmp_path, faces, OPTIONS, lambda *report: seen.append(report))
    assert found == report
    there = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.face")}
    assert {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.face")} == (
        there
    )
    assert [one for one in seen if one[0] == "finding faces"] == [
        ("finding faces", done, 10) for done in range(1, 11)
    ]
    assert seen[-1] == ("writing clips", 10, 10)
    other = FaceFinding(find_faces, {"--detectEvery": 1})
    with pytest.raises(ValueError, match=r"expected --detectEvery 2, .* got --detectEvery 1; "):
        build_talkset(videos, tmp_path, other, OPTIONS)


def test_missing_clips_are_counted(videos: list[Path], tmp_path: Path) -> None:
    mute = [path for path in videos if path.stem == "mute"]
    report = build_talkset(
        mute, tmp_path, FACES, TalkSetOptions(dict.fromkeys(KINDS, 1), val_share=0)
    )
    assert report.missing == {"train": dict.fromkeys(KINDS, 1)}
    assert report.clips == {}


def test_published_lists(videos: list[Path], tmp_path: Path) -> None:
    root = videos[0].parents[1]
    audio = tmp_path / "audio"
    (audio / "bob").mkdir(parents=True)
    with wave.open(str(audio / "bob" / "9.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(speak(TONES["bob"]).tobytes())
    clips = [
        TalkClip("TAudio", "ann/1.wav", "ann/1.mp4", 3.0, (0, 3.0), (0, 0), 0),
        TalkClip("TFAudio", "bob/9.wav", "ann/1.mp4", 3.2, (0, 1.6), (1.6, 3.2), 1),
        TalkClip("TSilence", "silence/cat/2@0.40", "silence/cat/2@0.40", 2, (0.4, 2), (0, 0.4), 2),
        TalkClip("FAudio", "bob/9.wav", "gone/1.mp4", 3.0, (0, 0), (0, 3.0), 3),
    ]
    write_clips(tmp_path / "list.txt", clips)
    found = read_lists([tmp_path / "list.txt"], np.random.default_rng(0))
    report = build_from_lists(found, [audio, root], tmp_path / "set", FACES)
    assert (report.broken, report.missing) == (
        {"gone/1.mp4": "no such file"},
        {"train": {"FAudio": 1}},
    )
    store = EntityStore(tmp_path / "set" / "train")
    parts = {info.name: store.read(index) for index, info in enumerate(store.entities)}
    assert {name: part.labels.tolist() for name, part in parts.items()} == {
        "000000_TAudio": [1] * 75,
        "000001_TFAudio": [1] * 40 + [0] * 40,
        "000002_TSilence": [0] * 10 + [1] * 40,
    }
    mixed = parts["000001_TFAudio"].waveform
    assert tone_of(mixed[int(1.0 * RATE) : int(1.5 * RATE)]) == "ann"
    assert tone_of(mixed[int(1.7 * RATE) : int(2.3 * RATE)]) == "bob"
    assert tone_of(mixed[int(2.5 * RATE) :]) == ""


def test_repeated_clip_numbers(videos: list[Path], tmp_path: Path) -> None:
    clip = TalkClip("TAudio", "ann/1.wav", "ann/1.mp4", 3.0, (0, 3.0), (0, 0), 0)
    clips = [clip, replace(clip, audio="bob/1.wav", video="bob/1.mp4")]
    with pytest.raises(UserError, match="found 000000_TAudio more than once"):
        build_from_lists(clips, [videos[0].parents[1]], tmp_path, FACES)
    assert not (tmp_path / "train.txt").exists()


def test_people_from_table_or_folder(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("dev/id00012/x/1.mp4", "dev/ann/2.mp4", "dev/3.mp4")]
    found = {path: person.name for path, person in name_people(paths, None).items()}
    assert list(found.values()) == ["id00012", "ann", "3"]
    table = tmp_path / "people.csv"
    table.write_text("file,identity,kind\n3.mp4,cat;dan,speech\nann/2.mp4,bob,negative\n")
    named = name_people(paths, table)
    assert [(p.name, p.talks) for p in named.values()] == [
        ("id00012", True),
        ("bob", False),
        ("cat;dan", False),
    ]
    table.write_text("name,who\n3.mp4,cat\n")
    with pytest.raises(ValueError, match="line 1: expected columns file, identity"):
        name_people(paths, table)


def test_people_table_of_a_spreadsheet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [tmp_path / name for name in ("a/1.mp4", "b/1.mp4", "b/2.mp4")]
    table = tmp_path / "people.csv"
    rows = "file;identity;kind\r\n2.mp4;Zoë;\r\na/1.mp4;Ann\r\ngone.mp4;Bob;speech\r\n"
    table.write_bytes(rows.encode("utf-16"))
    assert [person.name for person in name_people(paths, table).values()] == ["Ann", "b", "Zoë"]
    assert "1 files are not among the videos, for example gone.mp4" in caplog.text


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("1.mp4,ann", "'1.mp4' is the name of 2 videos"),
        ("2.mp4,ann\n2.mp4,bob", "line 3: '2.mp4' has another person in a row above"),
        ("2.mp4,ann,loud", "line 2: expected file, identity"),
        ("2.mp4", "line 2: expected file, identity"),
    ],
    ids=["two files", "two persons", "kind", "short"],
)
def test_invalid_people_tables(tmp_path: Path, rows: str, problem: str) -> None:
    paths = [tmp_path / name for name in ("a/1.mp4", "b/1.mp4", "b/2.mp4")]
    (tmp_path / "people.csv").write_text(f"file,identity,kind\n{rows}\n")
    with pytest.raises(UserError, match=problem):
        name_people(paths, tmp_path / "people.csv")


class Counted(list[Path]):
    """Counts the iterations over the whole list."""

    passes = 0

    def __iter__(self) -> Iterator[Path]:
        self.passes += 1
        return super().__iter__()


def test_naming_people_is_linear_in_the_number_of_videos() -> None:
    videos = Counted(Path(f"/v/{number % 100:02}/{number}.mkv") for number in range(20_000))
    named = names_below(videos)
    assert videos.passes <= 2
    assert len(named) == 20_000
    assert named[videos[123]].as_posix() == "23/123.mkv"
    people = name_people(videos, None)
    assert videos.passes <= 4
    assert people[videos[123]] == VideoPerson("23")


def test_names_of_relative_and_absolute_paths() -> None:
    paths = [Path("v/a/1.mkv"), Path("v/b/1.mkv").absolute()]
    assert [name.as_posix() for name in names_below(paths).values()] == ["a/1.mkv", "b/1.mkv"]
    assert names_below([]) == {}


def test_clips_of_many_people() -> None:
    """The held-out share is about as requested, and clips have no people of the other split."""
    sources = [
        SourceFace(f"s{one}", f"v{one}", f"p{one}", 0, 100, True, [(0, 400)], [])
        for one in range(20_000)
    ]
    held = split_people(sources, 0.1, np.random.default_rng(0))
    assert len(held) == 2000
    chosen = [source for source in sources if source.person in held]
    clips = ClipPlanner(chosen, np.random.default_rng(0)).clips("FAudio", 50)
    assert len(clips) == 50
    names = {split_name(name)[0] for clip in clips for name in (clip.audio, clip.video)}
    assert names <= {source.name for source in chosen}


def stored_people(folder: Path) -> dict[str, set[str]]:
    return {
        part: {info.person for info in EntityStore(folder / part).entities}
        for part in ("sources", "train", "val")
    }


def test_changed_people_table_changes_the_split(
    built: tuple[Path, TalkSetReport], videos: list[Path], tmp_path: Path
) -> None:
    """Stored faces and clips get the names of the new table; nobody is in both splits."""
    folder, report = built
    before = stored_people(folder)
    assert before["train"] | before["val"] <= {*TONES, "eve"}
    assert not before["train"] & before["val"]
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    table = tmp_path / "people.csv"
    renamed = {name: f"{name} new" for name in (*TONES, "eve")}  # in the same order: same clips
    rows = [f"{path.parent.name}/{path.name},{renamed[path.parent.name]}" for path in videos]
    table.write_text("\n".join(["file,identity", *rows]) + "\n")
    build_talkset(videos, copy, FACES, replace(OPTIONS, people=table))
    assert (copy / "train.txt").read_bytes() == (folder / "train.txt").read_bytes()
    assert stored_people(copy) == {
        part: {renamed[name] for name in people} for part, people in before.items()
    }
    val = report.people["val"]
    train = [name for name in report.people["train"] if name in TONES]
    rows = [f"{train[0]}/{take}.mkv,{val[0]}" for take in (1, 2)]  # one of train is one of val
    table.write_text("\n".join(["file,identity", *rows]) + "\n")
    for name in ("train", "val"):
        (copy / f"{name}.txt").unlink()
        shutil.rmtree(copy / name)
    again = build_talkset(videos, copy, FACES, replace(OPTIONS, people=table))
    people = stored_people(copy)
    assert people["sources"] == {*TONES, "eve"} - {train[0]}
    assert not people["train"] & people["val"]
    assert people["train"] <= set(again.people["train"])
    assert people["val"] <= set(again.people["val"])


def test_people_of_one_video_are_held_out_together() -> None:
    people = ["a", "b;c", "c", "d", "e", "f;a"]
    sources = [SourceFace(one, one, one, 0, 100, True, [], []) for one in people]
    for seed in range(20):
        held = split_people(sources, 0.3, np.random.default_rng(seed))
        assert ("a" in held) == ("f;a" in held)
        assert ("b;c" in held) == ("c" in held)
        assert 0 < len(held) < len(people)
    assert split_people(sources, 0.0, np.random.default_rng(0)) == set()
