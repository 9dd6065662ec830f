"""By default the tracks with speech are read; every part has the audio of the whole."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.stream import Disposition
from numpy.typing import NDArray

from tests.made_sound import MadeTrack, Samples, music, speech, write_tracks, write_undecodable
from utils.errors import UserError
from utils.media.audio import Sound
from utils.media.audio_streams.choice import choose_sound
from utils.media.container import ReadOptions, probe
from utils.structures import AudioFacts

ANNA = speech(6)
BERT = speech(6, seed=1)
SILENT = np.zeros_like(ANNA)
MUSIC = music(6, level=0.2)


def chosen(path: Path, track: str = "auto") -> tuple[list[int], str]:
    choice = choose_sound(probe(path), track)
    return [source.number for source in choice.sources], choice.reason


def heard(path: Path, **options: Any) -> NDArray[np.float64]:
    return Sound(probe(path), ReadOptions(**options)).read(0, len(ANNA)) / 32768


def made(samples: Samples, kind: int = 0, language: str = "", title: str = "") -> MadeTrack:
    tags = {"language": language, "title": title}
    metadata = {name: tag for name, tag in tags.items() if tag}
    return MadeTrack(samples, disposition=Disposition(kind), metadata=metadata)


DEFAULT, COMMENT = Disposition.default.value, Disposition.comment.value
FIRST, ONLY = "the first with speech", "the only one with speech"
MIXED = "mixed, because each has different speech"


@pytest.mark.parametrize(
    ("tracks", "numbers", "reason"),
    [
        ([made(SILENT), made(ANNA)], [2], ONLY),
        ([made(ANNA), made(SILENT)], [1], ONLY),
        ([made(MUSIC), made(ANNA)], [2], ONLY),
        ([made(ANNA), made(BERT)], [1, 2], MIXED),
        ([made(ANNA), made(MUSIC), made(BERT)], [1, 3], MIXED),
        ([made(ANNA, language="eng"), made(BERT, language="ger")], [1], FIRST),
        ([made(ANNA, language="eng"), made(BERT, DEFAULT, language="ger")], [2], FIRST),
        ([made(SILENT, DEFAULT, language="eng"), made(BERT, language="ger")], [2], ONLY),
        ([made(ANNA, language="eng"), made(BERT, language="und")], [1, 2], MIXED),
        ([made(ANNA), made(BERT, COMMENT)], [1], FIRST),
        ([made(BERT, COMMENT), made(ANNA)], [2], FIRST),
        ([made(ANNA), made(BERT, title="Director's Commentary")], [1], FIRST),
        ([made(ANNA), made(0.5 * ANNA)], [1], FIRST),
        ([made(ANNA), made(0.7 * ANNA), made(BERT)], [1, 3], MIXED),
        (
            [made(SILENT), made(MUSIC)],
            [2],
            "no track has speech; the first that is not silent",
        ),
        ([made(SILENT), made(SILENT)], [1], "all are silent; the first"),
    ],
    ids=[
        "silent first",
        "silent second",
        "music first",
        "a speaker on each",
        "music between speakers",
        "two languages",
        "default is another language",
        "default is silent",
        "language known of one",
        "comment last",
        "comment first",
        "commentary by title",
        "the same twice",
        "the same twice and another",
        "no speech",
        "no audio",
    ],
)
def test_by_default(
    tmp_path: Path, tracks: list[MadeTrack], numbers: list[int], reason: str
) -> None:
    write_tracks(tmp_path / "a.mkv", tracks)
    assert chosen(tmp_path / "a.mkv") == (numbers, reason)
    samples = np.mean([tracks[number - 1].samples for number in numbers], axis=0)
    np.testing.assert_allclose(heard(tmp_path / "a.mkv"), samples, atol=2 / 32768)


@pytest.mark.parametrize(
    ("track", "expected"),
    [("1", MUSIC), ("2", ANNA), ("3", SILENT), ("all", (MUSIC + ANNA) / 2)],
    ids=["first", "second", "silent", "all"],
)
def test_as_asked_for(tmp_path: Path, track: str, expected: Samples) -> None:
    path = tmp_path / "a.mkv"
    write_tracks(path, [made(MUSIC), made(ANNA), made(SILENT)])
    np.testing.assert_allclose(heard(path, audio_track=track), expected, atol=2 / 32768)
    assert "as requested" in chosen(path, track)[1]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "ts"])
def test_tracks_that_differ(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    stereo = np.repeat(speech(6, 48000)[:, None], 2, axis=1)
    late = speech(4, 44100, seed=1)
    write_tracks(
        path, [MadeTrack(stereo, 48000, "aac"), MadeTrack(late, 44100, "aac", start_s=2.0)], 30
    )
    assert chosen(path) == ([1, 2], MIXED)
    first, second, both = (heard(path, audio_track=track) for track in ("1", "2", "auto"))
    np.testing.assert_allclose(both, (first + second) / 2, atol=1 / 32768)
    begins = round(probe(path).video_start_s * 16000)
    assert abs(lag(first, ANNA) - begins) <= 16  # 1 ms
    assert abs(lag(second, np.append(np.zeros(32000), speech(4, seed=1))) - begins) <= 16
    assert not second[:30000].any()
    part, whole = heard(path, start_s=3.0)[800:48000], both[48800:]  # AAC fades in over a packet
    assert np.sqrt(((part - whole) ** 2).mean()) < 0.1 * np.sqrt((whole**2).mean())


def lag(found: NDArray[np.float64], expected: Samples) -> int:
    """Return by how many samples `found` comes later than expected, at most 1000."""
    padded = np.pad(expected, 1000)
    scores = [found @ padded[1000 - shift :][: len(found)] for shift in range(-1000, 1001)]
    return int(np.argmax(scores)) - 1000


@pytest.mark.parametrize("start_s", [0.0, 1.0, 4.0])
def test_parts_sound_as_the_whole(tmp_path: Path, start_s: float) -> None:
    # Bert speaks in the last two seconds only: a part alone would not tell.
    path = tmp_path / "a.mkv"
    bert = np.concatenate([np.zeros(64000), BERT[:32000]])
    write_tracks(path, [replace(made(ANNA), codec="flac"), replace(made(bert), codec="flac")])
    found = heard(path, start_s=start_s, duration_s=1.5)
    first = round(start_s * 16000)
    expected = ((ANNA + bert) / 2)[first : first + 24000]
    np.testing.assert_allclose(found[:24000], expected, atol=2 / 32768)
    assert not found[24000:].any()


def test_no_decoder_for_the_best(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_undecodable(path, made(BERT), made(ANNA))
    assert probe(path).has_sound
    assert choose_sound(probe(path)).facts() == AudioFacts(
        2, (2,), "the only one that can be decoded", ""
    )
    found = heard(path)
    assert np.sqrt(((found - ANNA) ** 2).mean()) < 0.06 * np.sqrt((ANNA**2).mean())
    message = "--audioTrack 1: no decoder for this track of .*; tracks that can be decoded: 2"
    with pytest.raises(UserError, match=message):
        choose_sound(probe(path), "1")


def test_no_decoder_for_any(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_undecodable(path, made(BERT), made(ANNA), first=False)
    assert choose_sound(probe(path)).facts() == AudioFacts(2, (), "none can be decoded", "")
    assert not Sound(probe(path), ReadOptions()).has_sound


def test_the_only_track_holds_nothing(tmp_path: Path) -> None:
    write_tracks(tmp_path / "a.mkv", [made(np.zeros(0))])
    choice = choose_sound(probe(tmp_path / "a.mkv"))
    assert choice.facts() == AudioFacts(1, (), "none can be decoded", "")
    assert not choice.usual
    assert choice.describe() == "audio track none of 1: none can be decoded"


def test_first_track_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_tracks(path, [made(np.zeros(0)), made(ANNA)])
    assert chosen(path) == ([2], "the only one that can be decoded")
    np.testing.assert_allclose(heard(path), ANNA, atol=2 / 32768)


def test_a_part_of_a_long_file_is_looked_at(tmp_path: Path) -> None:
    # The second speaker comes after two minutes, and is heard for a tenth of the time.
    path = tmp_path / "a.mkv"
    late = np.concatenate([np.zeros(8000 * 180), speech(20, 8000, seed=1)])
    tracks = [MadeTrack(speech(200, 8000), 8000), MadeTrack(late, 8000)]
    write_tracks(path, tracks, num_images=2)
    assert chosen(path) == ([1, 2], MIXED)


@pytest.mark.parametrize("track", ["3", "0", "99"])
def test_no_such_track(tmp_path: Path, track: str) -> None:
    write_tracks(tmp_path / "a.mkv", [made(ANNA), made(BERT)])
    with pytest.raises(UserError, match=f"--audioTrack {track}: expected 1 to 2"):
        choose_sound(probe(tmp_path / "a.mkv"), track)


def test_track_of_a_file_without_any(tmp_path: Path) -> None:
    write_tracks(tmp_path / "a.mkv", [])
    assert choose_sound(probe(tmp_path / "a.mkv")).facts() == AudioFacts(0, (), "no audio", "")
    with pytest.raises(UserError, match="has no audio track; leave it out"):
        choose_sound(probe(tmp_path / "a.mkv"), "1")


@pytest.mark.parametrize("value", ["", "first", "-1", "1.5"])
def test_wrong_option(value: str) -> None:
    with pytest.raises(UserError, match="audio_track must be auto, all or a number"):
        ReadOptions(audio_track=value)


def test_what_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_tracks(path, [made(ANNA), made(np.stack([BERT, -BERT], axis=1))])
    choice = choose_sound(probe(path))
    assert choice.describe() == (
        "audio tracks 1 and 2 of 2: mixed, because each has different speech; the usual mix of the "
        "channels would lose audio, used instead: track 2: channel 1 minus channel 2"
    )
    assert not choice.usual
    np.testing.assert_allclose(heard(path), (ANNA + BERT) / 2, atol=2 / 32768)
    write_tracks(tmp_path / "b.mkv", [made(ANNA)])
    assert choose_sound(probe(tmp_path / "b.mkv")).usual
