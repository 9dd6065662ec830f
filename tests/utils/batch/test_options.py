"""Options of many videos that contradict each other are refused."""

from pathlib import Path
from typing import Any

import pytest

from utils.batch.options import BatchOptions
from utils.batch.shards import Shard
from utils.errors import UserError


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"timeout": -1.0}, "0 or more, got -1.0 for timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"tries": 0}, "--tries must be 1 or more"),
        ({"workers": 2}, "need --ray; use --ray local"),
        ({"gpus_per_worker": 0.5}, "need --ray"),
        ({"skip_done": True, "redo": True}, "exclude each other"),
        ({"collect": Path("results")}, "--collect FOLDER and --output FILE belong together"),
        ({"output": Path("a.csv")}, "belong together"),
        ({"shard": "3/2"}, "from 1/2 to 2/2"),
    ],
    ids=str,
)
def test_contradictions(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        BatchOptions(**given)


def test_given() -> None:
    assert not BatchOptions().given
    assert BatchOptions(tries=3).given and BatchOptions(list=Path("-")).given
    assert BatchOptions(ray="local", workers=2).given


def test_part(monkeypatch: pytest.MonkeyPatch) -> None:
    assert BatchOptions().part == Shard(1, 1)
    assert BatchOptions(shard="2/3").part == Shard(2, 3)
    for name, value in {"ID": "5", "COUNT": "4", "MIN": "3"}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert BatchOptions(shard="slurm").part == Shard(3, 4)
