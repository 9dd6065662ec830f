"""Wrong user input raises UserError; wrong arguments of functions a plain ValueError."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from utils.arrays.geometry import read_geometry
from utils.arrays.speech_positions import read_heard
from utils.datasets.talkset.lists import read_clips, read_speech
from utils.errors import ResourceError, UserError, WeightsUnavailableError
from utils.metrics.average_precision import average_precision
from utils.metrics.f1 import f1
from utils.output.results import Result
from utils.tracking.shots import read_cuts
from utils.tracking.track_files import read_boxes


def test_what_they_are() -> None:
    assert issubclass(UserError, ValueError)
    assert issubclass(WeightsUnavailableError, ResourceError) and issubclass(ResourceError, OSError)


@pytest.mark.parametrize(
    ("content", "read"),
    [
        ("track,frame,x1,y1,x2,y2\na,0,x,0,9,9\n", lambda path: read_boxes(path, 96, 64)),
        ("soon\n", read_cuts),
        ("{}", Result.read_json),
        ("{", read_geometry),
        ("view,time,x,confidence\n", read_heard),
        ("TAudio a b 1\n", lambda path: list(read_clips(path))),
        ("2 a b 1\n", lambda path: list(read_speech(path))),
    ],
    ids=["boxes", "cuts", "result", "geometry", "heard", "clips", "speech"],
)
def test_a_wrong_file_is_the_users(
    content: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "given.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=r"given\.csv"):
        read(path)


@pytest.mark.parametrize(
    "call",
    [
        lambda: f1(np.zeros(3, bool), np.zeros(4, bool)),
        lambda: average_precision(np.ones(2, bool), np.array([0.5, np.nan])),
    ],
    ids=["f1", "average precision"],
)
def test_a_wrong_call_is_not(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError) as failure:
        call()
    assert type(failure.value) is ValueError
