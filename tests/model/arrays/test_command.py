"""The array command runs as `python -m model.arrays`."""

from tests.programs import run_python


def test_runs_as_a_module() -> None:
    found = run_python("-m", "model.arrays", "--help")
    assert found.returncode == 0
    assert found.stdout.startswith("usage: python -m model.arrays [-h]")
    assert "{features,train,merge,forward,evaluate,video}" in found.stdout
