"""Shards are disjoint and complete, the same everywhere, and come from a flag or from SLURM."""

from collections import Counter

import pytest

from utils.batch.shards import Shard, read_shard
from utils.errors import UserError

NAMES = [f"folder {number % 7}/video {number}.mp4" for number in range(3000)]


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_shards_are_disjoint_and_complete(count: int) -> None:
    held = Counter(
        name for part in range(1, count + 1) for name in NAMES if Shard(part, count).holds(name)
    )
    assert held == Counter(NAMES)


def test_shards_are_of_similar_size() -> None:
    sizes = [sum(Shard(part, 10).holds(name) for name in NAMES) for part in range(1, 11)]
    assert sum(sizes) == 3000 and min(sizes) > 230 and max(sizes) < 370


def test_the_same_on_every_machine() -> None:
    found = [name for name in NAMES[:12] if Shard(1, 3).holds(name)]
    assert found == [NAMES[index] for index in (2, 4, 7, 8, 9, 10)]


def test_a_name_that_is_no_text() -> None:
    name = b"\xff.mp4".decode("utf-8", "surrogateescape")
    assert [Shard(part, 2).holds(name) for part in (1, 2)].count(True) == 1


@pytest.mark.parametrize(
    ("text", "environment", "shard"),
    [
        ("1/1", {}, Shard(1, 1)),
        ("3/10", {}, Shard(3, 10)),
        ("slurm", {"ID": "0", "COUNT": "4", "MIN": "0"}, Shard(1, 4)),
        ("slurm", {"ID": "4", "COUNT": "4", "MIN": "1"}, Shard(4, 4)),
        ("slurm", {"ID": "3", "COUNT": "4"}, Shard(4, 4)),
        ("slurm", {"ID": "20", "COUNT": "3", "MIN": "0", "STEP": "10"}, Shard(3, 3)),
    ],
    ids=str,
)
def test_read_shard(text: str, environment: dict[str, str], shard: Shard) -> None:
    variables = {f"SLURM_ARRAY_TASK_{name}": value for name, value in environment.items()}
    assert read_shard(text, variables) == shard


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0/3", "from 1/3 to 3/3, got 0/3"),
        ("4/3", "got 4/3"),
        ("1", "I/N"),
        ("a/b", "I/N"),
        ("-1/3", "I/N"),
        ("slurm", "SLURM_ARRAY_TASK_ID"),
    ],
)
def test_wrong_shards(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_shard(text, {})
