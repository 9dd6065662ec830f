"""Errors in worker processes keep their type and traceback."""

import pytest

from utils.datasets.loading.workers import BatchReader, WorkerTraceback


class TwoPartError(Exception):
    """Cannot be pickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


class Maker:
    """Fails in the way that the plan names."""

    def make(self, plan: str) -> str:
        if plan == "file":
            raise FileNotFoundError("no such face")
        if plan == "bug":
            return {"a": plan}["b"]
        if plan == "odd":
            raise TwoPartError("odd", "one")
        return plan


@pytest.mark.slow
def test_errors_of_workers_keep_type_and_traceback() -> None:
    reading: BatchReader[str, str] = BatchReader(Maker(), 1)
    for plan, kind, message in (
        ("file", FileNotFoundError, "no such face"),
        ("bug", KeyError, "'b'"),
        ("odd", RuntimeError, "TwoPartError: odd one"),
    ):
        batches = reading.batches(["fine", plan])
        assert next(batches) == "fine"
        with pytest.raises(kind, match=message) as raised:
            next(batches)
        assert type(raised.value) is kind
        assert isinstance(raised.value.__cause__, WorkerTraceback)
        assert "test_workers.py" in str(raised.value.__cause__)
        assert "in make\n" in str(raised.value.__cause__)


@pytest.mark.parametrize(("plan", "kind"), [("file", FileNotFoundError), ("bug", KeyError)])
def test_errors_of_the_main_process_are_unchanged(plan: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised:
        list(BatchReader(Maker(), 0).batches([plan]))
    assert raised.value.__cause__ is None
