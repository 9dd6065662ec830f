"""TalkSet's lists are read, generated and cut as published."""

from pathlib import Path

import numpy as np
import pytest

from utils.datasets.talkset.lists import (
    F_AUDIO,
    F_SILENCE,
    KINDS,
    T_AUDIO,
    T_SILENCE,
    TF_AUDIO,
    SilenceLine,
    SpeechLine,
    TalkClip,
    is_held_out,
    make_labels,
    num_frames,
    published_clips,
    read_clips,
    read_lists,
    read_silence,
    read_speech,
    split_name,
    write_clips,
)


def test_lists_are_read_as_published(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text(
        "TFAudio id1/a/1.wav id2/b/2.mp4 4.36 0.00 1.79 1.79 4.36 000017\n"
        "\n"
        "TAudio id1/a/1.wav id1/a/1.mp4 6.00 0 6 0 0\n"
    )
    first, second = read_clips(path)
    expected = TalkClip(TF_AUDIO, "id1/a/1.wav", "id2/b/2.mp4", 4.36, (0, 1.79), (1.79, 4.36), 17)
    assert first == expected
    assert (second.kind, second.number) == (T_AUDIO, -1)
    named = TalkClip(F_AUDIO, "with space@1.50", "ä@2.00", 1.0, (0, 0), (0, 1), 3)
    write_clips(path, [first, named])
    assert list(read_clips(path)) == [first, named]
    assert split_name(named.audio) == ("with space", 1.5)


@pytest.mark.parametrize(
    "line",
    ["Sung a b 1 0 1 0 0", "TAudio a b 1 0 1", "TAudio a b 1 0 x 0 0", "TAudio a b nan 0 1 0 0"],
    ids=["kind", "short", "text", "nan"],
)
def test_invalid_lines(tmp_path: Path, line: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"TAudio a b 1 0 1 0 0\n{line}\n")
    with pytest.raises(ValueError, match=r"list\.txt, line 2: expected kind audio video"):
        list(read_clips(path))


def test_input_lists(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("1 a.wav a.mp4 5.27\n0 a.wav b.mp4 3.999\n")
    assert list(read_speech(path)) == [
        SpeechLine(True, "a.wav", "a.mp4", 5.27),
        SpeechLine(False, "a.wav", "b.mp4", 3.999),
    ]
    path.write_text("10 silence/v/1 100 250 300 7\nsilence/v/2 20 190 8\n")
    assert list(read_silence(path)) == [
        SilenceLine("silence/v/1", 1.0, 2.5, 3.0, True),
        SilenceLine("silence/v/2", 0.2, 1.9, 1.9, False),
    ]
    path.write_text("2 a.wav a.mp4 5.27\n")
    with pytest.raises(ValueError, match="line 1: expected 1 or 0"):
        list(read_speech(path))


def test_published_clips() -> None:
    speech = [SpeechLine(i % 2 == 0, f"a{i}", f"v{i}", 1.5 + i / 3) for i in range(30)]
    mixed = [SilenceLine(f"m{i}", 1.0, 2.25, 4.0, i % 2 == 0) for i in range(10)]
    still = [SilenceLine(f"s{i}", 0.5, 1 + i / 2, 1 + i / 2, False) for i in range(10)]
    clips = published_clips(speech, mixed, still, np.random.default_rng(5), each=10)
    again = published_clips(speech, mixed, still, np.random.default_rng(5), each=10)
    assert clips == again
    assert [clip.number for clip in clips] == list(range(len(clips)))
    counts = {kind: sum(clip.kind == kind for clip in clips) for kind in KINDS}
    assert counts == {T_AUDIO: 10, F_AUDIO: 10, TF_AUDIO: 10, T_SILENCE: 10, F_SILENCE: 6}
    lengths = {line.audio: line.length_s for line in speech}
    for clip in clips:
        assert max(clip.length_s, *clip.t, *clip.f) <= 6
        if clip.kind in (TF_AUDIO, F_SILENCE):
            point = min(clip.t[1], clip.f[1])
            assert {*clip.t, *clip.f} == {0.0, point, clip.length_s}
            assert abs(point * 100 - round(point * 100)) < 1e-9
            whole = lengths[clip.audio] if clip.kind == TF_AUDIO else clip.length_s
            assert 0.25 * whole - 0.01 <= point <= min(6, 0.75 * whole)
        if clip.kind == F_SILENCE:
            assert lengths[clip.audio] >= clip.length_s
    mixed_clip = next(clip for clip in clips if clip.video == "m1@1.00")
    assert (mixed_clip.t, mixed_clip.f) == ((1.25, 3.0), (0.0, 1.25))


def test_kind_of_list_is_recognised(tmp_path: Path) -> None:
    lines = {
        "vox": "1 a.wav a.mp4 5\n0 a.wav b.mp4 5\n",
        "mixed": "10 silence/v/1 100 250 300 7\n",
        "still": "silence/v/2 20 190 8\n",
        "clips": "TAudio a b 1 0 1 0 0\n",
        "empty": "\n",
    }
    paths = {name: tmp_path / f"{name}.txt" for name in lines}
    for name, path in paths.items():
        path.write_text(lines[name])
    inputs = [paths[name] for name in ("still", "vox", "mixed")]
    made = read_lists(inputs, np.random.default_rng(1))
    assert sorted(clip.kind for clip in made) == sorted(KINDS)
    assert made == read_lists(inputs, np.random.default_rng(1))
    unchanged = read_lists([paths["clips"]], np.random.default_rng(1))
    assert unchanged == list(read_clips(paths["clips"]))
    with pytest.raises(ValueError, match="cannot be combined"):
        read_lists([paths["clips"], paths["vox"]], np.random.default_rng(1))
    with pytest.raises(ValueError, match="expected a list with lines, found none"):
        read_lists([paths["empty"]], np.random.default_rng(1))


def test_held_out_as_published() -> None:
    held = [number for number in range(150000) if is_held_out(number, 150000)]
    assert len(held) == 15000
    assert held[0] == 27000
    assert all(number % 30000 >= 27000 for number in held)


@pytest.mark.parametrize(
    ("kind", "t", "expected"),
    [
        (T_AUDIO, (0.0, 0.2), [1, 1, 1, 1, 1]),
        (F_AUDIO, (0.0, 0.0), [0, 0, 0, 0, 0]),
        (F_SILENCE, (0.0, 0.1), [0, 0, 0, 0, 0]),
        (TF_AUDIO, (0.0, 0.10), [1, 1, 0, 0, 0]),  # half of the third frame rounds to 0
        (TF_AUDIO, (0.05, 0.2), [0, 1, 1, 1, 1]),  # three quarters to 1
        (T_SILENCE, (0.11, 0.2), [0, 0, 0, 1, 1]),  # a quarter to 0
    ],
    ids=["own", "foreign", "silent", "half", "three quarters", "a quarter"],
)
def test_labels_are_means_of_four_steps(
    kind: str, t: tuple[float, float], expected: list[int]
) -> None:
    clip = TalkClip(kind, "a", "b", 0.21, t, (0, 0))
    assert num_frames(clip) == 5
    assert make_labels(clip).tolist() == expected
    voice = np.ones(20, np.bool_)
    voice[:8] = False
    assert make_labels(clip, voice).tolist() == [0, 0, *expected[2:]]
