"""`python -m model.export onnx` writes a network with its weights and says where."""

from pathlib import Path

import onnxruntime
import pytest

from model.export.command import main
from tests.programs import run_python


def test_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new" / "synchrony.onnx"
    assert main(["onnx", "--model", "synchrony", "--output", str(target)]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert (facts["weights"], len(facts["sha256"])) == ("synchrony", 64)
    assert [(one.name, one.type, one.shape) for one in session.get_inputs()] == [
        ("audio", "tensor(float)", ["windows", "steps", 13]),
        ("faces", "tensor(uint8)", ["windows", "frames", 112, 112]),
    ]
    assert [(one.name, one.shape[0], one.shape[-1]) for one in session.get_outputs()] == [
        ("logits", "windows", 2)
    ]


@pytest.mark.parametrize("model", [[], ["--model", "loconet"]], ids=["none", "of several faces"])
def test_other_networks_are_refused(model: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as status:
        main(["onnx", *model])
    assert status.value.code == 2
    message = capsys.readouterr().err
    assert all(name in message for name in ("light_asd", "lr_asd", "synchrony", "talknet"))


def test_missing_weights_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    missing = str(tmp_path / "missing.model")
    assert main(["onnx", "--model", "lr_asd", "--weights", missing]) == 1
    assert missing in caplog.text


def test_runs_as_a_module() -> None:
    found = run_python("-m", "model.export", "--help")
    assert found.returncode == 0
    assert found.stdout.startswith("usage: python -m model.export [-h]")
