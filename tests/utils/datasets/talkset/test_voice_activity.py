"""Voice activity by energy, and mouth motion."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from utils.datasets.storage.job_journal import JobJournal
from utils.datasets.talkset.voice_activity import find_runs, find_voice, mouth_motion

QUIET, LOUD = -62.0, -20.0


def levels(*runs: tuple[float, int]) -> NDArray[np.float32]:
    """Levels in dB, given as (level, number of steps of 10 ms)."""
    return np.concatenate([np.full(count, level, np.float32) for level, count in runs])


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([(QUIET, 100), (LOUD, 100), (QUIET, 100)], [(100, 200)]),
        ([(QUIET, 100), (LOUD, 100), (QUIET, 15), (LOUD, 50), (QUIET, 99)], [(100, 265)]),
        ([(QUIET, 100), (LOUD, 100), (QUIET, 60), (LOUD, 50)], [(100, 200), (260, 310)]),
        ([(QUIET, 100), (LOUD, 100), (QUIET, 60), (-30.0, 4), (QUIET, 60)], [(100, 200)]),
        ([(QUIET, 100), (LOUD, 100), (-45.0, 60)], [(100, 200)]),
        ([(-100.0, 100), (LOUD, 100), (-41.0, 60)], [(100, 260)]),
        ([(-30.0, 100), (LOUD, 100)], []),
        ([(-90.0, 100), (-55.0, 100)], []),
        ([(-100.0, 100)], []),
        ([], []),
    ],
    ids=[
        *("speech", "short pause", "long pause", "click", "noise", "digital silence"),
        *("music", "faint", "no audio", "nothing"),
    ],
)
def test_find_voice(runs: list[tuple[float, int]], expected: list[tuple[int, int]]) -> None:
    found = find_runs(find_voice(levels(*runs) if runs else np.empty(0, np.float32)))
    assert len(found) == len(expected)
    assert np.abs(np.array(found) - np.array(expected)).max(initial=0) <= 2  # smoothed by 50 ms


def test_mouth_motion_is_that_of_the_lower_face() -> None:
    crops = np.full((40, 112, 112), 100, np.uint8)
    crops[10:20:2, :60] = 200  # eyes blink
    crops[25:35:2, 64:108, 30:82] = 140  # the mouth moves
    motion = mouth_motion(crops)
    assert motion[:22].max() < 0.5
    assert motion[27:33].min() > 30
    assert mouth_motion(crops[:1]).tolist() == [0.0]


def test_journal_ignores_an_incomplete_last_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "done.jsonl"
    journal = JobJournal(path, {"size": 1}, "mend it")
    journal.add("a", [1])
    journal.add("ä b", {"x": None})
    whole = path.read_bytes()
    path.write_bytes(whole + '{"c": ["ä'.encode()[:-1])  # a character in two bytes, and its first
    again = JobJournal(path, {"size": 1}, "mend it")
    assert again.done == {"a": [1], "ä b": {"x": None}}
    assert "the last line is incomplete" in caplog.text
    assert path.read_bytes() != whole  # only a writer mends it
    again.add("c", 3)
    assert path.read_bytes() == whole + b'{"c": 3}\n'
    assert JobJournal(path, {"size": 1}, "mend it").done["c"] == 3
    with pytest.raises(ValueError, match="expected size 1, as in the earlier run, got size 2"):
        JobJournal(path, {"size": 2}, "mend it")
    path.write_text('{"size": 1}\nnonsense\n')
    with pytest.raises(ValueError, match="line 2: expected a JSON object"):
        JobJournal(path, {"size": 1}, "mend it")
